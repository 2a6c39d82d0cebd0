"""What differs between two settings, by what must be done about it. Pure."""

from dataclasses import dataclass

from edged.config import Settings, leaves, to_name

# settings that a part takes only when it is made; everything else is followed while it runs
_AT_START = ("outbox", "state_folder")
_TOLD_TO_VISION = ("camera", "gate")
_CONNECTION = ("device", "mqtt")
_MODEL = ("model", "budget")


@dataclass(frozen=True, slots=True)
class Change:
    """`keys`: dotted names of all that differs, those of profiles and of what stays for the next start included."""

    keys: tuple[str, ...]

    @property
    def model(self) -> bool:
        return self._any(_MODEL)

    @property
    def vision(self) -> bool:
        """The vision process must begin anew."""
        return self._any(_TOLD_TO_VISION)

    @property
    def broker(self) -> bool:
        return any(key != "mqtt.result_fps" for key in self._of(_CONNECTION))

    @property
    def at_start(self) -> tuple[str, ...]:
        """Keys that take effect when edged starts again."""
        return tuple(self._of(_AT_START))

    def _any(self, sections: tuple[str, ...]) -> bool:
        return bool(self._of(sections))

    def _of(self, sections: tuple[str, ...]) -> list[str]:
        return [key for key in self.keys if key.split(".")[0] in sections]


def to_change(old: Settings, new: Settings) -> Change:
    """Every key whose value differs."""
    before = {to_name(keys): value for keys, value in leaves(old)}
    after = {to_name(keys): value for keys, value in leaves(new)}
    return Change(tuple(key for key in before | after if before.get(key) != after.get(key)))
