"""The composition root: settings → parts → run. The only file that knows every part."""

import asyncio
import json
import logging
import os
import signal
import time
from typing import Any

from edged.claim import claimed
from edged.clock import Clock
from edged.config import Settings
from edged.control import Control
from edged.courier import Courier
from edged.decision import Rules
from edged.delivery.dispatch import Dispatch, open_dispatch
from edged.delivery.messages import Health, Measurement, Model, ModelError
from edged.errors import EdgedError
from edged.health import memory_mb, quantile, rate_hz, temperature_c
from edged.models.admission import Scene
from edged.models.background import Wanted
from edged.models.choice import Budget
from edged.models.fit import to_threads
from edged.models.heat import read_heat
from edged.steward import Running, Steward
from edged.supervision import Supervision

log = logging.getLogger("edged")

_HEALTH_S = 30.0
_GOVERN_S = 1.0
_OPENED_WITH = {"kind", "source", "fps", "loop", "width_px", "height_px", "rotation", "exposure_max_ms", "buffers"}
_ACTIONS = ("pause", "resume", "snapshot")
_LARGEST_CONTROL_BYTES = 4096
_LONGEST_REPLAY_S = 10 * 365 * 86400.0
_STOP_S = 1.0  # of the 3 s that a SIGTERM may take, what the vision process gets


def run(settings: Settings) -> int:
    """Run until SIGTERM or SIGINT; the exit code. Raises EdgedError when it cannot start."""
    with claimed(settings.state_folder):
        steward = Steward(to_wanted(settings))
        return asyncio.run(_run(settings, steward, steward.begin()))


async def _run(settings: Settings, steward: Steward, running: Running) -> int:
    loop = asyncio.get_running_loop()
    failed: list[BaseException] = []
    stop = asyncio.Event()

    def on_error(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """A bug in a callback ends the courier with a traceback; systemd starts a healthy one."""
        error = context.get("exception") or RuntimeError(context["message"])
        failed.append(error)
        stop.set()

    loop.set_exception_handler(on_error)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    daemon = Daemon(settings, steward, running)
    daemon.start()
    await stop.wait()
    await daemon.close()
    if failed:
        raise failed[0]
    return 0


class Daemon:
    """All parts, and the few lines that tie them. Thread: the event loop's."""

    def __init__(self, settings: Settings, steward: Steward, running: Running) -> None:
        self._settings, self._steward = settings, steward
        self._running = self._next = running  # what runs, and what was last asked to
        self._governor = steward.governor(running, time.monotonic())
        self._fitting: asyncio.Task[None] | None = None
        self._facts: dict[str, Any] = {}
        self._started_s = time.monotonic()
        self._clock = Clock()
        self._dispatch: Dispatch = open_dispatch(
            device=settings.device,
            state_folder=settings.state_folder,
            mqtt=settings.mqtt,
            outbox=settings.outbox,
            clock=self._clock,
        )
        rules = to_rules(settings, running.installed.labels)
        self._courier = Courier(
            self._dispatch,
            self._clock,
            rules,
            result_fps=settings.mqtt.result_fps,
            on_event=self._ask_snapshot if settings.snapshot.on_event else None,
        )
        self._vision = Supervision(self._on_message, self._courier.vision_gone)
        self._vision_memory_mb = 0.0
        self._snapshot = bytearray()  # the parts that are here
        self._control = Control(settings.state_folder)
        self._control.on("replay", self._replay)

    def start(self) -> None:
        self._dispatch.on_command("control", self._on_control)
        self._dispatch.start()
        self._opening = asyncio.get_running_loop().create_task(self._control.start())
        self._courier.begin()
        self._courier.camera("starting")
        self._vision.start()
        self._tell_health()
        self._govern()
        if self._steward.needs_fit:
            self._fitting = asyncio.get_running_loop().create_task(self._fit())

    async def close(self) -> None:
        await self._control.close()
        self._health_timer.cancel()
        self._govern_timer.cancel()
        if self._fitting is not None:
            self._fitting.cancel()
            await asyncio.wait([self._fitting])
        await self._vision.stop(_STOP_S)
        self._dispatch.retain("health", self._health())
        await self._dispatch.close(deadline_s=_STOP_S)

    def _on_message(self, kind: str, fields: dict[str, Any], attachment: bytes) -> None:
        if kind == "snapshot":
            self._on_snapshot(attachment, **fields)
        else:
            getattr(self, f"_on_{kind}")(**fields)

    def _on_ready(self, pid: int) -> None:
        """A new vision process knows nothing; it is told everything, also after each restart."""
        settings = self._settings
        self._courier.use_model(self._running.installed.card.name, self._running.installed.labels)
        camera = settings.camera
        self._vision.send(
            "configure",
            {
                "camera": camera.model_dump(include=_OPENED_WITH),
                "region": list(camera.region),
                "crop": camera.crop,
                "max_age_ms": camera.max_age_ms,
                "watched": self._courier.watched(),
                "no_frame_s": camera.no_frame_s,
                "frozen_s": camera.frozen_s,
                "gate": settings.gate.model_dump(include={"threshold", "max_interval_s"}) if settings.gate.enabled else None,
                "failed_runs": self._courier.failed_runs,
            },
        )
        self._snapshot.clear()
        if self._courier.paused:
            self._vision.send("pause", {"paused": True})
        self._pace()
        self._use(self._running)

    def _use(self, running: Running) -> None:
        """Ask for a model; it is in use when the vision process says that it is loaded, and the old one runs until then."""
        self._next, installed = running, running.installed
        self._vision.send(
            "load",
            {
                "path": str(installed.path),
                "sha256": installed.sha256,
                "labels": len(installed.labels),
                "output": installed.card.output,
                "threads": running.threads,
            },
        )

    def _pace(self) -> None:
        self._vision.send("pace", {"fps": self._settings.camera.fps * self._governor.rate if self._governor.rate < 1 else 0.0})

    def _on_camera(self, state: str, fault: str, reason: str) -> None:
        self._courier.camera(state, fault, reason)

    def _on_result(self, **fields: Any) -> None:
        self._courier.result(**fields)
        self._governor.see(time.monotonic(), self._courier.latency_ms[-1])

    def _on_gated(self, captured_ns: int, frames: dict[str, int]) -> None:
        self._courier.gated(captured_ns, frames)

    def _on_snapshot(self, part: bytes, last: bool) -> None:
        self._snapshot += part
        if last:
            self._dispatch.live_bytes("snapshot", bytes(self._snapshot))
            self._snapshot.clear()

    def _ask_snapshot(self) -> None:
        self._vision.send("snapshot", self._settings.snapshot.model_dump(include={"max_px", "quality", "max_kb"}))

    def _on_beat(self, frames: dict[str, int], memory_mb: float) -> None:
        self._courier.frames(frames)
        self._vision_memory_mb = memory_mb

    def _on_loaded(self, path: str, sha256: str, load_ms: float, facts: dict[str, Any]) -> None:
        if sha256 != self._next.installed.sha256:
            return  # of a wish that was overtaken by another one
        self._running, wanted = self._next, facts.pop("input")
        self._facts = {key: facts[key] for key in ("runtime", "delegate", "delegate_nodes", "nodes", "threads")}
        self._facts |= {key: wanted[key] for key in ("width", "height", "dtype")}
        installed, taken = self._running.installed, f"{facts['delegate']} took {facts['delegate_nodes']} of {facts['nodes']} nodes"
        log.info("model %s on %s: %s, %d threads", installed.card.name, facts["runtime"], taken, facts["threads"])
        self._courier.use_model(installed.card.name, installed.labels)
        self._vision.send("watch", {"indices": self._courier.watched()})
        self._courier.latency_ms.clear()
        self._tell_model()

    def _tell_model(self) -> None:
        running, budget = self._running, self._settings.budget.model_dump(exclude_none=True)
        measured, size_mb = running.measured, round(running.installed.path.stat().st_size / 1e6, 3)
        self._dispatch.retain(
            "model",
            Model(
                card=running.installed.card.name,
                sha256=running.installed.sha256,
                chosen=running.chosen,
                measurement=Measurement(size_mb=size_mb, **measured.model_dump(exclude={"runs"})) if measured else None,
                budget=budget,
                **self._facts,
            ),
        )

    def _on_load_failed(self, path: str, reason: str) -> None:
        """What ran before still runs."""
        asked, self._next = self._next.installed.card.name, self._running
        log.error("model %s: %s", asked, reason)
        self._dispatch.live("model/error", ModelError(asked=asked, reason=reason))

    def _on_model_failed(self, reason: str) -> None:
        self._on_load_failed(str(self._running.installed.path), reason)

    async def _fit(self) -> None:
        """`auto` on a board that it does not know: measure beside the running model, then switch to what was chosen."""
        log.info("model: auto measures in the background; %s runs meanwhile", self._running.installed.card.name)
        try:
            chosen = await self._steward.fit()
        except EdgedError as error:
            log.error("model: fit failed: %s", error)
            self._dispatch.live("model/error", ModelError(asked="auto", reason=f"fit failed: {error}"))
            return
        if chosen is None:
            self._dispatch.live(
                "model/error", ModelError(asked="auto", reason="nothing fits the budget; edged fit shows what would")
            )
            return
        self._governor = self._steward.governor(chosen, time.monotonic())
        self._use(chosen)

    def _follow(self, following: Running) -> None:
        if following.installed.sha256 != self._running.installed.sha256:
            self._use(following)
        elif self._facts:
            self._running = self._next = following
            self._tell_model()

    def _govern(self) -> None:
        """Once a second: what heat, power and latencies ask for. Each step is told on `model` with its reason."""
        step = self._governor.step(time.monotonic(), read_heat())
        if step is not None:
            log.warning("governor: %s at %g of the rate: %s", step.name, step.rate, step.reason)
            self._pace()
            try:
                following = self._steward.step_to(step.name, self._running, f"governor: {step.reason}")
            except EdgedError as error:
                log.error("governor: %s", error)
            else:
                self._follow(following)
        self._govern_timer = asyncio.get_running_loop().call_later(_GOVERN_S, self._govern)

    def _on_control(self, payload: bytes) -> None:
        """What is not exactly one of the known commands changes nothing."""
        action = to_action(payload)
        if action in ("pause", "resume"):
            self._vision.send("pause", {"paused": action == "pause"})
            self._courier.pause(action == "pause")
        elif action == "snapshot" and self._settings.snapshot.on_control:
            self._ask_snapshot()

    def _degraded(self) -> list[str]:
        """What does not work as it should, besides delivery."""
        found = {"camera": self._courier.camera_reason, "governor": self._governor.reason}
        return [f"{part}: {reason}" for part, reason in found.items() if reason]

    async def _replay(self, request: dict[str, Any]) -> dict[str, Any]:
        since_s = request.get("since_s")
        if not isinstance(since_s, int | float) or not 0 <= since_s <= _LONGEST_REPLAY_S:
            raise EdgedError("replay needs since_s, a number of seconds")
        return {"replayed": await self._dispatch.replay(since_s)}

    def _tell_health(self) -> None:
        self._dispatch.retain("health", self._health())
        self._health_timer = asyncio.get_running_loop().call_later(_HEALTH_S, self._tell_health)

    def _health(self) -> Health:
        courier, dispatch = self._courier, self._dispatch
        return Health(
            uptime_s=round(time.monotonic() - self._started_s, 1),
            frames=courier.frames(),
            events=dispatch.counters(),
            results_dropped=dispatch.results_dropped,
            vision_restarts=self._vision.restarts,
            broker_connects=dispatch.broker_connects,
            fps=rate_hz(courier.inferred_ns),
            latency_p50_ms=quantile(courier.latency_ms, 0.5),
            latency_p95_ms=quantile(courier.latency_ms, 0.95),
            memory_mb=memory_mb(),
            vision_memory_mb=self._vision_memory_mb,
            temperature_c=temperature_c(),
            degraded=[*dispatch.degraded, *self._degraded()],
        )


def to_rules(settings: Settings, labels: tuple[str, ...]) -> Rules:
    """The decision's thresholds; of the groups only those that this model can see something of."""
    decision = settings.decision
    groups = {name: members for name, members in decision.groups.items() if set(members) & set(labels)}
    return Rules(
        enter=decision.enter,
        leave=decision.leave,
        k=decision.k,
        n=decision.n,
        margin=decision.margin,
        hold_s=decision.hold_s,
        ignore=frozenset(decision.ignore),
        groups=groups,
    )


def to_action(payload: bytes) -> str | None:
    """The action of a `control` message, or None for anything that is not exactly {"action": one of the known}."""
    if len(payload) > _LARGEST_CONTROL_BYTES:
        return None
    try:
        command = json.loads(payload)
    except (ValueError, RecursionError):
        return None
    if not isinstance(command, dict) or set(command) != {"action"} or command["action"] not in _ACTIONS:
        return None
    return str(command["action"])


def to_wanted(settings: Settings) -> Wanted:
    """What the settings say about models."""
    camera, model = settings.camera, settings.model
    return Wanted(
        state_folder=settings.state_folder,
        name=model.name,
        labels=model.labels,
        family=model.family,
        threads=tuple(to_threads(model.threads, len(os.sched_getaffinity(0)))),
        budget=Budget(**settings.budget.model_dump()),
        scene=Scene.of_camera(camera.kind, camera.width_px, camera.height_px, camera.region, camera.crop),
    )
