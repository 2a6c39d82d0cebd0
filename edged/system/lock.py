"""One edged for one state folder: a lock on a file in it (flock(2)), which ends with the process; only its owner can take it.

A lock is on a file and not on its name: where the file is taken away, the next one makes another and locks that. So whoever
holds a folder for long looks after it.
"""

import contextlib
import fcntl
import os
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from edged.errors import ReadError, RunningError
from edged.system.files import PRIVATE, make_folder, put_aside, read_file
from edged.system.text import printable

FILE = "edged.lock"
_MOST_BYTES = 256
_PATIENCE_S, _AGAIN_S = 0.5, 0.05  # another one may be looking, or just ending


@dataclass(slots=True)
class _Claim:
    handle: int | None


_claims: dict[Path, _Claim] = {}  # of this process: it is one for all of it, and not of the part that looks after it


@contextlib.contextmanager
def claimed(state_folder: Path) -> Iterator[None]:
    """Hold the folder, which is made if it is missing. Raises RunningError, which names the process that has it.

    Where no file can be made, on a read-only or full disk, the folder itself is locked; where there can be no folder, nothing is.
    """
    with contextlib.suppress(OSError):
        _make(state_folder)
    claim = _Claim(_open(state_folder))
    try:
        if claim.handle is not None:
            _take(state_folder, claim.handle, _PATIENCE_S)
        _claims[state_folder] = claim
        yield
    finally:
        if _claims.get(state_folder) is claim:
            del _claims[state_folder]
        if claim.handle is not None:
            os.close(claim.handle)


def look_after(state_folder: Path) -> str:
    """Must be called now and then for a folder that is claimed: where the lock's file was taken away, it is made anew and locked.

    Why that can't be done; "" when it is held, or never could be. Raises RunningError where another one holds it by now.
    """
    claim = _claims.get(state_folder)
    if claim is None or (claim.handle is not None and _is_at(claim.handle, state_folder / FILE)):
        return ""
    try:
        _make(state_folder)
    except OSError as error:
        return "" if claim.handle is None else error.strerror or str(error)
    handle = _open(state_folder)
    if handle is None:
        return "" if claim.handle is None else "no lock can be made there"
    if claim.handle is not None and os.path.sameopenfile(handle, claim.handle):  # the folder itself, where no file can be made
        os.close(handle)
        return ""
    try:
        _take(state_folder, handle, 0.0)
    except RunningError:
        os.close(handle)
        raise
    if claim.handle is not None:
        os.close(claim.handle)
    claim.handle = handle
    return ""


def _is_at(handle: int, path: Path) -> bool:
    with contextlib.suppress(OSError):
        return os.path.samestat(os.fstat(handle), path.lstat())
    return False


def holder_pid(state_folder: Path) -> int:
    """The process that holds the folder; 0 when none does, or it can't be told. Needs no right to read the lock's file."""
    return _locker(state_folder / FILE) or _locker(state_folder)


def holder(state_folder: Path) -> str:
    """`NAME, process PID` of who holds the folder, in what it wrote down about itself; "" when nobody can be named."""
    try:
        told = printable(read_file(state_folder / FILE, _MOST_BYTES, follow=False).decode(errors="replace").strip())
    except ReadError:
        told = ""
    pid = holder_pid(state_folder)
    return told if told and (not pid or str(pid) in told) else f"process {pid}" if pid else told


def _make(folder: Path) -> None:
    make_folder(folder, 0o750 if "INVOCATION_ID" in os.environ else 0o700)  # under systemd the group may look in


def _open(folder: Path) -> int | None:
    path, flags = folder / FILE, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    for _ in range(2):
        with contextlib.suppress(OSError):
            handle = os.open(path, flags, PRIVATE)
            if stat.S_ISREG(os.fstat(handle).st_mode):
                return handle
            os.close(handle)
        if not os.path.lexists(path):
            break
        if _locker(path):  # another user's, and in use
            raise RunningError(f"{folder}: another edged (process {_locker(path)}) has this state_folder; stop it first")
        if put_aside(path) is None:
            break
    for other, how in ((path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), (folder, os.O_RDONLY | os.O_DIRECTORY)):
        with contextlib.suppress(OSError):
            handle = os.open(other, how | os.O_CLOEXEC)
            if other == folder or stat.S_ISREG(os.fstat(handle).st_mode):
                return handle
            os.close(handle)
    return None


def _take(folder: Path, handle: int, patience_s: float) -> None:
    if not _lock(handle, patience_s):
        who = holder(folder) or "process unknown"
        raise RunningError(f"{folder}: another edged ({who}) has this state_folder; stop it first")
    _sign(handle)


def _lock(handle: int, patience_s: float) -> bool:
    ends_s = time.monotonic() + patience_s
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= ends_s:
                return False
            time.sleep(_AGAIN_S)
        except OSError:  # a file system without locks
            return True
        else:
            return True


def _sign(handle: int) -> None:
    """For whoever comes second; a disk that takes nothing is no reason to hold it less."""
    name = Path("/proc/self/comm")
    with contextlib.suppress(OSError):
        said = f"{name.read_text().strip()}, process {os.getpid()}\n".encode()
        os.ftruncate(handle, 0)
        os.pwrite(handle, said, 0)


def _locker(path: Path) -> int:
    """Who has locked this file, as the kernel tells everybody (proc_locks(5)); 0 for nobody."""
    try:
        found = path.lstat()
        lines = Path("/proc/locks").read_text().splitlines()
    except OSError:
        return 0
    for line in lines:
        words = line.split()
        if len(words) >= 6 and words[1] == "FLOCK" and words[3] == "WRITE" and words[4].isdecimal():
            major, minor, inode = words[5].split(":")
            if int(inode) == found.st_ino and os.makedev(int(major, 16), int(minor, 16)) == found.st_dev:
                return int(words[4])
    return 0
