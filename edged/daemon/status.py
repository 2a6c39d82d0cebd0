"""How it goes, in figures: for the topic `health` and for `edged status`."""

import time
from typing import Any

from edged.delivery.dispatch import Dispatch
from edged.delivery.messages import Health
from edged.delivery.publisher import Courier
from edged.process.supervisor import Supervision
from edged.rollout.apply import Following
from edged.rollout.switcher import Switching
from edged.system.figures import memory_mb, quantile, rate_hz
from edged.system.heat import temperature_c


class Report:
    """Thread: the event loop's. It only asks, and changes nothing."""

    def __init__(
        self, dispatch: Dispatch, courier: Courier, vision: Supervision, switching: Switching, following: Following
    ) -> None:
        self._dispatch, self._courier, self._vision = dispatch, courier, vision
        self._switching, self._following = switching, following
        self._started_s = time.monotonic()
        self.vision_memory_mb = 0.0  # the peak that the vision process last told

    def health(self) -> Health:
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
            vision_memory_mb=self.vision_memory_mb,
            temperature_c=temperature_c(),
            degraded=[*dispatch.degraded, *self._following.degraded, *self._troubles()],
        )

    def status(self) -> dict[str, Any]:
        intent, running = self._following.intent, self._switching.running
        return {
            "config": str(intent.path or ""),
            "override": intent.override.model_dump(include={"wish", "door"}) if intent.override else None,
            "model": running.installed.card.name,
            "chosen": running.chosen,
            "decision": self._courier.thresholds(),
            "camera": self._courier.camera_state,
            "connected": self._dispatch.connected,
            "health": self.health().model_dump(),
        }

    def _troubles(self) -> list[str]:
        found = {"camera": self._courier.camera_reason, "governor": self._following.governor.reason}
        return [f"{part}: {reason}" for part, reason in found.items() if reason]
