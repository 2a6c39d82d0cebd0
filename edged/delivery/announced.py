"""What was announced to Home Assistant, as the state folder remembers it: looked at before the rest of delivery is imported."""

from pathlib import Path
from typing import Annotated

from pydantic import Field, TypeAdapter

from edged.system.files import PRIVATE, SMALL_BYTES, read_file, write_file

FILE = "homeassistant.json"  # in the state folder: by topic, the components that were announced and their platforms

# no other topic is ever taken back: it would be somebody else's, or one for which a broker ends the connection, again and again
_OURS = Field(pattern=r"^[^+#/$\s\x00][^+#\s\x00]*/device/edged_[A-Za-z0-9_-]{1,64}/config$", max_length=60_000)

Known = dict[Annotated[str, _OURS], dict[str, str]]
_KNOWN: TypeAdapter[Known] = TypeAdapter(Known)


def load_known(file: Path) -> Known:
    """What was announced, by topic. Raises ReadError, ValidationError."""
    return _KNOWN.validate_json(read_file(file, SMALL_BYTES, follow=False))


def save_known(file: Path, known: Known) -> None:
    """Raises WriteError."""
    write_file(file, _KNOWN.dump_json(known), PRIVATE)
