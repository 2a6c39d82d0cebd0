"""What differs between two settings. Pure."""

from dataclasses import dataclass

from edged.config.reading import Settings, leaves, to_name

_AT_START = "outbox."  # a part takes these only when it is made; all others are followed while it runs


@dataclass(frozen=True, slots=True)
class ConfigDiff:
    """`keys`: dotted names of all that differs, those of profiles included. at_start: those that wait for the next start."""

    keys: tuple[str, ...]

    @property
    def at_start(self) -> tuple[str, ...]:
        return tuple(key for key in self.keys if key.startswith(_AT_START))


def to_change(old: Settings, new: Settings) -> ConfigDiff:
    """Every key whose value differs."""
    before = {to_name(keys): value for keys, value in leaves(old)}
    after = {to_name(keys): value for keys, value in leaves(new)}
    return ConfigDiff(tuple(key for key in before | after if before.get(key) != after.get(key)))
