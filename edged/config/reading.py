"""TOML → Settings, or every fault at once with its file, line and key.

Passwords never come here: the settings hold the name of a file, and the broker's door reads it when it connects.
"""

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from edged.config.checks import contradictions
from edged.config.complete import Values, complete, get, without_all
from edged.config.faults import Fault, to_fault, to_key
from edged.config.instance import STATE_FOLDER, SYSTEM_FILE, instance_of, to_instance_device, to_state_folder
from edged.config.settings import Settings
from edged.config.source import Keys, Source, check_readable, faults_of, load_source, salvage
from edged.errors import ConfigError
from edged.process.control import SOCKET
from edged.system.text import counted, escaped

__all__ = [
    "SYSTEM_FILE",
    "Reading",
    "Settings",
    "choose_daemon_folder",
    "choose_state_folder",
    "find_daemon_folder",
    "find_own_folder",
    "find_state_folder",
    "leaves",
    "load_settings",
    "read_settings",
    "to_reading",
    "to_settings",
]

_LONGEST_KEY = 100  # characters of it that are told
_MOST_FAULTS = 100  # that are told
_MOST_SUGGESTED = 20  # with what may be meant: to find that takes milliseconds for each


@dataclass(frozen=True)
class Reading:
    """What a config came to. With faults, `settings` has the defaults in their places: good for finding more, not for running."""

    source: Source
    settings: Settings
    faults: tuple[Fault, ...]

    def to_error(self, more: Iterable[Fault] = ()) -> ConfigError | None:
        """All faults and `more` of them by line as one error; None when there are none."""
        faults = list(dict.fromkeys([*self.faults, *more]))
        if not faults:
            return None
        faults.sort(key=lambda fault: self._line(fault.keys))
        if len(faults) > _MOST_FAULTS:
            last = faults[_MOST_FAULTS]
            faults[_MOST_FAULTS:] = [Fault(last.keys, f"{last.what}; and {counted(len(faults) - _MOST_FAULTS - 1, 'fault')} more")]
        sentences = [escaped(f"{self._place(fault.keys)}: {to_name(fault.keys)}: {fault.what}") for fault in faults]
        return ConfigError(sentences, [self._line(fault.keys) for fault in faults])

    def _line(self, keys: Keys) -> int:
        """The line of the key, or of the nearest table above that stands in the file."""
        return next((self.source.lines[keys[:n]] for n in range(len(keys), 0, -1) if keys[:n] in self.source.lines), 0)

    def _place(self, keys: Keys) -> str:
        line = self._line(keys)
        return f"{self.source.file or 'defaults'}{f':{line}' if line else ''}"


def load_settings(path: Path | None) -> Settings:
    """The settings of a file; without one, of /etc/edged/edged.toml, or the defaults where that is absent.

    Raises ConfigError with every fault of the file. Looks at no other file: config_surroundings.py does that.
    """
    reading = read_settings(path)
    if error := reading.to_error():
        raise error
    return reading.settings


def read_settings(path: Path | None) -> Reading:
    """Like load_settings, but the faults of single keys are handed back. Raises ConfigError only for what is no TOML file."""
    # lexists: a link that leads nowhere is a fault and not a reason for the defaults
    return to_reading(load_source(path or SYSTEM_FILE) if path or os.path.lexists(SYSTEM_FILE) else Source())


def to_reading(source: Source) -> Reading:
    """As read_settings, of a file that was parsed."""
    with faults_of(Path(source.file)):
        reading = to_settings(source)
    wanted = reading.settings.state_folder
    if reading.settings.origins["state_folder"] == "default" and (own := choose_state_folder(wanted)) != wanted:
        settings = reading.settings.model_copy(update={"state_folder": own})
        settings.origins["state_folder"] = f"default for who may not write to {wanted}"
        reading = replace(reading, settings=settings)
    return reading


def to_settings(source: Source) -> Reading:
    """Validate whole: first each key, then what the keys that are sound say together."""
    values = complete(source.values, Path(source.file).absolute().parent)
    if name := instance_of(Path(source.file)) if source.file else "":
        values = {"state_folder": str(to_state_folder(Path(source.file))), "device": to_instance_device(name)} | values
    settings, errors = _validate(values)
    # a profile repeats what stands outside of it; a fault there is told once, where it stands
    told = (to_fault(error, Settings, suggest=number < _MOST_SUGGESTED) for number, error in enumerate(errors))
    faults = [fault for fault in told if _stands(fault.keys, source)]
    settings.origins.update(_origins(settings, source))
    wrong = {fault.keys for fault in faults}
    for contradiction in contradictions(settings):
        if not any(keys[:n] in wrong for keys in contradiction.keys for n in range(1, len(keys) + 1)):
            there = next((keys for keys in contradiction.keys if _stands(keys, source)), None)
            if there:
                faults.append(Fault(there, contradiction.what))
    return Reading(source, settings, tuple(faults))


def choose_state_folder(wanted: Path, environ: Mapping[str, str] = os.environ) -> Path:
    """`wanted`, or the user's own XDG state folder where this process may not write there."""
    nearest = next((folder for folder in (wanted, *wanted.parents) if os.access(folder, os.F_OK)), Path("/"))
    if nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK):
        return wanted
    home = environ.get("XDG_STATE_HOME", "")
    try:
        own = (Path(home) if home.startswith("/") else Path.home() / ".local/state") / "edged"
    except RuntimeError:  # a user without a home, as the page's
        return wanted
    return own / wanted.relative_to(STATE_FOLDER) if wanted.is_relative_to(STATE_FOLDER) else own


def find_state_folder(path: Path | None) -> Path:
    """Where the daemon of this config keeps its things, also when the file has faults now. Never raises."""
    try:
        return read_settings(path).settings.state_folder
    except ConfigError:
        wanted = salvage(path or SYSTEM_FILE, "state_folder")
    is_usable = isinstance(wanted, str) and wanted.startswith("/") and wanted.isprintable()
    return Path(wanted) if is_usable else choose_state_folder(to_state_folder(path))


def find_own_folder(path: Path | None) -> Path:
    """As find_state_folder, for a command. Raises ConfigError where the file that was named can't be read: the folder of
    another daemon is no answer."""
    if path is not None:
        check_readable(path)
    return find_state_folder(path)


def find_daemon_folder(path: Path | None) -> Path:
    """Where a command looks for the daemon of this config. Raises ConfigError as find_own_folder."""
    found, wanted = find_own_folder(path), to_state_folder(path)
    return choose_daemon_folder(wanted) if found == choose_state_folder(wanted) else found


def choose_daemon_folder(wanted: Path, environ: Mapping[str, str] = os.environ) -> Path:
    """`wanted`, also for who may not write there: a member of the daemon's group may ask it. The user's own where only that
    one has a daemon's socket.
    """
    own = choose_state_folder(wanted, environ)
    return own if os.path.lexists(own / SOCKET) and not os.path.lexists(wanted / SOCKET) else wanted


def to_hint(source: Source) -> str:
    """What of the file is sound, and has another name by now; "" for nothing."""
    if "web" not in source.values:
        return ""
    return f"{source.file}:{source.lines.get(('web',), 0)}: [web] is read as [page], its name now: rename it when you edit the file"


def to_name(keys: Keys) -> str:
    """Keys as TOML writes them, on one line whatever is in them."""
    keys = tuple(key if len(key) <= _LONGEST_KEY else f"{key[:_LONGEST_KEY]}…" for key in keys)
    return ".".join(key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else json.dumps(key) for key in keys)


def _validate(values: Values) -> tuple[Settings, list[ErrorDetails]]:
    """The settings, with the default for every key that is wrong, and what is wrong."""
    errors: list[ErrorDetails] = []
    while True:  # a table is looked at as a whole only when each of its keys is right
        try:
            return Settings.model_validate(values), errors
        except ValidationError as error:
            found = error.errors(include_url=False)
        errors += found
        values = without_all(values, [to_key(one["loc"]) for one in found])


def _stands(keys: Keys, source: Source) -> bool:
    return get(source.values, keys) is not None


def leaves(section: BaseModel, above: Keys = ()) -> Iterator[tuple[Keys, Any]]:
    """Every key that can be set and its value; of profiles those that there are."""
    for name, field in type(section).model_fields.items():
        value: Any = getattr(section, name)
        keys = (*above, field.alias or name)
        if isinstance(value, BaseModel):
            yield from leaves(value, keys)
        elif keys == ("profile",):
            for profile, one in value.items():
                yield from leaves(one, (*keys, profile))
        else:
            yield keys, value


def _origins(settings: Settings, source: Source) -> dict[str, str]:
    """Where each value came from: the line of its key, for a profile that is silent the line outside of it."""
    found: dict[str, str] = {}
    for keys, _ in leaves(settings):
        outside = keys[2:] if keys[0] == "profile" else ("web", *keys[1:]) if keys[0] == "page" else keys
        line = source.lines.get(keys) or source.lines.get(outside)
        found[to_name(keys)] = f"{source.file}:{line}" if line else (source.file if _stands(keys, source) else "default")
    return found
