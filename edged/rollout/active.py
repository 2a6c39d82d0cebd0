"""What runs: one value, replaced whole by its one owner (the switcher) and handed to whoever must know."""

from dataclasses import dataclass, field
from typing import Any

from edged.models.measurements import Measured
from edged.models.store import Installed

_TOLD = ("runtime", "delegate", "delegate_nodes", "nodes", "threads")


@dataclass(frozen=True, slots=True)
class Active:
    """A model in use, or about to be.

    why: how and why it was chosen, for people. budget: the limits that were set then. facts: what the interpreter that
    loaded it said; empty before. rate: share of the configured frame rate. governed: why the governor has a smaller model
    or a lower rate now; the choice keeps its own reason.
    """

    installed: Installed
    threads: int
    why: str
    measured: Measured | None = None
    budget: dict[str, float] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    rate: float = 1.0
    governed: str = ""

    @property
    def name(self) -> str:
        return self.installed.card.name

    def is_same(self, other: "Active") -> bool:
        """The same file with the same labels and threads: nothing is to be loaded for a change of these two."""
        return (self.installed.sha256, self.installed.labels, self.threads) == (
            other.installed.sha256,
            other.installed.labels,
            other.threads,
        )


def to_facts(told: dict[str, Any]) -> dict[str, Any]:
    """What of the vision process's word about a loaded model is handed on. Pure."""
    return {key: told[key] for key in _TOLD} | {key: told["input"][key] for key in ("width", "height", "dtype")}
