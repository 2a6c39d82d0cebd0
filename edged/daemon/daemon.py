"""The composition root: settings → parts. The only file that knows every part."""

import asyncio
import logging
import signal
import time
from collections.abc import Coroutine
from typing import Any

from edged.config.parts import to_access_of, to_camera, to_jpeg_limits, to_rules
from edged.config.reading import Settings
from edged.config.watch import ConfigWatch
from edged.daemon.delivery import open_dispatch
from edged.daemon.requests import Requests
from edged.daemon.status import Report
from edged.daemon.watchdog import Service
from edged.delivery.dispatch import Dispatch
from edged.delivery.messages import DecisionRules, Measurement, Model, ModelErrorBody
from edged.delivery.publisher import Courier
from edged.process.control import Control
from edged.process.supervisor import Gone, Supervision
from edged.rollout.apply import Following
from edged.rollout.last_good import LastGood
from edged.rollout.selector import Running
from edged.rollout.startup import Start
from edged.rollout.switcher import Switching
from edged.system.clock import Clock
from edged.system.heat import read_heat
from edged.system.systemd import open_notify

log = logging.getLogger("edged")

_HEALTH_S = 30.0
_GOVERN_S = 1.0
_HOURS_S = 20.0
_STOP_S = 1.0  # of the 3 s that a SIGTERM may take, what the vision process gets
_FRESH_S = 15.0  # a result that is older proves nothing any more


class Daemon:
    """All parts, and the few lines that tie them. Thread: the event loop's."""

    def __init__(self, start: Start, clock: Clock) -> None:
        settings = start.intent.settings()
        self._start_safe, self._facts = start.safe, dict[str, Any]()
        self._used = start.running.installed  # which may be on trial
        self._told: Model | None = None
        self._notify = open_notify()
        self._dispatch: Dispatch = open_dispatch(
            device=settings.device,
            state_folder=settings.state_folder,
            mqtt=settings.mqtt,
            outbox=settings.outbox,
            clock=clock,
        )
        self._courier = Courier(self._dispatch, clock, to_rules(settings, self._used.card, self._used.labels), result_fps=0)
        self._vision = Supervision(self._on_message, self._on_gone)
        self._snapshot = bytearray()  # the parts that are here
        self._switching = Switching(start.running, self._vision.send, self._vision.kill, self)
        self._following = Following(
            settings,
            start.intent,
            start.steward,
            self._switching,
            LastGood(settings.state_folder),
            self,
            trouble=start.trouble,
            behind=start.behind,
        )
        self._report = Report(self._dispatch, self._courier, self._vision, self._switching, self._following)
        self._requests = Requests(
            Control(settings.state_folder),
            self._dispatch,
            self._following,
            do=self._do,
            act=self._act,
            status=self._report.status,
            around_reload=self._around_reload,
        )
        self._service = Service(
            self._notify, self._dispatch, self._vision, self._courier, lambda: self._switching.running.installed.card.name
        )
        path = start.intent.path
        self._watch = ConfigWatch(path, self._requests.on_file) if path is not None else None
        self._tasks: set[asyncio.Task[Any]] = set()
        self._obey_settings(settings)

    @property
    def _settings(self) -> Settings:
        return self._following.settings

    def start(self) -> None:
        loop = asyncio.get_running_loop()
        self._requests.open()
        self._dispatch.start()
        if self._watch is not None and (sentence := self._watch.start()):
            log.warning("%s", sentence)
        loop.add_signal_handler(signal.SIGHUP, self._requests.on_file)
        self._courier.begin()
        self._courier.camera("starting")
        if self._start_safe:
            self._following.enter_safe_mode(self._start_safe)
        else:
            self._vision.start()
        self._tell_health()
        self._tick()
        self._follow_hours()
        self._following.begin_fit()
        self._service.start()

    async def close(self) -> None:
        self._service.close()
        await self._requests.close()
        if self._watch is not None:
            self._watch.close()
        for timer in (self._health_timer, self._tick_timer, self._hours_timer):
            timer.cancel()
        self._following.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._vision.stop(_STOP_S)
        self._dispatch.retain("health", self._report.health())
        await self._dispatch.close(deadline_s=_STOP_S)

    def _do(self, work: Coroutine[Any, Any, Any]) -> None:
        """In the background; a bug in it ends the courier as one in a callback does."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            raise error

    # what the vision process says

    def _on_message(self, kind: str, fields: dict[str, Any], attachment: bytes) -> None:
        if kind == "snapshot":
            self._on_snapshot(attachment, **fields)
        else:
            getattr(self, f"_on_{kind}")(**fields)

    def _on_ready(self, pid: int) -> None:
        """A new vision process knows nothing; it is told everything, also after each restart."""
        running = self._switching.running.installed
        self._courier.use_model(running.card.name, running.labels)
        more = {"watched": self._courier.watched(), "failed_runs": self._courier.failed_runs}
        self._vision.send("configure", to_camera(self._settings) | more)
        self._snapshot.clear()
        if self._courier.paused:
            self._vision.send("pause", {"paused": True})
        self._pace()
        self._switching.begin()

    def _on_gone(self, gone: Gone) -> None:
        self._courier.vision_gone(gone.why, gone.again_s, asked=gone.asked)
        if gone.crashed:
            if self._switching.on_trial:
                self._vision.hurry()  # the model on trial is to blame, and the old one must be back soon
            self._switching.on_crash(gone.why)
            self._following.crashed(gone.why)

    def _on_camera(self, state: str, fault: str, reason: str) -> None:
        self._courier.camera(state, fault, reason)

    def _on_result(self, **fields: Any) -> None:
        self._courier.result(**fields)
        latency_ms = self._courier.latency_ms[-1]
        self._following.governor.see(time.monotonic(), latency_ms)
        self._switching.on_result(latency_ms)

    def _on_gated(self, captured_ns: int, frames: dict[str, int]) -> None:
        self._courier.gated(captured_ns, frames)

    def _on_snapshot(self, part: bytes, last: bool) -> None:
        self._snapshot += part
        if last:
            self._dispatch.live_bytes("snapshot", bytes(self._snapshot))
            self._snapshot.clear()

    def _on_beat(self, frames: dict[str, int], memory_mb: float) -> None:
        self._courier.frames(frames)
        self._report.vision_memory_mb = memory_mb

    def _on_loaded(self, number: int, path: str, sha256: str, load_ms: float, facts: dict[str, Any]) -> None:
        self._switching.on_loaded(number, facts)

    def _on_load_failed(self, number: int, path: str, reason: str) -> None:
        self._switching.on_load_failed(number, reason)

    def _on_model_failed(self, reason: str) -> None:
        self._switching.on_failed(reason)
        self._following.crashed(reason)

    # what the switching says

    def on_use(self, running: Running, facts: dict[str, Any]) -> None:
        installed, wanted = running.installed, facts["input"]
        self._facts = {key: facts[key] for key in ("runtime", "delegate", "delegate_nodes", "nodes", "threads")}
        self._facts |= {key: wanted[key] for key in ("width", "height", "dtype")}
        taken = f"{facts['delegate']} took {facts['delegate_nodes']} of {facts['nodes']} nodes"
        log.info("model %s on %s: %s, %d threads", installed.card.name, facts["runtime"], taken, facts["threads"])
        self._used = installed
        self._courier.use_model(installed.card.name, installed.labels)
        self._courier.follow(to_rules(self._settings, installed.card, installed.labels))
        self._vision.send("watch", {"indices": self._courier.watched()})
        self._courier.latency_ms.clear()

    def on_proven(self, running: Running) -> None:
        self._tell_model(running)

    def on_refused(self, refused: Running, reason: str, *, is_late: bool) -> None:
        name = refused.installed.card.name
        log.error("model %s is refused: %s; %s runs", name, reason, self._switching.running.installed.card.name)
        self.on_refusal(name, reason)
        if is_late:
            self._following.refused_late(refused, reason)

    def on_unusable(self, running: Running, reason: str) -> None:
        self.on_refusal(running.installed.card.name, reason)
        self._do(self._find_another(running, reason))

    async def _find_another(self, running: Running, reason: str) -> None:
        await self._following.unusable(running, reason)
        self._tell_health_now()

    # what the following says

    async def on_settings(self, old: Settings, new: Settings) -> None:
        self._obey_settings(new)
        if to_camera(old) != to_camera(new) and not self._following.safe:
            self._vision.renew()
        self._vision.send("watch", {"indices": self._courier.watched()})
        if to_access_of(old) != to_access_of(new):
            await self._dispatch.reconnect(*to_access_of(new))
        if not self._switching.on_trial:
            self._tell_model(self._switching.running)

    def _obey_settings(self, settings: Settings) -> None:
        """What is followed at once."""
        self._courier.follow(to_rules(settings, self._used.card, self._used.labels))
        self._courier.tell_results(settings.mqtt.result_fps)
        self._courier.on_event = self._ask_snapshot if settings.snapshot.on_event else None

    def on_model(self, running: Running) -> None:
        self._pace()  # a new governor begins at the full rate
        if not self._switching.on_trial:
            self._tell_model(running)

    def on_refusal(self, asked: str, reason: str) -> None:
        self._dispatch.live("model/error", ModelErrorBody(asked=asked, reason=reason))

    def on_safe_mode(self, safe: bool) -> None:
        if safe:
            self._do(self._vision.stop(_STOP_S))
            self._courier.vision_gone("safe mode", 0.0, asked=True)  # its account is kept
            self._courier.camera("lost", "safe_mode", self._following.trouble)
        else:
            self._vision.start()
        self._tell_health_now()

    def _tell_model(self, running: Running) -> None:
        installed, measured = running.installed, running.measured
        if not self._facts:
            return
        model = Model(
            card=installed.card.name,
            sha256=installed.sha256,
            chosen=running.chosen,
            measurement=Measurement(size_mb=installed.size_mb, **measured.model_dump(exclude={"runs"})) if measured else None,
            budget=running.budget,
            decision=self._thresholds(running),
            **self._facts,
        )
        if model != self._told:
            self._told = model
            self._dispatch.retain("model", model)

    def _thresholds(self, running: Running) -> DecisionRules:
        rules = to_rules(self._settings, running.installed.card, running.installed.labels)
        return DecisionRules(enter=rules.enter, leave=rules.leave, margin=rules.margin)

    # once in a while

    def _tick(self) -> None:
        """Once a second: what heat, power and latencies ask for. Each step is told on `model` with its reason."""
        following, courier = self._following, self._courier
        step = following.governor.step(time.monotonic(), read_heat()) if not self._switching.on_trial else None
        if step is not None:
            log.warning("governor: %s at %g of the rate: %s", step.name, step.rate, step.reason)
            self._pace()
            self._do(following.step(step.name, f"governor: {step.reason}"))
        following.tick(is_good=not courier.camera_reason and courier.looked_within(_FRESH_S))
        self._tick_timer = asyncio.get_running_loop().call_later(_GOVERN_S, self._tick)

    def _pace(self) -> None:
        rate = self._following.governor.rate
        self._vision.send("pace", {"fps": self._settings.camera.fps * rate if rate < 1 else 0.0})

    def _follow_hours(self) -> None:
        self._do(self._following.look_again())
        self._hours_timer = asyncio.get_running_loop().call_later(_HOURS_S, self._follow_hours)

    # what people say

    def _around_reload(self, begins: bool) -> None:
        if begins:
            self._notify.reloading()
        else:
            self._notify.ready()
            self._tell_health_now()

    def _act(self, action: str) -> None:
        if action in ("pause", "resume") and self._courier.paused != (action == "pause"):
            self._vision.send("pause", {"paused": action == "pause"})
            self._courier.pause(action == "pause")
        elif action == "snapshot" and self._settings.snapshot.on_control:
            self._ask_snapshot()

    def _ask_snapshot(self) -> None:
        self._vision.send("snapshot", to_jpeg_limits(self._settings))

    # how it goes

    def _tell_health(self) -> None:
        self._tell_health_now()
        self._health_timer = asyncio.get_running_loop().call_later(_HEALTH_S, self._tell_health)

    def _tell_health_now(self) -> None:
        self._dispatch.retain("health", self._report.health())
