"""Which model runs, with how many threads, and why: the operator's, fit's choice, or what the governor stepped to."""

import asyncio
import logging
from dataclasses import dataclass, field, replace

from edged.errors import ModelError
from edged.models.admission import Admission
from edged.models.background import Wanted, admit_beside, fit_beside
from edged.models.fit.fit import Fit, Fitting, NotMeasuredError
from edged.models.measurements import Measured, Verdict
from edged.models.store import Installed, Store
from edged.rollout.governor import Governor, Rung

log = logging.getLogger("edged")


@dataclass(frozen=True, slots=True)
class Running:
    """A model in use, or about to be. `chosen`: how and why, for people; `budget`: the limits that were set then."""

    installed: Installed
    threads: int
    chosen: str
    measured: Measured | None = None
    budget: dict[str, float] = field(default_factory=dict)

    def is_same(self, other: "Running") -> bool:
        """The same file with the same labels and threads: nothing is to be loaded for a change of these two."""
        return (self.installed.sha256, self.installed.labels, self.threads) == (
            other.installed.sha256,
            other.installed.labels,
            other.threads,
        )


class Steward:
    """Thread: the event loop's, but `begin` before the loop runs, for it may start a process and wait."""

    def __init__(self, wanted: Wanted) -> None:
        self._wanted = wanted
        self._store, self._admission = Store(wanted.state_folder), Admission(wanted.state_folder)
        self._fitting = Fitting(self._store, self._admission, wanted.scene, wanted.threads)
        self._fit: Fit | None = None

    @property
    def limit_ms(self) -> float:
        """What an inference may take; infinite without a budget."""
        return self._wanted.budget.limit_ms

    @property
    def needs_fit(self) -> bool:
        """`auto` without enough measurements: what runs is the smallest, until `fit` is done."""
        return self._wanted.name == "auto" and self._fit is None

    def begin(self, why: str, kept: Running | None) -> Running | None:
        """What runs first; None for another one than `kept`, which goes on until that one has proven itself.

        Only a model that this board never saw takes longer than its hash. Raises ModelError.
        """
        found = self._find(why)
        running = found if isinstance(found, Running) else self._begun(found, why)
        if kept is not None and not running.is_same(kept):
            self._check(running.installed, self._admission.recall_verdict(running.installed))
            return None
        if isinstance(found, Installed):
            self._check(found, self._admission.admit(found))
        return running

    async def prepare(self, why: str) -> Running:
        """As `begin`, beside the running daemon: a model that was never tried is tried by another process. Raises ModelError."""
        found = await asyncio.to_thread(self._find, why)
        if isinstance(found, Running):
            return found
        verdict = await asyncio.to_thread(self._admission.recall_verdict, found)
        if verdict is None:
            await admit_beside(replace(self._wanted, name=found.card.name if self._wanted.name == "auto" else self._wanted.name))
        self._check(found, verdict)
        return await asyncio.to_thread(self._begun, found, why)

    async def fit(self) -> Running | None:
        """Measure in a process beside this one, and what it chose; None when nothing fits. Raises ModelError when it failed."""
        await fit_beside(self._wanted)
        return await asyncio.to_thread(self._recall)

    def governor(self, running: Running, now_s: float) -> Governor:
        """The ladder below `running`: only admitted models of its family, each faster than the one above it."""
        rungs = [Rung(running.installed.card.name, running.measured.p50_ms if running.measured else 1.0)]
        if self._fit is not None and running.measured is not None:
            for candidate in self._fit.choice.candidates:
                ms = candidate.measured.p50_ms if candidate.measured else candidate.predicted_ms
                smaller = ms and ms < rungs[-1].ms * 0.9 and (candidate.top1 or 0) < (running.installed.card.top1 or 1)
                if ms and smaller and (candidate.measured or self._is_admitted(candidate.name)):
                    rungs.append(Rung(candidate.name, ms))
        return Governor(rungs, self._wanted.budget.limit_ms, now_s)

    def step_to(self, name: str, running: Running, reason: str) -> Running:
        """The governor's other model. Raises ModelError when its file is not what it was."""
        if name == running.installed.card.name:
            return replace(running, chosen=reason)
        return self._running(self._store.find(name, self._wanted.labels), reason)

    @staticmethod
    def _check(installed: Installed, verdict: Verdict | None) -> None:
        """Raises ModelError for a model that was refused."""
        if verdict is not None and not verdict.admitted:
            raise ModelError(f"model {installed.card.name} is refused: {verdict.reason}")

    def _find(self, why: str) -> Running | Installed:
        """What `auto` chose before; else a model that is yet to be admitted."""
        if self._wanted.name == "auto" and (chosen := self._recall()) is not None:
            return replace(chosen, chosen=chosen.chosen if why == "config" else f"{why}: {chosen.chosen}")
        return self._store.find(self._wanted.name, self._wanted.labels, self._wanted.family)

    def _begun(self, installed: Installed, why: str) -> Running:
        if self._wanted.name != "auto":
            return self._running(installed, f"{why}: model.name = {self._wanted.name}")
        because = "nothing fits the budget" if self._fit else "fit has not measured yet"
        return self._running(installed, f"auto: the smallest of {self._wanted.family}; {because}")

    def _recall(self) -> Running | None:
        """The choice from what was measured before."""
        try:
            self._fit = self._fitting.recall(self._wanted.family, self._wanted.budget)
        except NotMeasuredError:
            return None
        chosen, candidate = self._fit.chosen, self._fit.choice.chosen
        if chosen is None or candidate is None:
            log.warning("nothing fits the budget; %s", self._fit.choice.nearest or "see edged fit")
            return None
        installed = self._store.find(candidate.name, self._wanted.labels)
        why = f"auto: the most accurate of {self._wanted.family} that meets the budget on this board"
        return self._running(installed, why, candidate.measured)

    def _running(self, installed: Installed, chosen: str, measured: Measured | None = None) -> Running:
        measured = measured or self._admission.recall(installed.sha256, self._wanted.scene, self._wanted.threads)
        threads = measured.threads if measured else self._wanted.threads[-1]
        return Running(installed, threads, chosen, measured, self._wanted.budget.to_dict())

    def _is_admitted(self, name: str) -> bool:
        try:
            verdict = self._admission.recall_verdict(self._store.find(name))
        except ModelError:
            return False
        return verdict is not None and verdict.admitted
