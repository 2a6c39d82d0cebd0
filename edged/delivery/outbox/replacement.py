"""The outbox file as a file: whether it is still there and whole, and a new one in its place, the old one kept aside.

A power cut at any moment leaves one of the two.
"""

import contextlib
import os
import shutil
from pathlib import Path

from edged.system.files import sync_folder

_MARK_BYTES = 16  # with which a database and its log begin, and which are never zero
_ASIDE = 2  # copies of unusable files that are kept


def clean_place(path: Path) -> Path:
    """Where the new file is made; nothing is there."""
    building = beside(path, ".building")
    for left in (building, beside(path, ".building-wal"), beside(path, ".building-shm")):
        left.unlink(missing_ok=True)
    return building


def put_in_place(path: Path, building: Path) -> str:
    """Where the old one is kept."""
    aside = keep_aside(path)
    building.replace(beside(path, ".mended"))
    finish_mending(path)
    return str(aside)


def finish_mending(path: Path) -> None:
    mended = beside(path, ".mended")
    if mended.exists():
        for suffix in ("-wal", "-shm"):
            beside(path, suffix).unlink(missing_ok=True)
        mended.replace(path)
        sync_folder(path.parent)


def keep_aside(path: Path) -> Path:
    """Keep the unusable file and its log under other names; the older of more than two goes."""
    for number in range(_ASIDE, 0, -1):
        for suffix in ("", "-wal"):
            older = beside(path, f".quarantine-{number}{suffix}")
            if number == _ASIDE and older.is_dir():
                shutil.rmtree(older)
            elif number == _ASIDE:
                older.unlink(missing_ok=True)
            elif older.exists():
                older.replace(beside(path, f".quarantine-{number + 1}{suffix}"))
    aside = beside(path, ".quarantine-1")
    for suffix in ("", "-wal"):
        file = beside(path, suffix)
        if file.is_file():
            with contextlib.suppress(FileExistsError):
                os.link(file, beside(path, f".quarantine-1{suffix}"))
        elif file.is_dir():
            file.replace(aside)
    return aside


def beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


class FilePresence:
    """Is the file still there, and as long as we left it? Files are removed, replaced and cut under a running daemon.

    Of a database in WAL mode that nobody else may use. `path` None: memory, which is always there. Raises nothing.
    """

    def __init__(self, path: Path | None) -> None:
        self._paths = (path, beside(path, "-wal")) if path else ()
        self._seen: dict[Path, tuple[int, int, int]] = {}
        self._wrong = ""
        self.note()

    def note(self) -> None:
        """Just after a commit of our own: what there is now is right."""
        for path in self._paths:
            if (found := _look(path)) is not None:
                before = self._seen.get(path)
                if before is None or before[:2] == found[:2]:  # else another file has taken its place, which `wrong` tells
                    self._seen[path] = found

    def wrong(self) -> str:
        """What has happened to it; "" while all is well. Asked before a commit too, which may write over a cut; not forgotten."""
        self._wrong = self._wrong or self._look_again()
        return self._wrong

    def _look_again(self) -> str:
        for path, (device, inode, size) in self._seen.items():
            found = _look(path)
            if found is None:
                return f"{path} was removed"
            if found[:2] != (device, inode):
                return f"{path} was replaced"
            if found[2] < size:
                return f"{path} was cut from {size} to {found[2]} bytes"
            if found[2] and _is_hollow(path):
                return f"{path} was emptied while it was written"
        return ""


def _look(path: Path) -> tuple[int, int, int] | None:
    """Device, inode and size; None where nothing is."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size


def _is_hollow(path: Path) -> bool:
    """Whether its beginning is a hole. It was cut in the middle of a commit, which then wrote behind the hole."""
    try:
        with path.open("rb") as file:
            head = file.read(_MARK_BYTES)
    except OSError:
        return False
    return bool(head) and not any(head)
