"""What shall run becomes what runs: a reload, a wish, the hour of a profile, and the way back when one of them was bad.

A change is validated whole, its model proves itself, and only then the rest follows; what is refused changes nothing.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Protocol

from edged.config.diff import to_change
from edged.config.parts import to_wanted
from edged.config.profile import FILE
from edged.config.reading import Reading, Settings
from edged.errors import ConfigError, EdgedError, ModelError, WriteError
from edged.process.supervisor import GOOD_RUN_S
from edged.rollout.crashes import MANY
from edged.rollout.desired import Intent
from edged.rollout.governor import Governor
from edged.rollout.last_good import LastGood
from edged.rollout.selector import Running, Steward
from edged.rollout.switcher import Switching

log = logging.getLogger("edged")

_CRASHES_S = 60.0
_SAFE_S = 600.0  # after so long safe mode tries again by itself: nobody may ever come


class Parts(Protocol):
    """What the rest of the house does about other settings. Thread: the event loop's."""

    async def on_settings(self, old: Settings, new: Settings) -> None:
        """They are in force now; the model runs already."""

    def on_model(self, running: Running) -> None:
        """This model runs, or runs for another reason or with another budget."""

    def on_refusal(self, asked: str, reason: str) -> None:
        """A model was asked for and is not used."""

    def on_safe_mode(self, safe: bool) -> None:
        """No vision from now on, or vision again."""


class Following:
    """Thread: the event loop's."""

    def __init__(
        self,
        settings: Settings,
        intent: Intent,
        steward: Steward,
        switching: Switching,
        last_good: LastGood,
        parts: Parts,
        *,
        trouble: str,
        behind: bool,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """settings: what runs. trouble: why that is not what the intent says, if it is not. behind: the model is yet to be."""
        self.settings, self.intent, self.steward = settings, intent, steward
        self._switching, self._last_good, self._parts, self._now_s = switching, last_good, parts, now_s
        self.governor: Governor = steward.governor(switching.running, now_s())
        self.trouble, self._behind = trouble, behind
        self.safe = False
        self._safe_since_s = 0.0
        self._changing = asyncio.Lock()
        self._fitting: asyncio.Task[None] | None = None
        self._changed_s = now_s()
        self._remembered = False
        self._crashes: deque[float] = deque()
        self._tried_again = False
        self._unusable = 0  # models in a row that could not be loaded
        self._refused: Settings | None = None  # what was not followed; not tried again before something changes

    def close(self) -> None:
        if self._fitting is not None:
            self._fitting.cancel()

    @property
    def degraded(self) -> list[str]:
        waits = "profiles with hours wait for a clock that somebody has set" if self.intent.waits_for_clock else ""
        config = f"config: {self.intent.fault}" if self.intent.fault else ""
        return [sentence for sentence in (self.trouble, config, waits) if sentence]

    # the doors

    async def reload(self) -> dict[str, Any]:
        """Follow the file as it is now. What was done; raises EdgedError with every fault, and then nothing was changed."""
        try:
            reading = await self.intent.load()
            there = reading.settings
            done = await self._follow(lambda: self.intent.settings(self.intent.here(there)), "config", reading)
            if there.state_folder != self.settings.state_folder:
                done["at_start"] = [*done["at_start"], "state_folder"]
        except EdgedError as error:
            self.intent.fault = str(error)
            log.error("config not followed: %s", error)
            raise
        log.info("config followed: %s", ", ".join(done["changed"]) or "nothing changed")
        return done

    async def wish(self, wish: str, door: str) -> dict[str, Any]:
        """Follow a wish beside the file, and remember it. Raises EdgedError, and then nothing was changed."""
        try:
            done = await self._follow(lambda: self.intent.settings(wish=wish), door if wish != FILE else "config", wish)
        except EdgedError as error:
            log.error("%s: %s is not used: %s", door, wish, error)
            raise
        return done

    async def wish_quietly(self, wish: str, door: str) -> None:
        """As `wish`; what goes wrong was told on `model/error`."""
        try:
            await self.wish(wish, door)
        except ModelError:
            return
        except EdgedError as error:
            self._parts.on_refusal(wish, str(error))

    async def look_again(self) -> None:
        """What shall run may have become something else: another hour, or it was put off at the start."""
        if self._changing.locked():
            return
        try:
            wanted = self.intent.settings()
            is_other = self._behind or to_change(self.settings, wanted).keys
            if is_other and (self._refused is None or to_change(self._refused, wanted).keys):
                await self._follow(self.intent.settings, self.intent.door)
        except EdgedError as error:
            log.error("%s", error)

    # carrying it out

    async def _follow(self, to_new: Callable[[], Settings], door: str, kept: Reading | str | None = None) -> dict[str, Any]:
        """kept: what is in force once this is carried out, the file as it was read or a wish."""
        async with self._changing:
            new, note = to_new(), ""  # only now: what was waited for may have changed what is wanted
            try:
                if self.trouble or self._behind or to_wanted(new) != to_wanted(self.settings):
                    note = await self._switch(new, door)
            except ModelError as error:
                self._refused = new
                if self._behind and not self.trouble:
                    self.trouble = f"{error}; {self._switching.running.installed.card.name} runs"
                raise
            self._refused, self.trouble, self._behind = None, "", False
            old, self.settings = self.settings, new
            change = to_change(old, new)
            if isinstance(kept, str) and (sentence := self.intent.keep(kept, door)):
                log.warning("%s", sentence)
                note = " ".join(filter(None, (note, sentence)))
            elif isinstance(kept, Reading):
                self.intent.follow(kept)
            if self.safe:
                self._leave_safe_mode()
            if change.keys:
                await self._parts.on_settings(old, new)
                self._begin_to_count()
            return {
                "changed": list(change.keys),
                "at_start": list(change.at_start),
                "model": self._switching.running.installed.card.name,
                "note": note,
            }

    async def _switch(self, new: Settings, door: str) -> str:
        """To the model of other settings, on trial. Raises ModelError, and the old one runs."""
        try:
            steward = await asyncio.to_thread(Steward, to_wanted(new))
            running = await steward.prepare(door)
        except ModelError as error:
            self._parts.on_refusal(new.model.name, str(error))
            raise
        note = ""
        if self.safe:
            self._switching.replace(running)
        elif not running.is_same(self._switching.running) or self._switching.on_trial:
            note = await self._switching.switch(running, steward.limit_ms)
            self._begin_to_count()
        self._use(steward, running)
        return note

    def _use(self, steward: Steward, running: Running) -> None:
        self.steward, self.governor = steward, steward.governor(running, self._now_s())
        if not self._switching.on_trial:
            self._switching.running = running
        self._parts.on_model(running)
        self.close()
        self.begin_fit()

    def begin_fit(self) -> None:
        """`auto` on a board that it does not know."""
        if self.steward.needs_fit:
            self._fitting = asyncio.get_running_loop().create_task(self._fit(self.steward))

    async def _fit(self, steward: Steward) -> None:
        """Measure beside the running model, then switch to what was chosen."""
        log.info("model: auto measures in the background; %s runs meanwhile", self._switching.running.installed.card.name)
        try:
            chosen = await steward.fit()
        except EdgedError as error:
            log.error("model: fit failed: %s", error)
            self._parts.on_refusal("auto", f"fit failed: {error}")
            return
        if chosen is None:
            self._parts.on_refusal("auto", "nothing fits the budget; edged fit shows what would")
            return
        async with self._changing:
            if self.steward is steward:
                self._fitting = None  # done: what follows must not cancel it
                await self._step(chosen, steward.limit_ms)
                self._begin_ladder()
                self._begin_to_count()

    async def step(self, name: str, reason: str) -> None:
        """The governor's other model; it is kept if it runs at all."""
        governor = self.governor
        async with self._changing:
            if self.governor is not governor:
                return  # of a ladder that is no more
            try:
                following = await asyncio.to_thread(self.steward.step_to, name, self._switching.running, reason)
            except EdgedError as error:
                log.error("governor: %s", error)
                return
            await self._step(following, float("inf"))

    async def _step(self, to: Running, limit_ms: float) -> None:
        try:
            if not to.is_same(self._switching.running):
                await self._switching.switch(to, limit_ms)
            else:
                self._switching.running = to
                self._parts.on_model(to)
        except ModelError as error:
            log.error("%s", error)

    # the way back

    def tick(self, is_good: bool) -> None:
        """Once a second. is_good: frames are classified, or a known scene is unchanged."""
        if self.safe and self._now_s() - self._safe_since_s > _SAFE_S:
            self.trouble, self._tried_again = "vision is tried again after safe mode", True
            self._leave_safe_mode()
        is_long = self._now_s() - self._changed_s >= GOOD_RUN_S
        if self._tried_again and is_good and is_long:
            self.trouble, self._tried_again = "", False
        is_settled = not (self.trouble or self._behind or self._switching.on_trial)
        if is_good and is_long and is_settled and not self._remembered:
            self._remembered = True
            source, wish, running = self.intent.source, self.intent.wish, self._switching.running
            asyncio.get_running_loop().run_in_executor(None, self._remember, source, wish, running)

    def _remember(self, *pair: Any) -> None:
        try:
            self._last_good.remember(*pair)
        except (WriteError, ModelError) as error:
            log.warning("last good is not remembered: %s", error)

    def crashed(self, why: str) -> None:
        """The vision process died or hung. After a change that means: back."""
        now_s = self._now_s()
        self._crashes.append(now_s)
        while self._crashes and self._crashes[0] < now_s - _CRASHES_S:
            self._crashes.popleft()
        if self._remembered or len(self._crashes) < MANY or self.safe:
            return
        self._crashes.clear()
        if not self.trouble and self._go_back(f"the vision process was lost {MANY} times in a row ({why})"):
            return
        if self.trouble:
            self.enter_safe_mode(f"the vision process was lost {MANY} times more ({why})")

    def refused_late(self, refused: Running, reason: str) -> None:
        """A model was in use on trial, and whoever asked for it was told so; it did not prove itself."""
        name = self._switching.running.installed.card.name
        self.trouble = f"model {refused.installed.card.name} is refused: {reason}; {name} runs"
        self._refused, self._behind = self.settings, True
        self._begin_ladder()

    def _begin_ladder(self) -> None:
        """The governor's, from what runs now."""
        self.governor = self.steward.governor(self._switching.running, self._now_s())

    def _go_back(self, why: str) -> bool:
        """To the last good pair; False when there is none, or when it is what runs."""
        reading, running = self._last_good.reading(), self._last_good.running()
        if reading is None or running is None:
            return False
        try:
            good = self.intent.settings(self.intent.here(reading.settings), self._last_good.wish)
        except ConfigError:  # a wish for a profile that it does not have
            good = self.intent.settings(self.intent.here(reading.settings), "")
        is_same = running.installed.sha256 == self._switching.running.installed.sha256
        if is_same and not to_change(self.settings, good).keys:
            return False
        self.trouble = f"the last good config and model run: {why}"
        log.error("%s", self.trouble)
        self._refused, old = self.intent.settings(), self.settings
        self.settings = good
        self._switching.replace(replace(running, chosen=f"last good: {why}"))
        self._begin_ladder()
        asyncio.get_running_loop().create_task(self._parts.on_settings(old, good))
        return True

    async def unusable(self, running: Running, reason: str) -> None:
        """The file of the running model can't be loaded any more, so what was kept of it, or the smallest, runs."""
        name = running.installed.card.name
        self.trouble = f"model {name} can not be loaded any more: {reason}"
        log.error("%s", self.trouble)
        self._unusable += 1
        if self._unusable > MANY:
            self.enter_safe_mode(f"no model can be loaded ({reason})")
            return
        kept = await asyncio.to_thread(self._last_good.running)
        if kept is not None and kept.installed.path != running.installed.path:
            other, which = kept, "last good"
        else:
            wanted = replace(to_wanted(self.settings), name="auto", labels="", family="home")
            try:
                other, which = await (await asyncio.to_thread(Steward, wanted)).prepare("the smallest"), "the smallest"
            except ModelError as error:
                self.enter_safe_mode(str(error))
                return
        self._switching.replace(replace(other, chosen=f"{which}: {self.trouble}"))
        self._begin_ladder()

    def enter_safe_mode(self, why: str) -> None:
        """No vision any more, so that what is told about it can be heard."""
        self.safe, self._safe_since_s = True, self._now_s()
        self.trouble = f"safe mode, no vision: {why}; mend the config, or run 'edged use NAME' or 'edged reload'"
        log.error("%s", self.trouble)
        self._parts.on_safe_mode(True)

    def _leave_safe_mode(self) -> None:
        self.safe = False
        self._begin_to_count()
        self._parts.on_safe_mode(False)

    def _begin_to_count(self) -> None:
        """Something else runs now, and must show for a minute that it can."""
        self._changed_s, self._remembered, self._unusable = self._now_s(), False, 0
        self._crashes.clear()
