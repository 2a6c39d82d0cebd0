"""What a model may be called, and whether a name means a model or a file. Pure."""

import re
from pathlib import Path
from typing import Any

from edged.errors import ModelError
from edged.system.text import printable

NAME = r"[A-Za-z0-9][A-Za-z0-9_.-]{0,79}"
_SUFFIX = ".tflite"


def is_path(name: Any) -> bool:
    """Whether it names a file and no model. No name of a model ends so, see check_name."""
    return isinstance(name, str) and ("/" in name or name.endswith(_SUFFIX))


def to_model_name(stem: str) -> str:
    """What a file without a card is called."""
    plain = re.sub(r"[^A-Za-z0-9_.-]+", "_", stem).strip("._-")[:80]
    while Path(plain).suffix.lower() == _SUFFIX:
        plain = Path(plain).stem.rstrip("._-")
    return plain or "model"


def check_name(name: str) -> str:
    """The name itself. Raises ModelError for one that can't be a model's, or a file's."""
    if not re.fullmatch(NAME, name) or name == "auto":
        shown = printable(name if len(name) <= 80 else f"{name[:20]}…")
        raise ModelError(
            f'"{shown}" is no name for a model: at most 80 letters, digits, "_", "-" and ".", none of the last three first, '
            'and "auto" is taken'
        )
    if Path(name).suffix.lower() == _SUFFIX:  # what ends so is taken for a path where a model is chosen, see Store.find
        raise ModelError(f'"{name}" is no name for a model, it is a file\'s: leave the {_SUFFIX} away')
    return name
