"""Labels files: one label a line, in the order of the model's scores."""

import hashlib
import stat
from pathlib import Path

from edged.errors import ModelError

_LARGEST_BYTES = 4 * 1024 * 1024


def load_labels(path: Path, sha256: str = "") -> tuple[str, ...]:
    """The labels of a UTF-8 file; with `sha256`, of exactly that file. Raises ModelError."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # a pipe would be waited for, for ever
            raise ModelError(f"{path}: not a file: a labels file has one label a line")
        with path.open("rb") as file:
            content = file.read(_LARGEST_BYTES + 1)
    except OSError as e:
        raise ModelError(f"{path}: the labels file cannot be read: {e.strerror}") from None
    if len(content) > _LARGEST_BYTES:
        raise ModelError(f"{path}: larger than {_LARGEST_BYTES >> 20} MB: a labels file has one label a line")
    if sha256 and hashlib.sha256(content).hexdigest() != sha256:
        raise ModelError(f"{path}: the labels file is not the one that its card names: its SHA-256 differs; copy it again")
    return to_labels(content, str(path))


def to_labels(content: bytes, where: str) -> tuple[str, ...]:
    """Pure. `where` begins the sentence of the ModelError."""
    try:
        lines = [line.strip() for line in content.decode("utf-8-sig").rstrip().splitlines()]
    except UnicodeDecodeError as e:
        raise ModelError(f"{where}: the labels file is not UTF-8 text (byte {e.start})") from None
    if not lines:
        raise ModelError(f"{where}: the labels file is empty: one label a line")
    for number, line in enumerate(lines, 1):
        if not line or not line.isprintable():
            what = "is empty: every score needs its label" if not line else "holds characters that cannot be printed"
            raise ModelError(f"{where}:{number}: this line {what}")
    return tuple(lines)


def fit_labels(labels: tuple[str, ...], count: int, offset: int, where: str) -> tuple[str, ...]:
    """The labels for `count` scores. ImageNet's 1000 fit a model of 1001 whose row 0 is known to be background.

    Raises ModelError that names both numbers.
    """
    if len(labels) == count:
        return labels
    if offset and len(labels) == count - offset and labels[0] != "background":  # else the file is cut off at its end
        return ("background", *labels)
    if not offset and len(labels) == count - 1:
        hint = "; if row 0 is the background, begin the file with a line `background`"
    else:
        hint = ""
    raise ModelError(f"{where}: {len(labels)} labels, but the model gives {count} scores{hint}")
