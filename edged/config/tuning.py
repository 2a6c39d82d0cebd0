"""Keys that may be set beside the file, live: the region and the thresholds. Checked as the file is. Pure."""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from edged.config.checks import contradictions
from edged.config.complete import get
from edged.config.faults import to_fault
from edged.config.reading import Settings, to_name
from edged.errors import ConfigError

TUNABLE = ("camera.region", "decision.enter", "decision.leave", "decision.margin", "decision.k", "decision.n", "decision.hold_s")

Tuned = Mapping[str, Any]  # dotted key: value, as JSON has it


def to_values(settings: Settings) -> dict[str, Any]:
    """What the settings say of each of these keys, as JSON has it."""
    dumped = settings.model_dump(mode="json")
    return {key: get(dumped, tuple(key.split("."))) for key in TUNABLE}


def with_tuned(settings: Settings, tuned: Tuned) -> Settings:
    """The settings with these values in place of their own. Raises ConfigError with every fault, as for a file."""
    if unknown := [key for key in tuned if key not in TUNABLE]:
        raise ConfigError([f"{unknown[0]}: can not be set beside the file; these can: {', '.join(TUNABLE)}"])
    if not tuned:
        return settings
    faults, sections = list[str](), dict[str, Any]()
    for name in {key.split(".")[0] for key in tuned}:
        section = getattr(settings, name)
        wanted = {key.split(".")[1]: value for key, value in tuned.items() if key.startswith(f"{name}.")}
        try:
            sections[name] = type(section).model_validate(section.model_dump() | wanted)
        except ValidationError as error:
            told = [to_fault({**one, "loc": (name, *one["loc"])}, Settings) for one in error.errors(include_url=False)]
            faults += [f"{to_name(fault.keys)}: {fault.what}" for fault in told]
    if faults:
        raise ConfigError(faults)
    new = settings.model_copy(update=sections)
    before = {(one.keys, one.what) for one in contradictions(settings)}
    faults = [f"{to_name(one.keys[0])}: {one.what}" for one in contradictions(new) if (one.keys, one.what) not in before]
    if faults:
        raise ConfigError(faults)
    return new


def to_toml(tuned: Tuned) -> str:
    """The lines of the config file that would make these values permanent. Pure."""
    lines: list[str] = []
    for name in ("camera", "decision"):
        mine = [f"{key.split('.')[1]} = {_toml(tuned[key])}" for key in TUNABLE if key in tuned and key.startswith(f"{name}.")]
        if mine:
            lines += [f"[{name}]", *mine]
    return "\n".join(lines)


def _toml(value: Any) -> str:
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_toml, value))}]"
    return f"{value:g}" if isinstance(value, int) and not isinstance(value, bool) else repr(float(value))
