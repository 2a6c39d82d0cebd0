"""From one model to another without a gap, and back: the new one is loaded beside the old one, must prove itself on the
camera's frames, and until then the old one is only a word away.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from edged.errors import ModelError
from edged.rollout.selector import Running
from edged.rollout.trial import Proof

log = logging.getLogger("edged")

LOAD_LIMIT_S = 30.0  # from a slow card, while the vision process may just be starting
PROOF_LIMIT_S = 10.0  # a camera that gives no frames can not prove anything
_MOST_ASKED = 8
WAITING = "it is in use and proves itself as soon as the camera gives frames"

Facts = dict[str, Any]


class SwitchListener(Protocol):
    """What the switching tells. Thread: the event loop's."""

    def on_use(self, running: Running, facts: Facts) -> None:
        """From the next result on, this model is used; it may still be on trial."""

    def on_proven(self, running: Running) -> None:
        """This model is the one that runs from now on."""

    def on_refused(self, refused: Running, reason: str, *, is_late: bool) -> None:
        """It was not kept; what ran before runs. is_late: whoever asked was already told that it is in use."""

    def on_unusable(self, running: Running, reason: str) -> None:
        """What ran before does not load any more, so nothing runs until `replace`."""


@dataclass(eq=False)
class _Trial:
    running: Running
    proof: Proof
    number: int
    done: "asyncio.Future[str]" = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    loaded: bool = False
    timer: asyncio.TimerHandle | None = None


class Switching:
    """Thread: the event loop's. `running` is the model that is proven, or was given; it comes back after each restart."""

    def __init__(
        self, running: Running, send: Callable[[str, Mapping[str, Any]], bool], kill: Callable[[str], None], owner: SwitchListener
    ) -> None:
        """send, kill: the vision process's."""
        self.running = running
        self._send, self._kill, self._owner = send, kill, owner
        self._trial: _Trial | None = None
        self._number = self._running_number = 0
        self._asked: dict[int, Running] = {}  # by number; of this vision process

    @property
    def on_trial(self) -> bool:
        return self._trial is not None

    async def switch(self, to: Running, limit_ms: float) -> str:
        """Use `to` once it is loaded, and keep it if it proves itself. A note for people, mostly empty. Raises ModelError."""
        self._overtake()
        trial = self._trial = _Trial(to, Proof(limit_ms), self._load(to, trial=True))
        self._patience(trial, LOAD_LIMIT_S, self._not_loaded)
        try:
            return await trial.done
        finally:
            if self._trial is trial and not trial.done.done():  # nobody waits for it any more
                self._refuse("given up")

    def replace(self, running: Running) -> None:
        """Use another model with no trial: there is nothing better to go back to."""
        self._overtake()
        self.running = running
        self._running_number = self._load(running, trial=False)

    def begin(self) -> None:
        """A new vision process listens; it knows nothing."""
        self._asked.clear()
        self._running_number = self._load(self.running, trial=False)
        if self._trial is not None:
            self._trial.loaded = False
            self._trial.number = self._load(self._trial.running, trial=True)

    # what the vision process says

    def on_loaded(self, number: int, facts: Facts) -> None:
        running, trial = self._asked.get(number), self._trial
        if running is None:
            return
        self._owner.on_use(running, facts)
        if trial is not None and number == trial.number and not trial.loaded:
            trial.loaded = True
            self._patience(trial, PROOF_LIMIT_S, self._unseen)
        elif number == self._running_number:
            self._owner.on_proven(self.running)

    def on_load_failed(self, number: int, reason: str) -> None:
        if self._trial is not None and number == self._trial.number:
            self._refuse(reason)
        elif number == self._running_number:
            self._owner.on_unusable(self.running, reason)

    def on_result(self, latency_ms: float) -> None:
        trial = self._trial
        if trial is None or not trial.loaded:
            return
        trial.proof.see(latency_ms)
        if trial.proof.proven:
            self._keep(trial)
        elif trial.proof.fault:
            self._refuse(trial.proof.fault)

    def on_failed(self, reason: str) -> None:
        """The model that was used did not run; the vision process ends."""
        if self._trial is not None and self._trial.loaded:
            self._refuse(reason)
        else:
            log.error("model %s: %s", self.running.installed.card.name, reason)

    def on_crash(self, why: str) -> None:
        """The vision process died or hung. A model on trial is the first to be suspected."""
        if self._trial is not None:
            self._refuse(why)

    # inside

    def _load(self, running: Running, *, trial: bool) -> int:
        self._number += 1
        installed, self._asked[self._number] = running.installed, running
        used = {self._running_number, self._trial.number if self._trial else 0}
        self._asked = {n: one for n, one in self._asked.items() if n in used or n > self._number - _MOST_ASKED}
        self._tell(
            "load",
            {
                "number": self._number,
                "path": str(installed.path),
                "sha256": installed.sha256,
                "labels": len(installed.labels),
                "output": installed.card.output,
                "threads": running.threads,
                "trial": trial,
            },
        )
        return self._number

    def _tell(self, kind: str, fields: Mapping[str, Any]) -> None:
        """A word that must not be lost: a process that does not take it is replaced, and the next one is told all."""
        if not self._send(kind, fields):
            self._kill("it does not read what it is told")

    def _keep(self, trial: _Trial) -> None:
        self._end(trial)
        self.running, self._running_number = trial.running, trial.number
        self._tell("settle", {"keep": True})
        self._owner.on_proven(trial.running)
        if not trial.done.done():
            trial.done.set_result("")

    def _refuse(self, reason: str) -> None:
        trial = self._trial
        assert trial is not None
        self._end(trial)
        self._tell("settle", {"keep": False})
        self._owner.on_refused(trial.running, reason, is_late=trial.done.done())
        if not trial.done.done():
            trial.done.set_exception(ModelError(f"model {trial.running.installed.card.name} is refused: {reason}"))
            trial.done.exception()  # whoever asked may be gone

    def _not_loaded(self) -> None:
        self._refuse(f"it did not load within {LOAD_LIMIT_S:g} s")
        self._kill("loading a model hung")  # and whoever hangs in it hears no other word

    def _unseen(self) -> None:
        if self._trial is not None and not self._trial.done.done():
            self._trial.done.set_result(WAITING)

    def _overtake(self) -> None:
        """A newer wish; what is on trial goes, and what ran before it stays the one to go back to."""
        trial = self._trial
        if trial is not None:
            self._end(trial)
            if not trial.done.done():
                trial.done.set_exception(ModelError("overtaken by a newer wish"))
                trial.done.exception()

    def _end(self, trial: _Trial) -> None:
        self._trial = None
        if trial.timer is not None:
            trial.timer.cancel()

    def _patience(self, trial: _Trial, seconds: float, then: Callable[[], None]) -> None:
        if trial.timer is not None:
            trial.timer.cancel()
        trial.timer = asyncio.get_running_loop().call_later(seconds, then)
