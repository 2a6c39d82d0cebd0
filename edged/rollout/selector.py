"""Which model runs, with how many threads, and why: the operator's, fit's choice, or what the governor stepped to."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace

from edged.errors import EdgedError, ModelError
from edged.faults import StandingFault, to_standing
from edged.models.admission import Admission
from edged.models.background import Wanted, admit_beside, begin_with, fit_beside, recast_beside
from edged.models.fit.fit import Fit, Fitting
from edged.models.measurements import Verdict
from edged.models.names import is_path
from edged.models.store import Installed, Store
from edged.rollout.active import Active
from edged.rollout.governor import Governor, Rung

log = logging.getLogger("edged")

FIRST_PAUSE_S, LONGEST_PAUSE_S = 60.0, 3600.0  # between two attempts of the background fit


class Selector:
    """Thread: the event loop's, but `begin` before the loop runs, for it may start a process and wait."""

    def __init__(self, wanted: Wanted) -> None:
        self._wanted = wanted
        self._store, self._admission = Store(wanted.state_folder), Admission(wanted.state_folder, recast=wanted.recast)
        self._fitting = Fitting(self._store, self._admission, wanted.scene, wanted.threads)
        self._fit: Fit | None = None
        self.damaged = tuple(self._store.left_out())  # cards that are left out, and why

    @property
    def wanted(self) -> Wanted:
        return self._wanted

    @property
    def limit_ms(self) -> float:
        """What an inference may take; infinite without a budget."""
        return self._wanted.budget.limit_ms

    @property
    def needs_fit(self) -> bool:
        """`auto` without enough measurements: what runs is the smallest, until `fit` is done."""
        return self._wanted.name == "auto" and self._fit is None

    def begin(self, why: str, kept: Active | None) -> Active | None:
        """What runs first; None for another one than `kept`, which goes on until that one has proven itself.

        Only a model that this board never saw takes longer than its hash. Raises ModelError.
        """
        found = self._find(why)
        running = found if isinstance(found, Active) else self._begun(found, why)
        if kept is not None and not running.is_same(kept):
            self._check(running.installed, self._admission.recall_verdict(running.installed))
            return None
        if isinstance(found, Installed):
            self._check(found, self._admission.admit(found))
        return running

    async def prepare(self, why: str) -> Active:
        """As `begin`, beside the running daemon: a model that was never tried is tried by another process. Raises ModelError."""
        found = await asyncio.to_thread(self._find, why)
        if isinstance(found, Active):
            return found
        verdict = await asyncio.to_thread(self._admission.recall_verdict, found)
        if verdict is None:
            await admit_beside(replace(self._wanted, name=found.card.name if self._wanted.name == "auto" else self._wanted.name))
        self._check(found, verdict)
        return await asyncio.to_thread(self._begun, found, why)

    async def fit(self) -> Active | None:
        """Measure in a process beside this one, and what it chose; None when nothing fits. Raises ModelError when it failed."""
        await fit_beside(self._wanted)
        installed, self._fit = await asyncio.to_thread(begin_with, self._store, self._fitting, self._wanted)
        return self._to_chosen(installed)

    def needs_recast(self, running: Active) -> bool:
        """The model could have an int8 sibling, and nobody has tried yet."""
        return self._admission.may_have_sibling(running.installed)

    async def recast(self, running: Active) -> Active:
        """The same model as its int8 sibling, made in a process beside this one, where that may be used and is faster; else as
        it was. Raises ModelError where it could not be tried."""
        held = running.installed
        await recast_beside(replace(self._wanted, name=held.card.name if self._wanted.name == "auto" else self._wanted.name))
        if told := await asyncio.to_thread(self._admission.tell_sibling, held):
            log.info("model %s is %s", running.name, told)
        return await asyncio.to_thread(self._running, held, running.why)

    def governor(self, running: Active, now_s: float) -> Governor:
        """The ladder below `running`: only admitted models of its family, each faster than the one above it."""
        rungs = [Rung(running.name, running.measured.p50_ms if running.measured else 1.0)]
        if self._fit is not None and running.measured is not None:
            worth = {candidate.name: candidate.worth for candidate in self._fit.choice.candidates}
            above = worth.get(running.name, running.installed.card.top1) or 1
            for candidate in self._fit.choice.candidates:
                ms = candidate.measured.p50_ms if candidate.measured else candidate.predicted_ms
                smaller = ms and ms < rungs[-1].ms * 0.9 and (candidate.worth or 0) < above
                if ms and smaller and (candidate.measured or self._is_admitted(candidate.name)):
                    rungs.append(Rung(candidate.name, ms))
        return Governor(rungs, self._wanted.budget.limit_ms, now_s)

    def step_to(self, name: str, chosen: Active) -> Active:
        """The governor's other model, for the same reason as the chosen one. Raises ModelError when its file is not what it was."""
        if name == chosen.name:
            return chosen
        return self._running(self._store.find(name, self._wanted.labels), chosen.why)

    def forget(self, refused: Active) -> None:
        """What is known of a model's file: it is read again when it is asked for again."""
        self._store.forget(refused.installed.path)

    def is_replaced(self, chosen: Active) -> bool:
        """The file that the operator named is another one than when it was chosen, or none that can be used."""
        if not is_path(self._wanted.name):
            return False
        try:
            found = self._store.find(self._wanted.name, self._wanted.labels)
        except ModelError:
            return True
        return not self._running(found, chosen.why).is_same(chosen)

    def _check(self, installed: Installed, verdict: Verdict | None) -> None:
        """Raises ModelError for a model that was refused."""
        if verdict is not None and not verdict.admitted:
            name = installed.card.name  # of a file that the config names it is no name by which a command finds it
            refused = f"model {name} is refused: {verdict.reason}"
            raise ModelError(refused if is_path(self._wanted.name) else verdict.to_refusal(name))

    def _find(self, why: str) -> Active | Installed:
        """What `auto` chose before; else a model that is yet to be admitted."""
        installed, self._fit = begin_with(self._store, self._fitting, self._wanted)
        if (chosen := self._to_chosen(installed)) is not None:
            return replace(chosen, why=chosen.why if why == "config" else f"{why}: {chosen.why}")
        return installed

    def _begun(self, installed: Installed, why: str) -> Active:
        if self._wanted.name != "auto":
            return self._running(installed, f"{why}: model.name = {self._wanted.name}")
        because = "nothing fits the budget" if self._fit else "fit has not measured yet"
        return self._running(installed, f"auto: the smallest of {self._wanted.family}; {because}")

    def _to_chosen(self, installed: Installed) -> Active | None:
        """What fit chose, as it runs; None where it chose nothing."""
        if self._fit is None:
            return None
        candidate = self._fit.choice.chosen
        if candidate is None:
            log.warning("nothing fits the budget; %s", self._fit.choice.nearest or "see edged fit")
            return None
        why = f"auto: the most accurate of {self._wanted.family} that meets the budget on this board"
        return self._running(installed, why)

    def _running(self, installed: Installed, chosen: str) -> Active:
        """With what is remembered of it; as its int8 sibling where that is faster."""
        scene, may = self._wanted.scene, self._wanted.threads
        installed = self._admission.to_run(installed, scene, may)
        measured = self._admission.recall(installed.sha256, scene, may)
        threads = measured.threads if measured else may[-1]
        return Active(installed, threads, chosen, measured, self._wanted.budget.to_dict())

    def _is_admitted(self, name: str) -> bool:
        try:
            verdict = self._admission.recall_verdict(self._store.find(name))
        except ModelError:
            return False
        return verdict is not None and verdict.admitted


class BackgroundFit:
    """`auto` on a board that it does not know: the models are measured beside the running one, and again when that fails.

    Thread: the event loop's. `fault`: why `auto` is still on the smallest model.
    """

    def __init__(self, tell: Callable[[str, str], None], pause: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        """tell: what was asked for and why it is not used, for `model/error`."""
        self._tell, self._pause = tell, pause
        self.fault: StandingFault | None = None

    async def run(self, fit: Callable[[], Awaitable[Active | None]]) -> Active | None:
        """What was chosen; None when nothing fits. Measures for minutes. Cancelling ends the measuring."""
        self.fault, pause_s = None, FIRST_PAUSE_S
        log.info("model: auto measures in the background; what runs goes on meanwhile")
        while True:
            try:
                chosen = await fit()
            except EdgedError as error:
                self.fault = to_standing("fit_failed", reason=str(error))
                log.error("%s, in %g s", self.fault.sentence, pause_s)
                self._tell("auto", f"fit failed: {error}")
                await self._pause(pause_s)
                pause_s = min(pause_s * 2, LONGEST_PAUSE_S)
                continue
            self.fault = None
            if chosen is None:
                self.fault = to_standing("nothing_fits")
                self._tell("auto", "nothing fits the budget; edged fit shows what would")
            return chosen
