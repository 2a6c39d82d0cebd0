"""Labels files: one label a line, in the order of the model's scores."""

import hashlib
from pathlib import Path

from edged.errors import LabelsError, ReadError
from edged.system.files import read_file

LARGEST_LABELS_BYTES = 1024 * 1024  # ImageNet's 21,843 names have 300 kB
LONGEST_LABEL = 200
RESERVED = ("none", "unknown")  # what the topics say when there is no label


def load_labels(path: Path, sha256: str = "") -> tuple[str, ...]:
    """The labels of a UTF-8 file; with `sha256`, of exactly that file. Raises LabelsError."""
    try:
        content = read_file(path, LARGEST_LABELS_BYTES)
    except ReadError as e:
        why = "not a file" if e.kind == "no_file" else f"the labels file {e.why}"
        raise LabelsError(f"{path}: {why}: a labels file has one label a line") from None
    if sha256 and hashlib.sha256(content).hexdigest() != sha256:
        raise LabelsError(f"{path}: the labels file is not the one that its card names: its SHA-256 differs; copy it again")
    return to_labels(content, str(path))


def to_labels(content: bytes, where: str) -> tuple[str, ...]:
    """Pure. `where` begins the sentence of the LabelsError."""
    try:
        lines = [line.strip() for line in content.decode("utf-8-sig").rstrip().splitlines()]
    except UnicodeDecodeError as e:
        raise LabelsError(f"{where}: the labels file is not UTF-8 text (byte {e.start})") from None
    if not lines:
        raise LabelsError(f"{where}: the labels file is empty: one label a line")
    for number, line in enumerate(lines, 1):
        if not line or not line.isprintable():
            what = "is empty: every score needs its label" if not line else "holds characters that cannot be printed"
            raise LabelsError(f"{where}:{number}: this line {what}")
        if len(line) > LONGEST_LABEL:
            raise LabelsError(f"{where}:{number}: this line is longer than {LONGEST_LABEL} characters: a label is a name")
        if line in RESERVED:
            raise LabelsError(f'{where}:{number}: "{line}" means that no label is seen: give this label another name')
    return tuple(lines)


def fit_labels(labels: tuple[str, ...], count: int, offset: int, where: str) -> tuple[str, ...]:
    """The labels for `count` scores. ImageNet's 1000 fit a model of 1001 whose row 0 is known to be background.

    Raises LabelsError that names both numbers.
    """
    if len(labels) == count:
        return labels
    if offset and len(labels) == count - offset and labels[0] != "background":  # else the file is cut off at its end
        return ("background", *labels)
    if not offset and len(labels) == count - 1:
        hint = "; if row 0 is the background, begin the file with a line `background`"
    else:
        hint = ""
    raise LabelsError(f"{where}: {len(labels)} labels, but the model gives {count} scores{hint}")
