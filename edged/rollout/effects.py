"""What is decided reaches those who do it: the vision process, the publisher and the subscribers. Decides nothing itself."""

import logging
from collections.abc import Callable
from typing import Any

from edged.config.parts import to_access_of, to_camera, to_jpeg_limits, to_rules, to_tuning
from edged.config.reading import Settings
from edged.decision import Rules
from edged.delivery.dispatch import Dispatch
from edged.delivery.messages import DecisionRules, Measurement, Model, ModelErrorBody
from edged.delivery.publisher import Courier
from edged.process.supervisor import Supervision
from edged.rollout.active import Active
from edged.rollout.switcher import Load

log = logging.getLogger("edged")

STOP_S = 1.0  # of the 3 s that a SIGTERM may take, what the vision process gets


class Effects:
    """Thread: the event loop's. Every method is one-way."""

    def __init__(
        self,
        vision: Supervision,
        publisher: Courier,
        dispatch: Dispatch,
        ask_snapshot: Callable[[dict[str, Any], str, int], None],
    ) -> None:
        """ask_snapshot: with the limits of a JPEG, what it is for, and when that happened."""
        self._vision, self._publisher, self._dispatch, self._ask_snapshot = vision, publisher, dispatch, ask_snapshot
        self._told: Model | None = None

    # the vision process

    def load(self, load: Load) -> None:
        self._must_hear("load", load.to_dict())

    def settle(self, keep: bool) -> None:
        self._must_hear("settle", {"keep": keep})

    def kill(self, why: str) -> None:
        self._vision.kill(why)

    def hurry(self) -> None:
        self._vision.hurry()

    def postpone(self, pause_s: float) -> None:
        self._vision.postpone(pause_s)

    def pace(self, settings: Settings, rate: float) -> None:
        self._vision.send("pace", {"fps": settings.camera.fps * rate if rate < 1 else 0.0})

    async def go_blind(self, reason: str) -> None:
        """No vision any more, so that what is told about it can be heard."""
        self._publisher.vision_gone("safe mode", 0.0, asked=True)  # its account is kept
        self._publisher.camera("lost", "safe_mode", reason)
        await self._vision.stop(STOP_S)

    def see(self) -> None:
        self._vision.start()

    def _must_hear(self, kind: str, fields: dict[str, Any]) -> None:
        """A word that must not be lost: a process that does not take it is replaced, and the next one is told all."""
        if not self._vision.send(kind, fields):
            self._vision.kill("it does not read what it is told")

    # the settings

    def obey(self, settings: Settings, used: Active) -> None:
        """What is followed from the next result on."""
        self._publisher.follow(_rules(settings, used))
        self._publisher.tell_results(settings.mqtt.result_fps)
        limits = to_jpeg_limits(settings)
        self._publisher.on_event = (
            (lambda at_ns: self._ask_snapshot(limits, "on_event", at_ns)) if settings.snapshot.on_event else None
        )

    async def follow(self, old: Settings, new: Settings, used: Active, *, is_blind: bool) -> None:
        """Other settings are in force. Only what a running vision process can't be told needs a new one."""
        self.obey(new, used)
        if not is_blind and to_camera(old) != to_camera(new):
            tuning = to_tuning(old, new)
            if tuning is None or not self._vision.send("tune", tuning):
                self._vision.renew()
        self._vision.send("watch", {"indices": self._publisher.watched()})
        if to_access_of(old) != to_access_of(new):
            await self._dispatch.reconnect(*to_access_of(new))

    # the model

    def use(self, active: Active, settings: Settings) -> None:
        """From the next result on."""
        facts = active.facts
        taken = f"{facts['delegate']} took {facts['delegate_nodes']} of {facts['nodes']} nodes"
        log.info("model %s on %s: %s, %d threads", active.name, facts["runtime"], taken, facts["threads"])
        self._publisher.use_model(active.name, active.installed.labels)
        self._publisher.follow(_rules(settings, active))
        self._vision.send("watch", {"indices": self._publisher.watched()})
        self._publisher.latency_ms.clear()

    def announce(self, active: Active, settings: Settings, wish: str) -> None:
        """The retained `model`, once it was loaded and when something of it is new. wish: in the words of `model/set`."""
        if not active.facts:
            return
        rules = _rules(settings, active)
        measured, size_mb = active.measured, active.installed.size_mb
        model = Model(
            card=active.name,
            wish=wish,
            sha256=active.installed.sha256,
            recast_of=active.installed.card.recast_of,
            chosen=active.why,
            governor=active.governed,
            measurement=Measurement(size_mb=size_mb, **measured.model_dump(exclude={"runs"})) if measured else None,
            budget=active.budget,
            decision=DecisionRules(enter=rules.enter, leave=rules.leave, margin=rules.margin),
            **active.facts,
        )
        if model != self._told:
            self._told = model
            self._dispatch.retain("model", model)

    def refusal(self, asked: str, reason: str) -> None:
        """A model was asked for and is not used."""
        self._dispatch.answer("model/error", ModelErrorBody(asked=asked, reason=reason))


def _rules(settings: Settings, active: Active) -> Rules:
    return to_rules(settings, active.installed.card, active.installed.labels)
