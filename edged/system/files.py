"""Files: read by one reader, which takes regular files of bounded size only and never waits; written whole or not at all.

Also where shipped files lie, and root's rights where a file belongs to somebody else.
"""

import contextlib
import errno
import hashlib
import itertools
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from edged.errors import ModelFileError, ReadError, WriteError

LARGEST_BYTES = 64 * 1024 * 1024  # of a model
SMALL_BYTES = 4 * 1024 * 1024  # of a file that edged keeps about itself
PRIVATE, SHARED, PUBLIC = 0o600, 0o640, 0o644  # for the owner; also for its group; for all
ASIDE = 2  # damaged copies of a file that are kept
_PART_BYTES = 64 * 1024
Stamp = tuple[int, ...]
_MOST_LINKS = 40  # of which one leads to the next, as in the kernel

_ACL = "system.posix_acl_access"
_LARGEST_XATTR = 64 * 1024

_package = Path(__file__).resolve().parent.parent
# in the wheel they are package data; in a checkout they lie beside the package
_root = _package / "share" if (_package / "share").is_dir() else _package.parent


def shipped(*parts: str) -> Path:
    """The path of a shipped file or folder, e.g. `shipped("models", "home.toml")`."""
    return _root.joinpath(*parts)


def read_file(path: Path, most_bytes: int, *, follow: bool = True) -> bytes:
    """The bytes of a regular file. Raises ReadError for everything else: it never waits, and never takes more than `most_bytes`.

    follow: whether a link counts as the file that it leads to.
    """
    return b"".join(_read(path, most_bytes, follow, part_bytes=None))


def read_parts(path: Path, most_bytes: int, *, follow: bool = True) -> Iterator[bytes]:
    """The same in parts, for what is too large to be held. Raises ReadError, also after some of them."""
    return _read(path, most_bytes, follow, part_bytes=_PART_BYTES)


def _read(path: Path, most_bytes: int, follow: bool, *, part_bytes: int | None) -> Iterator[bytes]:
    """part_bytes None: a file of this size at once, without a copy of it in pieces."""
    try:
        # asked before it is opened: to open a device can do something
        if not stat.S_ISREG((path.stat() if follow else path.lstat()).st_mode):
            raise ReadError(path, "is not a regular file", kind="no_file")
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC | (0 if follow else os.O_NOFOLLOW))
        try:
            found = os.fstat(handle)  # it may be another one by now
            if not stat.S_ISREG(found.st_mode):
                raise ReadError(path, "is not a regular file", kind="no_file")
            if found.st_size > most_bytes:
                raise ReadError(path, f"is larger than {_size(most_bytes)}", kind="too_large")
            left = most_bytes + 1
            at_once = part_bytes or max(found.st_size + 1, _PART_BYTES)  # the kernel's own files say that they have no size
            while part := os.read(handle, min(left, at_once)):
                left -= len(part)
                if left <= 0:
                    raise ReadError(path, f"is larger than {_size(most_bytes)}", kind="too_large")
                yield part
        finally:
            os.close(handle)
    except (OSError, ValueError, MemoryError) as error:  # ValueError: a name with a zero byte
        why = f"cannot be read: {getattr(error, 'strerror', None) or error}"
        if isinstance(error, ValueError):
            raise ReadError(path, why, kind="no_file") from None
        raise ReadError(path, why, error.errno if isinstance(error, OSError) else None, "system") from None


def put_aside(path: Path) -> Path | None:
    """Move what lies there, whatever it is, to NAME.damaged-1, and the one before to -2; None when it could not be moved."""
    aside = [path.with_name(f"{path.name}.damaged-{number}") for number in range(1, ASIDE + 1)]
    try:
        take_away(aside[-1])
        for newer, older in reversed(list(itertools.pairwise(aside))):
            if os.path.lexists(newer):
                newer.rename(older)
        path.rename(aside[0])
    except OSError:
        return None
    return aside[0]


def take_away(path: Path) -> None:
    """Remove a file, a link itself, or a folder with all that is in it; nothing when it is not there. Raises OSError."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def write_file(
    path: Path, content: bytes | Iterator[bytes], mode: int, *, like: os.stat_result | None = None, is_new: bool = False
) -> None:
    """Temporary file, fsync, rename, fsync of the folder. Raises WriteError, and then nothing was changed.

    content: also in parts; what is raised between them goes on, and nothing was changed then either.
    like: the file that is replaced; the new one gets its owner, group, mode and access list in place of `mode`.
    is_new: what lies there already, whatever it is, is never replaced.
    """
    temporary = ""
    try:
        make_folder(path.parent, 0o700 | (mode & 0o044) | (mode & 0o044) >> 2)  # who may read the file may come to it
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name[:200]}.", dir=path.parent)
        with os.fdopen(handle, "wb") as file:
            file.writelines([content] if isinstance(content, bytes) else content)
            file.flush()
            if like is not None:
                _take_rights(file.fileno(), path, like)
            else:
                os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        if is_new:
            os.link(temporary, path)  # unlike a rename it fails where something is
            Path(temporary).unlink()
        else:
            Path(temporary).replace(path)
        sync_folder(path.parent)
        temporary = ""
    except (OSError, ValueError) as e:
        raise WriteError(f"{path}: cannot be written: {getattr(e, 'strerror', None) or e}") from None
    finally:
        if temporary:
            with contextlib.suppress(OSError):
                Path(temporary).unlink()


def write_output(path: Path, content: bytes, mode: int) -> None:
    """What a person asked for, where that person said. Raises WriteError.

    A device or a pipe is written to, and never replaced: /dev/null is the whole machine's. A link stays one; a file is replaced.
    """
    with acting_for(path):
        try:
            is_special = path.exists() and not (path.is_file() or path.is_dir())
            if is_special:
                path.write_bytes(content)
        except (OSError, ValueError) as error:
            raise WriteError(f"{path}: cannot be written: {getattr(error, 'strerror', None) or error}") from None
        if not is_special:
            write_file(followed(path), content, mode)


def _take_rights(handle: int, path: Path, like: os.stat_result) -> None:
    now = os.fstat(handle)
    if (now.st_uid, now.st_gid) != (like.st_uid, like.st_gid):
        os.fchown(handle, like.st_uid, like.st_gid)
    os.fchmod(handle, stat.S_IMODE(like.st_mode))
    try:
        access_list = os.getxattr(path, _ACL)
    except OSError:  # there is none, or the file system knows none
        return
    os.setxattr(handle, _ACL, access_list)


def make_folder(folder: Path, mode: int) -> None:
    """Make it, and what is missing above it, with this mode; one that is there stays as it is. Raises OSError."""
    missing = []
    while not folder.is_dir():
        missing.append(folder)
        if folder == folder.parent:
            break
        folder = folder.parent
    for one in reversed(missing):
        one.mkdir(mode, exist_ok=True)


def sync_folder(folder: Path) -> None:
    """Make a rename or removal in it survive a power cut. Raises OSError."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def to_stamp(found: os.stat_result) -> Stamp:
    """What differs once a file was written or replaced. Pure."""
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def read_model(path: Path) -> bytes:
    """The file's bytes, read once, so that what is hashed is what is run. Raises ModelFileError."""
    with _faults_of_model(path):
        return read_file(path, LARGEST_BYTES)


def model_parts(path: Path, *, follow: bool = True) -> Iterator[bytes]:
    """The same in parts. Raises ModelFileError, also after some of them.

    Memory that was once taken for a whole model stays with the process, and the courier is there for years.
    """
    with _faults_of_model(path):
        yield from read_parts(path, LARGEST_BYTES, follow=follow)


def hash_model(path: Path, *, follow: bool = True) -> tuple[str, int]:
    """The file's SHA-256 and its size in bytes, read a part at a time. Raises ModelFileError."""
    digest, size = hashlib.sha256(), 0
    for part in model_parts(path, follow=follow):
        digest.update(part)
        size += len(part)
    return digest.hexdigest(), size


@contextlib.contextmanager
def _faults_of_model(path: Path) -> Iterator[None]:
    try:
        yield
    except ReadError as error:
        sentences = {
            "too_large": f"larger than {LARGEST_BYTES >> 20} MB: no classifier for a Pi is",
            "no_file": "not a file: name a .tflite file",
        }
        raise ModelFileError(f"{path}: {sentences.get(error.kind, f'the model {error.why}')}") from None


@contextlib.contextmanager
def acting_for(path: Path, *, keeps: bool = False) -> Iterator[None]:
    """Root works in somebody's folder with that somebody's rights, so that a link planted there leads nowhere else.

    path: need not be there yet; the nearest above it counts, and a link counts itself, wherever in the path it stands.
    keeps: what is there keeps its owner, so that this one's rights are needed; else root's file in somebody's folder is
    replaced by that somebody. Nothing changes for others than root.
    Thread: the main one of a command, for the rights are the whole process's. Raises WriteError where root has not that right.
    """
    owner = _owner(path, keeps=keeps) if os.geteuid() == 0 else None
    if owner is None or owner.st_uid == 0:
        yield
        return
    groups = os.getgroups()
    try:
        os.setgroups([owner.st_gid])
    except PermissionError:  # a root whose rights were taken away
        raise WriteError(f"{path}: belongs to user {owner.st_uid}, for whom this root may not act: be that user") from None
    os.setegid(owner.st_gid)
    os.seteuid(owner.st_uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups(groups)


def followed(path: Path) -> Path:
    """Where a link leads at its end, whether something is there or not. Root follows no link of somebody else's: raises WriteError.

    What takes the place of a link meanwhile is not followed.
    """
    for _ in range(_MOST_LINKS):
        try:
            handle = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            return path  # nothing is there, or whoever writes there finds out why not
        try:
            found = os.fstat(handle)
            if not stat.S_ISLNK(found.st_mode):
                return path
            if os.geteuid() == 0 and found.st_uid != 0:
                raise WriteError(f"{path}: is a link of user {found.st_uid}, which root does not follow: name the file itself")
            path = path.parent / os.readlink("", dir_fd=handle)  # of the very link that was looked at
        finally:
            os.close(handle)
    raise WriteError(f"{path}: {os.strerror(errno.ELOOP)}")


def _owner(path: Path, *, keeps: bool) -> os.stat_result | None:
    """Whose rights are enough to write there, and no more than that: of the user who can decide what lies there."""
    path = path.absolute()
    for link in reversed((path, *path.parents)):
        with contextlib.suppress(OSError):
            found = link.lstat()
            if stat.S_ISLNK(found.st_mode) and found.st_uid != 0:
                return found
    for one in (path, *path.parents):
        try:
            found = one.lstat()
            is_roots = one == path and found.st_uid == 0 and not stat.S_ISDIR(found.st_mode)
            return one.parent.stat() if is_roots and not keeps else found
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENOTDIR):
                return None
    return None


def _size(most_bytes: int) -> str:
    return f"{most_bytes >> 20} MB" if most_bytes >= 1 << 20 else f"{most_bytes // 1024} KiB"
