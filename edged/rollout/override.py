"""What was wished for beside the file (`edged use`, `model/set`): kept in the state folder until `[model]` in the file changes."""

import contextlib
import hashlib
import json
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edged.config.settings import ModelSection, Settings
from edged.errors import ReadError, WriteError
from edged.system.files import PRIVATE, SMALL_BYTES, read_file, sync_folder, write_file

_FILE = "override.json"


class Override(BaseModel):
    """wish: a model's name, `auto` or `@profile`; door: where it came in; model_section: the file's `[model]` at that time."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    wish: str = Field(min_length=1, max_length=200)
    door: str = Field(max_length=40)
    model_section: str


def load_override_file(path: Path) -> Override:
    """Raises ReadError or ValidationError."""
    return Override.model_validate_json(read_file(path, SMALL_BYTES, follow=False))


def load_override(settings: Settings) -> Override | None:
    """The one that holds beside these settings of the file; a damaged one, or one for another `[model]`, is none."""
    try:
        override = load_override_file(settings.state_folder / _FILE)
    except (ReadError, ValidationError):
        return None
    return override if override.model_section == to_section(settings.model) else None


def to_override(settings: Settings, wish: str, door: str) -> Override:
    """Pure."""
    return Override(wish=wish, door=door, model_section=to_section(settings.model))


def save_override(state_folder: Path, override: Override) -> None:
    """Raises WriteError, and then nothing was changed."""
    write_file(state_folder / _FILE, override.model_dump_json().encode() + b"\n", PRIVATE)


def clear_override(state_folder: Path) -> None:
    """Raises WriteError."""
    try:
        with contextlib.suppress(FileNotFoundError):
            (state_folder / _FILE).unlink()
            sync_folder(state_folder)
    except OSError as error:
        raise WriteError(f"{state_folder / _FILE}: cannot be removed: {error.strerror}") from None


def to_section(model: ModelSection) -> str:
    """A short name for everything that `[model]` says."""
    return hashlib.sha256(json.dumps(model.model_dump(mode="json"), sort_keys=True).encode()).hexdigest()[:16]
