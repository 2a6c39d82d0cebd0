"""Files that are there whole or not at all, whenever the power goes."""

import contextlib
import os
import tempfile
from pathlib import Path

from edged.errors import WriteError


def write_file(path: Path, content: bytes, mode: int = 0o644) -> None:
    """Temporary file, fsync, rename, fsync of the folder. Raises WriteError, and then nothing was changed."""
    temporary = ""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        Path(temporary).replace(path)
        sync_folder(path.parent)
    except OSError as e:
        if temporary:
            with contextlib.suppress(OSError):
                Path(temporary).unlink()
        raise WriteError(f"{path}: cannot be written: {e.strerror}") from None


def sync_folder(folder: Path) -> None:
    """Make a rename or removal in it survive a power cut. Raises OSError."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
