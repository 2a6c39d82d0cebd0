"""A new outbox file in the place of an old one, so that a power cut at any moment leaves one of them; the old one is kept aside."""

import contextlib
import os
import shutil
from pathlib import Path

from edged.system.files import sync_folder

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
