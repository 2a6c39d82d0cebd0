"""Files of ours: written whole or not at all, whenever the power goes; models read once and bounded; where shipped files lie."""

import contextlib
import os
import stat
import tempfile
from pathlib import Path

from edged.errors import ModelError, WriteError

LARGEST_BYTES = 64 * 1024 * 1024  # of a model

_package = Path(__file__).resolve().parent.parent
# in the wheel they are package data; in a checkout they lie beside the package
_root = _package / "share" if (_package / "share").is_dir() else _package.parent


def shipped(*parts: str) -> Path:
    """The path of a shipped file or folder, e.g. `shipped("models", "home.toml")`."""
    return _root.joinpath(*parts)


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


def read_model(path: Path) -> bytes:
    """The file's bytes, read once, so that what is hashed is what is run. Raises ModelError."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # a pipe would be waited for, for ever
            raise ModelError(f"{path}: not a file: name a .tflite file")
        with path.open("rb") as file:
            model = file.read(LARGEST_BYTES + 1)
    except OSError as e:
        raise ModelError(f"{path}: the model cannot be read: {e.strerror}") from None
    if len(model) > LARGEST_BYTES:
        raise ModelError(f"{path}: larger than {LARGEST_BYTES >> 20} MB: no classifier for a Pi is")
    return model
