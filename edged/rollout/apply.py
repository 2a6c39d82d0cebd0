"""What runs, and what is done about what is decided: the actions of the switcher and of the recovery are carried out here."""

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any

from edged.config.reading import Settings
from edged.errors import EdgedError, ModelError, WriteError
from edged.faults import StandingFault, to_standing
from edged.rollout import recovery, switcher
from edged.rollout.active import Active
from edged.rollout.effects import Effects
from edged.rollout.last_good import LastGood
from edged.rollout.rollback import find_another, load_pair
from edged.rollout.selector import Selector
from edged.rollout.startup import Start
from edged.system.tasks import Tasks, Turns

log = logging.getLogger("edged")


class Apply:
    """Thread: the event loop's."""

    def __init__(
        self, start: Start, last_good: LastGood, effects: Effects, tasks: Tasks, *, now_s: Callable[[], float] = time.monotonic
    ) -> None:
        self.now_s, self._last_good, self._effects, self._tasks = now_s, last_good, effects, tasks
        self.intent, self.settings = start.intent, start.intent.settings()
        self.switcher, self.recovery, self.turns = (
            switcher.Switcher(start.active),
            recovery.Recovery(start.to_state(now_s())),
            Turns(),
        )
        self.refused: Settings | None = None  # what was not followed; not tried again before something changes
        self._answer: asyncio.Future[str] | None = None
        self.begin_ladder(start.selector, start.active)
        effects.obey(self.settings, self.active)

    @property
    def active(self) -> Active:
        """What runs, and comes back after each restart of the vision process. On trial something else may be used."""
        return self.switcher.active

    @property
    def told(self) -> dict[str, str]:
        """For who asks: the model that runs, and the one on trial, "" for none."""
        return {"model": self.active.name, "trial": self.switcher.trial}

    @property
    def faults(self) -> list[StandingFault]:
        found = list(self.recovery.faults)
        if self.intent.fault:
            found.append(to_standing("config", reason=self.intent.fault))
        if self.intent.waits_for_clock:
            found.append(to_standing("clock"))
        if self.governor.reason:
            found.append(to_standing("governor", reason=self.governor.reason))
        if self.step_fault is not None:
            found.append(self.step_fault)
        return found + [to_standing("damaged_card", reason=sentence) for sentence in self.selector.damaged]

    def start(self) -> None:
        if isinstance(self.recovery.state, recovery.Safe):
            self._recover([recovery.EnterSafe(self.recovery.state.fault)])
        else:
            self._effects.see()

    # what was decided

    async def try_model(self, active: Active, limit_ms: float) -> str:
        """Use this model, on trial where another one runs. A note for people. Raises ModelError, and the old one runs."""
        if self.recovery.is_safe:
            self._switch(self.switcher.replace(active))
            return "it is loaded now that safe mode ends"
        if active.is_same(self.active):
            self._switch(self.switcher.withdraw())
            self.describe(active)
            return ""
        answer = self._answer = asyncio.get_running_loop().create_future()
        self._switch(self.switcher.switch(active, limit_ms, self.now_s()))
        try:
            note: str = await answer
            return note
        finally:
            if answer.cancelled() or not answer.done():  # nobody waits for it any more
                self._switch(self.switcher.withdraw())
            self._answer = None

    def describe(self, active: Active) -> None:
        """The same model runs for another reason, with another budget or rate."""
        self.switcher.describe(active)
        self.announce()

    def announce(self) -> None:
        """Tell subscribers what runs and what is wished for, where something of it is new."""
        if not self.switcher.on_trial:
            self._effects.announce(self.active, self.settings, self.intent.wished)

    def begin_ladder(self, selector: Selector, chosen: Active) -> None:
        """The governor's, down from what was chosen."""
        self.selector, self.chosen = selector, chosen
        self.governor = selector.governor(chosen, self.now_s())
        self.step_fault: StandingFault | None = None
        self._effects.pace(self.settings, self.governor.rate)

    async def use(self, settings: Settings) -> None:
        """These settings are in force; their model runs already."""
        old, self.settings = self.settings, settings
        self.pace()
        self.announce()
        await self._effects.follow(old, settings, self.switcher.used, is_blind=self.recovery.is_safe)

    def changed(self) -> None:
        """What is asked for runs."""
        self.refused = None
        self._recover(self.recovery.changed(self.now_s()))

    def touched(self) -> None:
        self._recover(self.recovery.touched(self.now_s()))

    def behind(self, error: ModelError, wanted: Settings) -> None:
        """The model of `wanted` was refused."""
        self.refused = wanted
        self._recover(self.recovery.behind(self.now_s(), self._to_refusal(str(error))))

    def tried(self, error: ModelError, wanted: Settings) -> None:
        """What was put off at the start was refused."""
        self.refused = wanted
        self._recover(self.recovery.tried(self._to_refusal(str(error))))

    def pace(self) -> None:
        self._effects.pace(self.settings, self.governor.rate)

    # what the vision process says

    def on_ready(self) -> None:
        self.pace()
        self._switch(self.switcher.begin(self.now_s()))

    def on_loaded(self, number: int, told: dict[str, Any]) -> None:
        self._switch(self.switcher.on_loaded(number, told, self.now_s()))

    def on_load_failed(self, number: int, reason: str) -> None:
        self._switch(self.switcher.on_load_failed(number, reason))

    def on_result(self, latency_ms: float) -> None:
        self.governor.see(self.now_s(), latency_ms)
        self._switch(self.switcher.on_result(latency_ms))

    def on_model_failed(self, reason: str) -> None:
        if actions := self.switcher.on_failed(reason):
            self._switch(actions)
        else:
            log.error("model %s: %s", self.active.name, reason)
            self._recover(self.recovery.crashed(self.now_s(), reason))

    def on_crash(self, why: str) -> None:
        """It died or hung. A model on trial is to blame, and the old one must be back soon."""
        if self.switcher.on_trial:
            self._effects.hurry()
            self._switch(self.switcher.on_crash(why))
        else:
            self._recover(self.recovery.crashed(self.now_s(), why))

    def tick(self, *, is_good: bool) -> None:
        """Once a second. is_good: frames are classified, or a known scene is unchanged."""
        now_s = self.now_s()
        self._switch(self.switcher.tick(now_s))
        is_settled = not (self.switcher.on_trial or self.turns.is_busy)
        self._recover(self.recovery.tick(now_s, is_good=is_good, is_settled=is_settled))

    # carrying it out

    def _switch(self, actions: switcher.Actions) -> None:
        for action in actions:
            match action:
                case switcher.Load():
                    self._effects.load(action)
                case switcher.Settle(keep):
                    self._effects.settle(keep)
                case switcher.Kill(why):
                    self._effects.kill(why)
                case switcher.Use(active):
                    self._effects.use(active, self.settings)
                    self.pace()
                case switcher.Prove(active, was_on_trial):
                    self._proven(active, was_on_trial=was_on_trial)
                case switcher.Refuse(active, reason, is_late):
                    self._refused(active, reason, is_late=is_late)
                case switcher.Wait():
                    self._tell_asker(f"it is proven when the camera gives frames; if it fails then, {self.active.name} runs again")
                case switcher.Lose(active, reason):
                    self._effects.refusal(active.name, reason)
                    self._recover(self.recovery.unusable(self.now_s(), active.name, reason))

    def _proven(self, active: Active, *, was_on_trial: bool) -> None:
        self._effects.announce(active, self.settings, self.intent.wished)
        self._recover(self.recovery.proven())
        if was_on_trial:
            if self.governor.name == active.name:
                self.governor.accepted()
            self._tell_asker("")

    def _refused(self, active: Active, reason: str, *, is_late: bool) -> None:
        log.error("model %s is refused: %s; %s runs", active.name, reason, self.active.name)
        self._effects.refusal(active.name, reason)
        error = ModelError(f"model {active.name} is refused: {reason}")
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error)
        elif is_late and self.governor.is_asking and self.governor.name == active.name:
            self.refuse_step(error)
        elif is_late:  # whoever asked was told that it is still to be proven
            self.behind(error, self.settings)
            self.begin_ladder(self.selector, self.active)

    def refuse_step(self, error: EdgedError) -> None:
        """The governor's step was not taken."""
        self.step_fault = to_standing("governor_step", model=self.governor.name, reason=str(error))
        self.governor.refused(self.now_s())
        self.pace()

    def _tell_asker(self, note: str) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(note)

    def _recover(self, actions: recovery.Actions) -> None:
        for action in actions:
            match action:
                case recovery.Remember(number):
                    self._tasks.do(self._remember(number))
                case recovery.GoBack(why, only_model):
                    log.error("%s", why)
                    self.turns.end(ModelError(why))
                    if only_model:
                        self._tasks.do(self._find_another(action))
                    else:
                        self._go_back(action)
                case recovery.EnterSafe(fault):
                    log.error("%s", fault.sentence)
                    self.turns.end(EdgedError(fault.sentence))
                    self._tasks.do(self._effects.go_blind(fault.sentence))
                case recovery.LeaveSafe():
                    self._effects.see()
                case recovery.Retry(pause_s):
                    self._effects.postpone(pause_s)

    async def _remember(self, number: int) -> None:
        source, wish, active, failed = self.intent.source, self.intent.wish, self.active, ""
        try:
            await asyncio.to_thread(self._last_good.remember, source, wish, active)
        except (WriteError, ModelError) as error:
            failed = str(error)
            log.warning("last good is not remembered: %s", error)
        self._recover(self.recovery.remembered(number, self.now_s(), failed))

    def _go_back(self, back: recovery.GoBack) -> None:
        pair = load_pair(self._last_good, self.intent, self.settings, self.active, back.why)
        if pair is None:
            self._recover(self.recovery.nothing_kept(self.now_s(), back, back.why))
        elif not pair.is_new:
            fault = to_standing("vision_lost", times=recovery.MANY, reason=back.why)
            self._recover(self.recovery.went_back(self.now_s(), back, False, fault))
        else:
            self.refused = self.intent.settings()
            fault = to_standing("last_good", reason=back.why)
            log.error("%s", fault.sentence)
            self._switch(self.switcher.replace(pair.active))
            self._recover(self.recovery.went_back(self.now_s(), back, True, fault))
            self._tasks.do(self.use(pair.settings))
            self.begin_ladder(self.selector, self.active)

    async def _find_another(self, back: recovery.GoBack) -> None:
        try:
            other = await find_another(self._last_good, self.settings, self.active, back.why)
        except ModelError as error:
            self._recover(self.recovery.nothing_kept(self.now_s(), back, str(error)))
            return
        fault = to_standing("model_refused", reason=back.why, runs=other.name)
        self._recover(self.recovery.went_back(self.now_s(), back, True, fault))
        self._switch(self.switcher.replace(other))
        self.begin_ladder(self.selector, self.active)

    def _to_refusal(self, reason: str) -> StandingFault:
        return to_standing("model_refused", reason=reason, runs=self.active.name)
