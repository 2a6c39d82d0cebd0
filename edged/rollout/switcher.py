"""From one model to another without a gap, and back: the new one is loaded beside the old one, must prove itself on the
camera's frames, and until then the old one is only a word away.

A state machine: it is told what happened and when, and returns what is to be done. It owns what runs.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from edged.rollout.active import Active, to_facts

LOAD_LIMIT_S = 30.0  # from a slow card, while the vision process may just be starting
PROOF_LIMIT_S = 10.0  # a camera that gives no frames can not prove anything
GOOD, BAD = 5, 5  # so many frames within the budget before so many above it; one that was interrupted proves nothing
_MOST_ASKED = 256  # words on their way to one vision process: whoever floods it is overtaken in time


@dataclass(frozen=True, slots=True)
class Load:
    """Tell the vision process to load it. trial: the one before is kept until `Settle`."""

    number: int
    active: Active
    trial: bool

    def to_dict(self) -> dict[str, Any]:
        """In the words of the pipe."""
        installed = self.active.installed
        return {
            "number": self.number,
            "path": str(installed.path),
            "sha256": installed.sha256,
            "labels": len(installed.labels),
            "output": installed.card.output,
            "threads": self.active.threads,
            "trial": self.trial,
        }


@dataclass(frozen=True, slots=True)
class Settle:
    """Tell the vision process how the trial ended."""

    keep: bool


@dataclass(frozen=True, slots=True)
class Kill:
    why: str


@dataclass(frozen=True, slots=True)
class Use:
    """From the next result on, this model is used; it may still be on trial."""

    active: Active


@dataclass(frozen=True, slots=True)
class Prove:
    """This model is the one that runs. was_on_trial: it has just proven itself."""

    active: Active
    was_on_trial: bool


@dataclass(frozen=True, slots=True)
class Refuse:
    """It was not kept; what ran before runs. is_late: whoever asked was already told that it is still to be proven."""

    active: Active
    reason: str
    is_late: bool


@dataclass(frozen=True, slots=True)
class Wait:
    """It is loaded, and no frame comes that could prove it: whoever asked is told so."""


@dataclass(frozen=True, slots=True)
class Lose:
    """What runs can't be loaded any more, so nothing runs until `replace`."""

    active: Active
    reason: str


SwitchAction = Load | Settle | Kill | Use | Prove | Refuse | Wait | Lose
Actions = Sequence[SwitchAction]


class Proof:
    """One trial of one model. Thread: any one."""

    def __init__(self, limit_ms: float) -> None:
        """limit_ms: for one inference with its preprocessing; may be infinite."""
        self._limit_ms = limit_ms
        self._good, self._bad = 0, list[float]()

    @property
    def proven(self) -> bool:
        return self._good >= GOOD

    @property
    def fault(self) -> str:
        """Why it failed; empty as long as it has not."""
        if self.proven or len(self._bad) < BAD:
            return ""
        return f"latency {sorted(self._bad)[len(self._bad) // 2]:.0f} ms of {self._limit_ms:g} ms"

    def see(self, latency_ms: float) -> None:
        """One frame. What comes after the verdict changes nothing."""
        if self.proven or self.fault:
            return
        if latency_ms <= self._limit_ms:
            self._good += 1
        else:
            self._bad.append(latency_ms)


@dataclass(eq=False)
class _Trial:
    active: Active
    proof: Proof
    number: int
    due_s: float
    is_loaded: bool = False
    is_late: bool = False


class Switcher:
    """Thread: one. Times are monotonic."""

    def __init__(self, active: Active) -> None:
        self.active = active  # proven, or given; it comes back after each restart of the vision process
        self._trial: _Trial | None = None
        self._number = self._active_number = 0
        self._asked: dict[int, Active] = {}  # by number; of this vision process

    @property
    def on_trial(self) -> bool:
        return self._trial is not None

    @property
    def trial(self) -> str:
        """The name of what is on trial; "" for nothing."""
        return self._trial.active.name if self._trial is not None else ""

    @property
    def used(self) -> Active:
        """Whose results come now."""
        return self._trial.active if self._trial is not None and self._trial.is_loaded else self.active

    def describe(self, active: Active) -> None:
        """The same model runs for another reason, with another budget or rate."""
        assert active.is_same(self.active)
        self.active = replace(active, facts=self.active.facts)
        if self._active_number in self._asked:
            self._asked[self._active_number] = self.active

    def switch(self, to: Active, limit_ms: float, now_s: float) -> Actions:
        """Use `to` once it is loaded, and keep it if it proves itself. One that is on trial gives way."""
        load = self._load(to, trial=True)
        self._trial = _Trial(to, Proof(limit_ms), load.number, now_s + LOAD_LIMIT_S)
        return [load]

    def withdraw(self) -> Actions:
        """Nobody waits any more for what is on trial: what ran before is used again."""
        if self._trial is None:
            return []
        self._trial = None
        return [Settle(keep=False)]

    def replace(self, active: Active) -> Actions:
        """Use another model with no trial: there is nothing better to go back to."""
        self._trial, self.active = None, active
        load = self._load(active, trial=False)
        self._active_number = load.number
        return [load]

    def begin(self, now_s: float) -> Actions:
        """A new vision process listens; it knows nothing."""
        self._asked.clear()
        load = self._load(self.active, trial=False)
        self._active_number = load.number
        if self._trial is None:
            return [load]
        again = self._load(self._trial.active, trial=True)
        self._trial.is_loaded, self._trial.number, self._trial.due_s = False, again.number, now_s + LOAD_LIMIT_S
        return [load, again]

    # what the vision process says

    def on_loaded(self, number: int, told: dict[str, Any], now_s: float) -> Actions:
        asked, trial = self._asked.get(number), self._trial
        if asked is None:
            return []
        active = self._asked[number] = replace(asked, facts=to_facts(told))
        if trial is not None and number == trial.number:
            if not trial.is_loaded:
                trial.active, trial.is_loaded, trial.due_s = active, True, now_s + PROOF_LIMIT_S
            return [Use(active)]
        if number != self._active_number:
            return [Use(active)]  # one that gave way; that the other one is used again is told next
        self.active = active
        return [Use(active), Prove(active, was_on_trial=False)]

    def on_load_failed(self, number: int, reason: str) -> Actions:
        if self._trial is not None and number == self._trial.number:
            return self._refuse(reason)
        if number == self._active_number:
            return [Lose(self.active, reason)]
        return []

    def on_result(self, latency_ms: float) -> Actions:
        trial = self._trial
        if trial is None or not trial.is_loaded:
            return []
        trial.proof.see(latency_ms)
        if trial.proof.proven:
            self._trial, self.active, self._active_number = None, trial.active, trial.number
            return [Settle(keep=True), Prove(trial.active, was_on_trial=True)]
        return self._refuse(trial.proof.fault) if trial.proof.fault else []

    def on_failed(self, reason: str) -> Actions:
        """The model that was used did not run; the vision process ends."""
        return self._refuse(reason) if self._trial is not None and self._trial.is_loaded else []

    def on_crash(self, why: str) -> Actions:
        """The vision process died or hung. A model on trial is the first to be suspected."""
        return self._refuse(why) if self._trial is not None else []

    def tick(self, now_s: float) -> Actions:
        trial = self._trial
        if trial is None or now_s < trial.due_s:
            return []
        if not trial.is_loaded:  # and whoever hangs in it hears no other word
            return [*self._refuse(f"it did not load within {LOAD_LIMIT_S:g} s"), Kill("loading a model hung")]
        if trial.is_late:
            return []
        trial.is_late = True
        return [Wait()]

    def _load(self, active: Active, *, trial: bool) -> Load:
        self._number += 1
        self._asked[self._number] = active
        used = {self._active_number, self._trial.number if self._trial else 0}
        self._asked = {n: one for n, one in self._asked.items() if n in used or n > self._number - _MOST_ASKED}
        return Load(self._number, active, trial)

    def _refuse(self, reason: str) -> Actions:
        trial = self._trial
        assert trial is not None
        self._trial = None
        return [Settle(keep=False), Refuse(trial.active, reason, trial.is_late)]
