"""The ways in which what shall run changes: the file, a wish, the hour of a profile, the background fit, the governor's step.

A change is validated whole. Of an edit, what has nothing to do with the model is followed at once; the model goes its own way,
is tried, and may be refused. Of a wish all is followed or nothing.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from edged.config.diff import ConfigDiff, to_change
from edged.config.parts import to_wanted
from edged.config.profile import FILE
from edged.config.reading import Settings
from edged.errors import ConfigError, EdgedError, ModelError
from edged.faults import StandingFault
from edged.rollout.active import Active
from edged.rollout.apply import Apply
from edged.rollout.desired import models_of, with_model_of
from edged.rollout.effects import Effects
from edged.rollout.governor import Step
from edged.rollout.selector import BackgroundFit, Selector
from edged.system.heat import Heat
from edged.system.tasks import Tasks

log = logging.getLogger("edged")


class Changes:
    """Thread: the event loop's."""

    def __init__(self, apply: Apply, effects: Effects, tasks: Tasks) -> None:
        self._apply, self._effects, self._tasks = apply, effects, tasks
        self._fit = BackgroundFit(effects.refusal)
        self._fitting: asyncio.Task[Any] | None = None
        self.doing = ""  # what whoever waits may be told

    @property
    def faults(self) -> list[StandingFault]:
        return [self._fit.fault] if self._fit.fault is not None else []

    # the file

    async def reload(self) -> dict[str, Any]:
        """Follow the file as it is now. What was done; raises EdgedError with every fault.

        A file with a fault changes nothing, a model that it names anew included. A model that it named before and that can't be
        used any more does not hold up the rest.
        """
        intent = self._apply.intent
        try:
            reading, models = await intent.load()
        except EdgedError as error:
            intent.fault = str(error)
            log.error("config not followed: %s", error)
            raise
        before = self._apply.settings
        if models is not None and models_of(intent.here(reading.settings)) != models_of(intent.file):
            intent.fault = str(models)
            log.error("config not followed: %s", models)
            self._effects.refusal(reading.settings.model.name, str(models))
            raise models
        intent.follow(reading)
        wanted = intent.settings()
        change = to_change(before, wanted)
        if models is not None:
            await self._follow_without_model(wanted, models)
            return self._to_done(change, list(change.at_start), str(models))
        note = ""
        if (is_new := await self._is_replaced()) and "model.name" not in change.keys:
            change = ConfigDiff((*change.keys, "model.name"))
        if is_new or self._needs_model(wanted):
            await self._use(with_model_of(wanted, self._apply.settings))
            try:
                note = await self._to_model(intent.settings, intent.door, "an edit of the config")
            except ModelError as error:
                self._apply.behind(error, wanted)
                log.error("config followed but for its model: %s", error)
                raise
            self._apply.changed()
        await self._use(intent.settings())
        at_start = list(change.at_start)
        if reading.settings.state_folder != self._apply.settings.state_folder:
            at_start.append("state_folder")
        log.info("config followed: %s", ", ".join(change.keys) or "nothing changed")
        return self._to_done(change, at_start, note)

    async def _follow_without_model(self, wanted: Settings, error: ConfigError) -> None:
        """The file is sound, a model that it has named for long is not any more; what runs goes on."""
        self._apply.intent.fault = str(error)
        log.error("config followed but for its model: %s", error)
        self._effects.refusal(wanted.model.name, str(error))
        self._apply.refused = wanted
        await self._use(with_model_of(wanted, self._apply.settings))

    # a wish

    async def wish(self, wish: str, door: str) -> dict[str, Any]:
        """Follow a wish beside the file, and remember it. Raises EdgedError, and then nothing was changed."""
        intent, before = self._apply.intent, self._apply.settings

        def to_new() -> Settings:
            return intent.settings(wish=wish)

        try:
            note = ""
            if not self._needs_model(to_new()) and not await self._is_replaced():
                self._apply.turns.end(_overtaken(wish))
                await self._apply.turns.until_idle()
            else:
                note = await self._to_model(to_new, door if wish != FILE else "config", wish)
                self._apply.changed()
        except EdgedError as error:
            log.error("%s: %s is not used: %s", door, wish, error)
            raise
        if sentence := intent.keep(wish, door):
            log.warning("%s", sentence)
            note = " ".join(filter(None, (note, sentence)))
        new = to_new()
        await self._use(new)
        change = to_change(before, new)
        return self._to_done(change, list(change.at_start), note)

    async def wish_quietly(self, wish: str, door: str) -> bool:
        """As `wish`; whether it is followed. What goes wrong is told on `model/error`."""
        try:
            await self.wish(wish, door)
        except ModelError:
            return False  # it was told when it was refused
        except EdgedError as error:
            self._effects.refusal(wish, str(error))
            return False
        return True

    async def tune(self, values: dict[str, Any], door: str) -> dict[str, Any]:
        """Single keys beside the file, None for what the file says. Raises ConfigError, and then nothing was changed."""
        intent, before = self._apply.intent, self._apply.settings
        if sentence := intent.tune(values, door):
            log.warning("%s", sentence)
        new = intent.settings()
        if not self._needs_model(new):
            await self._use(new)
        change = to_change(before, new)
        log.info("%s: %s", door, ", ".join(change.keys) or "nothing changed")
        return self._to_done(change, list(change.at_start), sentence)

    # the hour

    async def look_again(self) -> None:
        """What shall run may have become something else: another hour, or it was put off at the start."""
        apply = self._apply
        if apply.turns.is_busy:
            return
        try:
            wanted = apply.intent.settings()
            is_untried = apply.recovery.is_untried
            if not (is_untried or to_change(apply.settings, wanted).keys):
                return
            if apply.refused is not None and not to_change(apply.refused, wanted).keys:
                return
            try:
                if self._needs_model(wanted):
                    await self._use(with_model_of(wanted, apply.settings))
                    await self._to_model(apply.intent.settings, apply.intent.door, "the hour of a profile")
                    apply.changed()
                await self._use(apply.intent.settings())
            except ModelError as error:
                (apply.tried if is_untried else apply.behind)(error, wanted)
                raise
        except EdgedError as error:
            log.error("%s", error)

    # the governor

    def govern(self, heat: Heat) -> None:
        """Once a second: what heat, power and latencies ask for."""
        apply = self._apply
        if apply.switcher.on_trial or apply.turns.is_busy or apply.recovery.is_safe:
            return
        step = apply.governor.step(apply.now_s(), heat)
        if step is None:
            return
        log.warning("governor: %s at %g of the rate: %s", step.name, step.rate, step.reason)
        if step.name == apply.active.name:
            apply.governor.accepted()
            apply.describe(replace(apply.active, rate=step.rate, governed=apply.governor.reason))
            apply.pace()
        else:
            self._tasks.do(self._step(step))

    async def _step(self, step: Step) -> None:
        """The governor's other model; it is kept if it runs at all."""
        apply, governor, selector = self._apply, self._apply.governor, self._apply.selector
        try:
            active = await asyncio.to_thread(selector.step_to, step.name, apply.chosen)
            active = replace(active, rate=step.rate, governed=governor.reason)
            note = await apply.turns.take(step, lambda: apply.try_model(active, float("inf")), _overtaken("the governor"))
        except EdgedError as error:
            log.error("governor: %s", error)
            if apply.governor is governor:
                apply.refuse_step(error)
            return
        if not note:
            governor.accepted()
            apply.step_fault = None

    # the background fit

    def begin_fit(self) -> None:
        """`auto` on a board that it does not know, or a uint8 model that was never recast. One for other settings ends."""
        self.close()
        self._fit.fault = None
        selector = self._apply.selector
        if selector.needs_fit:
            self._fitting = self._tasks.do(self._measure(selector))
        elif selector.needs_recast(self._apply.chosen):
            self._fitting = self._tasks.do(self._recast(selector, self._apply.chosen))

    def close(self) -> None:
        if self._fitting is not None:
            self._fitting.cancel()

    async def _recast(self, selector: Selector, running: Active) -> None:
        """The int8 sibling of what runs; what can't be tried now is tried at the next start."""
        try:
            sibling = await selector.recast(running)
        except ModelError as error:
            log.warning("model %s is not recast to int8: %s", running.name, error)
            return
        if not sibling.is_same(running):
            await self._begin_with(selector, sibling, "its int8 sibling")

    async def _measure(self, selector: Selector) -> None:
        chosen = await self._fit.run(selector.fit)
        if chosen is not None:
            await self._begin_with(selector, chosen, "auto")

    async def _begin_with(self, selector: Selector, chosen: Active, who: str) -> None:
        """What was found beside the running one, on trial as soon as nothing else is; unless it was overtaken."""
        apply = self._apply
        while apply.turns.is_busy:
            await apply.turns.until_idle()
        if apply.selector is not selector:
            return
        try:
            await apply.turns.take(selector, lambda: apply.try_model(chosen, selector.limit_ms), _overtaken(who))
        except ModelError as error:
            apply.behind(error, apply.settings)
            return
        except EdgedError:  # a newer wish
            return
        apply.begin_ladder(selector, apply.switcher.used)
        apply.touched()

    # inside

    def _needs_model(self, wanted: Settings) -> bool:
        return self._apply.recovery.is_behind or self._apply.selector.wanted != to_wanted(wanted)

    async def _is_replaced(self) -> bool:
        """The model is named by its file, and that is another one by now: whoever asks again means the new one."""
        return await asyncio.to_thread(self._apply.selector.is_replaced, self._apply.chosen)

    async def _to_model(self, to_new: Callable[[], Settings], door: str, who: str) -> str:
        """To the model of other settings, on trial, as the newest that is asked for. Raises EdgedError, and the old one runs."""
        return await self._apply.turns.take(to_wanted(to_new()), lambda: self._try(to_new, door), _overtaken(who))

    async def _try(self, to_new: Callable[[], Settings], door: str) -> str:
        new = to_new()
        self.doing = f"model {new.model.name} is looked at, and tried where it never ran here"
        try:
            selector = await asyncio.to_thread(Selector, to_wanted(new))
            active = await selector.prepare(door)
        except ModelError as error:
            self._effects.refusal(new.model.name, str(error))
            raise
        self.doing = f"model {active.name} is loaded, and proves itself on the camera's frames"
        try:
            note = await self._apply.try_model(active, selector.limit_ms)
        except ModelError:  # its file may be another one than it was
            await asyncio.to_thread(selector.forget, active)
            raise
        self._apply.begin_ladder(selector, active)
        self.begin_fit()
        return note

    async def _use(self, settings: Settings) -> None:
        if to_change(self._apply.settings, settings).keys:
            await self._apply.use(settings)
            self._apply.touched()

    def _to_done(self, change: ConfigDiff, at_start: list[str], note: str) -> dict[str, Any]:
        return {"changed": list(change.keys), "at_start": at_start, "note": note, **self._apply.told}


def _overtaken(by: str) -> EdgedError:
    return EdgedError(f"overtaken by a newer wish: {by}")
