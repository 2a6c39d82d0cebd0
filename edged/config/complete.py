"""The raw values of a config, between the parser and the validation: relative paths made whole, profiles filled up."""

import copy
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from edged.config.source import Keys
from edged.models.names import is_path

Values = dict[str, Any]

_PATHS: tuple[Keys, ...] = (
    ("state_folder",),
    ("model", "labels"),
    ("mqtt", "password_file"),
    ("mqtt", "tls_ca"),
    ("mqtt", "tls_cert"),
    ("mqtt", "tls_key"),
    ("camera", "password_file"),
    ("page", "tls_cert"),
    ("page", "tls_key"),
)


def get(values: Any, keys: Keys) -> Any:
    """What stands at `keys`, or None."""
    for key in keys:
        if not isinstance(values, dict) or key not in values:
            return None
        values = values[key]
    return values


def without_all(values: Values, all_keys: Iterable[Keys]) -> Values:
    """A copy in which none of the keys at the ends of `all_keys` stands."""
    kept = copy.deepcopy(values)
    for keys in all_keys:
        table = get(kept, keys[:-1])
        if isinstance(table, dict):
            table.pop(keys[-1], None)
    return kept


def complete(values: Values, folder: Path) -> Values:
    """A copy with the paths whole and each profile holding what the file says outside of it for the rest.

    A relative path begins at `folder`, where the config lies: a daemon has no other folder to begin at.
    """
    whole = copy.deepcopy(values)
    if isinstance(get(whole, ("web",)), dict) and isinstance(whole.get("page", {}), dict):
        whole["page"] = copy.deepcopy(whole["web"]) | whole.get("page", {})  # its old name
    _make_paths_whole(whole, folder)
    profiles = get(whole, ("profile",))
    for profile in profiles.values() if isinstance(profiles, dict) else ():
        if isinstance(profile, dict):
            model = profile.get("model")
            if isinstance(model, dict) and is_path(model.get("name")):
                _make_whole(profile, ("model", "name"), folder)
            if isinstance(model, dict):
                _make_whole(profile, ("model", "labels"), folder)
            _fill(profile, "model", get(whole, ("model",)))
            _fill(profile, "decision", get(whole, ("decision",)))
            fps = get(whole, ("camera", "fps"))
            _fill(profile, "camera", None if fps is None else {"fps": fps})
    return whole


def _make_paths_whole(values: Values, folder: Path) -> None:
    for keys in _PATHS:
        _make_whole(values, keys, folder)
    if is_path(get(values, ("model", "name"))):
        _make_whole(values, ("model", "name"), folder)
    is_address = "://" in str(get(values, ("camera", "source")))
    if get(values, ("camera", "kind")) == "pictures" and not is_address:
        _make_whole(values, ("camera", "source"), folder)


def _make_whole(values: Values, keys: Keys, folder: Path) -> None:
    path = get(values, keys)
    if isinstance(path, str) and path:
        get(values, keys[:-1])[keys[-1]] = str(folder / (Path.home() / path[2:] if path.startswith("~/") else path))


def _fill(profile: Values, part: str, outside: Any) -> None:
    own = profile.get(part, {})
    if isinstance(own, dict) and isinstance(outside, dict):
        profile[part] = copy.deepcopy(outside) | own
