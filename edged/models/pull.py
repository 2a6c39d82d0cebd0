"""Fetching published models: pooch downloads and checks the archive's hash, and only then is anything unpacked."""

import hashlib
import os
import tarfile
import zlib
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, Protocol

from edged.errors import ModelError, UnavailableError, WriteError
from edged.models.admission import Admission
from edged.models.card import Card
from edged.models.install import hold_against, install
from edged.models.store import Installed, Store, to_interface_of
from edged.system.files import LARGEST_BYTES

STALL_S = 20.0  # a server that is silent for longer has stalled
_MOST_MEMBERS = 1000
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
) -> Installed:
    """Download, check, unpack the one .tflite, try it, install it. Raises ModelError, UnavailableError, WriteError."""
    if not card.archive_sha256:
        where = f"get https://{card.archive}" if card.archive else "copy its file here"
        raise ModelError(
            f"model {card.name} has no archive whose hash is known, so it is not fetched: {where} and 'edged models add' it"
        )
    folder = store.folder / ".pull"
    archive = download(to_url(card, mirror), card.archive_sha256, folder, progress, stall_s, to_most_bytes(card))
    unpacked = folder / f"{card.name}.tflite"
    try:
        model = to_model(archive)
        sha256 = hashlib.sha256(model).hexdigest()
        if card.sha256 and sha256 != card.sha256:
            raise ModelError(f"{archive.name}: the .tflite in it is not the one that the card of {card.name} names")
        hold_against(card, to_interface_of(model, archive), str(archive))
        unpacked.write_bytes(model)
        one = Installed(card, unpacked, store.labels_of(card, "", unpacked), sha256)
        if admission is not None and not (verdict := admission.admit(one)).admitted:
            raise ModelError(f"model {card.name} is refused: {verdict.reason}")
        return install(store, one, model, own_labels=False)
    except OSError as e:
        raise WriteError(f"{unpacked}: cannot be written: {e.strerror}: nothing was installed") from None
    finally:
        for leftover in (unpacked, archive):
            leftover.unlink(missing_ok=True)


def to_url(card: Card, mirror: str) -> str:
    """Pure. A mirror holds the archives side by side, under their own names."""
    return f"{mirror.rstrip('/')}/{PurePosixPath(card.archive).name}" if mirror else f"https://{card.archive}"


def to_most_bytes(card: Card) -> int:
    """Pure. What an archive with this model can weigh; a server that sends more sends something else."""
    return min(_LARGEST_BYTES, _TIMES_THE_MODEL * card.bytes + _SLACK_BYTES) if card.bytes else _LARGEST_BYTES


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
    url: str, sha256: str, folder: Path, progress: ProgressBar | bool, stall_s: float, most_bytes: int = _LARGEST_BYTES
) -> Path:
    """The archive, whole and with that hash; it is not there otherwise. Raises ModelError, UnavailableError, WriteError."""
    import pooch  # late: only this command needs the network
    import requests

    pooch.get_logger().setLevel("WARNING")  # the progress bar says it better
    target = folder / PurePosixPath(url).name
    try:
        folder.mkdir(parents=True, exist_ok=True)
        http = pooch.HTTPDownloader(progressbar=progress, timeout=stall_s)

        def fetch(url: str, path: str, pooch_: Any) -> None:
            with Path(path).open("wb") as file:
                http(url, _Bounded(file, most_bytes, url), pooch_)

        return Path(pooch.retrieve(url, f"sha256:{sha256}", target.name, folder, downloader=fetch))
    except requests.HTTPError as e:
        raise UnavailableError(f"{url}: the server refused ({e}): nothing was installed") from None
    except requests.RequestException as e:
        raise UnavailableError(
            f"{url}: the download failed ({_what(e)}): nothing was installed; run the same command again"
        ) from None
    except ValueError as e:  # pooch's word for a hash that differs
        if "hash" not in str(e).lower():
            raise
        raise ModelError(
            f"{url}: the archive is not the published one (its SHA-256 is not {sha256[:12]}…): nothing was installed"
        ) from None
    except OSError as e:
        raise WriteError(f"{target}: cannot be written: {e.strerror or e}: nothing was installed") from None


def to_model(archive: Path) -> bytes:
    """The one .tflite of an archive. Nothing of it is written anywhere. Raises ModelError for what is no plain archive."""
    if archive.suffix == ".tflite":
        return archive.read_bytes()
    try:
        with tarfile.open(archive, "r:gz") as content:
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
            return file.read()
    except (tarfile.TarError, EOFError, zlib.error, OSError) as e:
        raise ModelError(f"{archive.name}: the archive is damaged ({str(e) or type(e).__name__})") from None


def _escapes(name: str) -> bool:
    return name.startswith("/") or ".." in PurePosixPath(name).parts or "\\" in name or "\0" in name


def _what(error: Exception) -> str:
    """The innermost reason, without the layers that carried it."""
    reason: BaseException = error
    while reason.__cause__ or reason.__context__:
        reason = reason.__cause__ or reason.__context__ or reason
    return os.strerror(reason.errno) if isinstance(reason, OSError) and reason.errno else str(reason) or type(reason).__name__
