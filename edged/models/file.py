"""A model's file, read once, whole and bounded, so that what is hashed is what is run. Both processes read it here."""

import stat
from pathlib import Path

from edged.errors import ModelError

LARGEST_BYTES = 64 * 1024 * 1024


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
