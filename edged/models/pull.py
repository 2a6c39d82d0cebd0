"""Fetching published models: pooch downloads and checks the archive's hash, and only then is anything unpacked."""

import contextlib
import errno
import gzip
import hashlib
import os
import signal
import socket
import tarfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, Protocol

from edged.errors import ModelError, UnavailableError, WriteError
from edged.models.admission import Admission
from edged.models.card import Card
from edged.models.install import hold_against, install
from edged.models.store import Installed, Store, to_facts_of
from edged.system.files import LARGEST_BYTES, SHARED, acting_for, make_folder, read_model, take_away, write_file

STALL_S = 20.0  # a server that is silent for longer has stalled
_SLACK_S, _SLOWEST_BYTES_S = 60.0, 32 * 1024
_MOST_MEMBERS, _MOST_UNPACKED_BYTES = 1000, 1 << 30
# beside the .tflite, the published archives hold the float checkpoint that it was made from, and the graph twice
_TIMES_THE_MODEL, _SLACK_BYTES, _LARGEST_BYTES = 64, 1 << 20, 256 << 20


class ProgressBar(Protocol):
    """What a download tells while it runs; tqdm has the same methods."""

    total: int

    def update(self, more_bytes: int) -> None: ...
    def reset(self) -> None: ...
    def close(self) -> None: ...


def pull(
    store: Store,
    card: Card,
    mirror: str,
    admission: Admission | None,
    progress: ProgressBar | bool = False,
    stall_s: float = STALL_S,
    most_s: float = 0.0,
    check_change: Callable[[str], None] = lambda _: None,
) -> Installed:
    """Download, check, unpack the one .tflite, try it, install it. Raises ModelError, UnavailableError, WriteError.

    stall_s: how long a server may be silent. most_s: how long all of it may take; 0: what its size allows. check_change: as of
    `install`.
    """
    if not card.archive_sha256:
        where = f"get https://{card.archive}" if card.archive else "copy its file here"
        raise ModelError(
            f"model {card.name} has no archive whose hash is known, so it is not fetched: {where} and 'edged models add' it"
        )
    import pooch as _pooch  # noqa: F401  # before: the folder's owner need not be able to read our libraries
    import requests as _requests  # noqa: F401

    folder = store.folder / ".pull"
    with acting_for(store.folder):  # and not for the trial: what is tried must not have root's rights to go back to
        archive = download(to_url(card, mirror), card.archive_sha256, folder, progress, stall_s, to_most_bytes(card), most_s)
    unpacked = folder / f"{card.name}.tflite"
    try:
        model = to_model(archive)
        sha256 = hashlib.sha256(model).hexdigest()
        if card.sha256 and sha256 != card.sha256:
            raise ModelError(f"{archive.name}: the .tflite in it is not the one that the card of {card.name} names")
        hold_against(card, to_facts_of(model, archive).interface, str(archive))
        with acting_for(store.folder):
            write_file(unpacked, model, SHARED)
        one = Installed(card, unpacked, store.labels_of(card, "", unpacked), sha256)
        if admission is not None and not (verdict := admission.admit(one)).admitted:
            raise ModelError(f"model {card.name} is refused: {verdict.reason}")
        installed = install(store, one, model, own_labels=False, check_change=check_change)
        if admission is not None:
            admission.make_sibling(installed)
        return installed
    except OSError as e:
        raise WriteError(f"{unpacked}: cannot be written: {e.strerror}: nothing was installed") from None
    finally:
        with acting_for(store.folder), contextlib.suppress(OSError):
            for leftover in (unpacked, archive):
                take_away(leftover)


def to_url(card: Card, mirror: str) -> str:
    """Pure. A mirror holds the archives side by side, under their own names."""
    return f"{mirror.rstrip('/')}/{PurePosixPath(card.archive).name}" if mirror else f"https://{card.archive}"


def to_most_bytes(card: Card) -> int:
    """Pure. What an archive with this model can weigh; a server that sends more sends something else."""
    return min(_LARGEST_BYTES, _TIMES_THE_MODEL * card.bytes + _SLACK_BYTES) if card.bytes else _LARGEST_BYTES


def to_most_s(most_bytes: int) -> float:
    """Pure. How long a download of that size may take: one that is slower has been given up by whoever serves it."""
    return _SLACK_S + most_bytes / _SLOWEST_BYTES_S


@contextlib.contextmanager
def deadline(seconds: float, url: str) -> Iterator[None]:
    """Raises UnavailableError in what it holds after `seconds`, also where a byte comes now and then. Thread: the main one."""

    def late(*_: object) -> None:
        raise UnavailableError(f"{url}: sends too slowly, {seconds:.0f} s have passed: nothing was installed; try it again")

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


class _Bounded:
    """A file that refuses to grow past `most_bytes`. write raises ModelError."""

    def __init__(self, file: BinaryIO, most_bytes: int, url: str) -> None:
        self._file, self._left_bytes, self._most_bytes, self._url = file, most_bytes, most_bytes, url

    def write(self, chunk: bytes) -> None:
        self._left_bytes -= len(chunk)
        if self._left_bytes < 0:
            raise ModelError(
                f"{self._url}: sends more than the {self._most_bytes / 1e6:.0f} MB that this archive can be: nothing was installed"
            )
        self._file.write(chunk)

    def flush(self) -> None:
        self._file.flush()


def download(
    url: str,
    sha256: str,
    folder: Path,
    progress: ProgressBar | bool,
    stall_s: float,
    most_bytes: int = _LARGEST_BYTES,
    most_s: float = 0.0,
) -> Path:
    """The archive, whole and with that hash; it is not there otherwise. Raises ModelError, UnavailableError, WriteError."""
    import pooch  # late: only this command needs the network
    import requests

    pooch.get_logger().setLevel("WARNING")  # the progress bar says it better
    target = folder / PurePosixPath(url).name
    try:
        if folder.is_symlink():
            take_away(folder)
        make_folder(folder, 0o700)
        http = pooch.HTTPDownloader(progressbar=progress, timeout=stall_s)

        def fetch(url: str, path: str, pooch_: Any) -> None:
            with Path(path).open("wb") as file:
                http(url, _Bounded(file, most_bytes, url), pooch_)
            if pooch.file_hash(path) != sha256:  # before pooch says it in words of its own
                raise ModelError(
                    f"{url}: the archive is not the published one (its SHA-256 is not {sha256[:12]}…): nothing was installed"
                )

        with deadline(most_s or to_most_s(most_bytes), url):
            return Path(pooch.retrieve(url, f"sha256:{sha256}", target.name, folder, downloader=fetch))
    except requests.HTTPError as e:
        raise UnavailableError(f"{url}: the server refused ({e}): nothing was installed") from None
    except (requests.RequestException, ValueError) as e:  # of an address that is none, also a proxy's, or one that a server names
        raise UnavailableError(
            f"{url}: the download failed ({_what(e)}): nothing was installed; run the same command again"
        ) from None
    except OSError as e:
        if e.errno is None:  # no word of the system's: requests found no certificates of authorities
            raise UnavailableError(f"{url}: the download failed ({e}): nothing was installed") from None
        raise WriteError(f"{target}: cannot be written: {e.strerror or e}: nothing was installed") from None


class _Unpacked:
    """What tarfile reads of an archive: no header larger than a model, which it would take whole, and not for ever."""

    def __init__(self, packed: gzip.GzipFile) -> None:
        self._packed = packed

    def tell(self) -> int:
        return self._packed.tell()

    def seek(self, at: int) -> int:
        _check_bytes(at)
        return self._packed.seek(at)

    def read(self, count: int) -> bytes:
        if count > LARGEST_BYTES:
            raise tarfile.ReadError("a header in it is larger than a model")
        _check_bytes(self.tell() + count)
        return self._packed.read(count)


def _check_bytes(count: int) -> None:
    if count > _MOST_UNPACKED_BYTES:
        raise tarfile.ReadError(f"it unpacks to more than {_MOST_UNPACKED_BYTES >> 20} MB")


def to_model(archive: Path) -> bytes:
    """The one .tflite of an archive. Nothing of it is written anywhere. Raises ModelError for what is no plain archive."""
    if archive.suffix == ".tflite":
        return read_model(archive)
    try:
        with gzip.open(archive) as packed, tarfile.open(fileobj=_Unpacked(packed), mode="r:") as content:  # type: ignore[call-overload]
            found = []
            for number, member in enumerate(content):
                linked = member.linkname if member.issym() or member.islnk() else ""
                if number >= _MOST_MEMBERS or _escapes(member.name) or _escapes(linked):
                    raise ModelError(f"{archive.name}: {member.name!r} in it points outside of the archive: it is not unpacked")
                if member.isreg() and member.name.endswith(".tflite") and member.size <= LARGEST_BYTES:
                    found.append(member)
            if len(found) != 1:
                raise ModelError(f"{archive.name}: holds {len(found)} .tflite files instead of one")
            file = content.extractfile(found[0])
            assert file is not None
            model: bytes = file.read()
            return model
    except (tarfile.TarError, EOFError, zlib.error, OSError) as e:
        raise ModelError(f"{archive.name}: the archive is damaged ({str(e) or type(e).__name__})") from None


def _escapes(name: str) -> bool:
    return name.startswith("/") or ".." in PurePosixPath(name).parts or "\\" in name or "\0" in name


def _what(error: Exception) -> str:
    """The innermost reason, without the layers that carried it."""
    reason: BaseException = error
    while reason.__cause__ or reason.__context__:
        reason = reason.__cause__ or reason.__context__ or reason
    if isinstance(reason, socket.gaierror):  # its numbers are not the system's
        return "no network, or no such server: its name was not found"
    if isinstance(reason, OSError) and reason.errno in (errno.ENETUNREACH, errno.EHOSTUNREACH):
        return f"no network: {os.strerror(reason.errno).lower()}"
    return os.strerror(reason.errno) if isinstance(reason, OSError) and reason.errno else str(reason) or type(reason).__name__
