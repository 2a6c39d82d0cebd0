"""What holds beside the file, kept in the state folder: a wish for a model or profile (`edged use`, `model/set`) until `[model]`
in the file changes, and single keys (the page) each until that key in the file changes.
"""

import contextlib
import hashlib
import json
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from edged.config.settings import ModelSection, Settings
from edged.config.tuning import to_values, with_tuned
from edged.errors import ConfigError, ReadError, WriteError
from edged.system.files import PRIVATE, SMALL_BYTES, read_file, sync_folder, write_file

_FILE, _TUNED_FILE = "override.json", "tuned.json"


class Override(BaseModel):
    """wish: a model's name, `auto` or `@profile`; door: where it came in; model_section: the file's `[model]` at that time."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    wish: str = Field(min_length=1, max_length=200)
    door: str = Field(max_length=40)
    model_section: str


class TunedKeys(BaseModel):
    """values: by dotted key; was: what the file said of each of them at that time."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    values: dict[str, JsonValue] = Field(default_factory=dict, max_length=20)
    was: dict[str, JsonValue] = Field(default_factory=dict, max_length=20)
    door: str = Field("", max_length=40)

    def holding(self, file: Settings) -> dict[str, JsonValue]:
        """Those whose key in the file is still what it was."""
        now = to_values(file)
        return {key: value for key, value in self.values.items() if key in now and self.was.get(key) == now[key]}


def to_tuned(file: Settings, values: dict[str, JsonValue], door: str) -> TunedKeys:
    """Pure."""
    now = to_values(file)
    return TunedKeys(values=values, was={key: now[key] for key in values}, door=door)


def load_tuned_file(path: Path) -> TunedKeys:
    """Raises ReadError or ValidationError."""
    return TunedKeys.model_validate_json(read_file(path, SMALL_BYTES, follow=False))


def load_tuned(settings: Settings) -> TunedKeys:
    """What holds beside these settings of the file; of a damaged one, or one that contradicts them, nothing."""
    try:
        tuned = load_tuned_file(settings.state_folder / _TUNED_FILE)
        holding = tuned.holding(settings)
        with_tuned(settings, holding)
    except (ReadError, ValidationError, ConfigError):
        return TunedKeys()
    return to_tuned(settings, holding, tuned.door)


def save_tuned(state_folder: Path, tuned: TunedKeys) -> None:
    """Without a value there is no file. Raises WriteError, and then nothing was changed."""
    if tuned.values:
        write_file(state_folder / _TUNED_FILE, tuned.model_dump_json().encode() + b"\n", PRIVATE)
    else:
        _remove(state_folder / _TUNED_FILE)


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
    _remove(state_folder / _FILE)


def _remove(path: Path) -> None:
    try:
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
            sync_folder(path.parent)
    except OSError as error:
        raise WriteError(f"{path}: cannot be removed: {error.strerror}") from None


def to_section(model: ModelSection) -> str:
    """A short name for everything that `[model]` says."""
    return hashlib.sha256(json.dumps(model.model_dump(mode="json"), sort_keys=True).encode()).hexdigest()[:16]
