"""How it goes, in figures: for the topic `health` and for `edged status`."""

import time
from collections.abc import Callable
from typing import Any

import edged
from edged.delivery.dispatch import Dispatch
from edged.delivery.messages import Health, to_rfc3339
from edged.delivery.publisher import Courier
from edged.faults import Field, StandingFault, to_standing
from edged.process.supervisor import Supervision
from edged.rollout.apply import Apply
from edged.system.board import load_board
from edged.system.figures import memory_mb, quantile, rate_hz
from edged.system.heat import read_heat
from edged.system.log import dropped_lines

_COUNTS = ("count", "times")


class Since:
    """When each fault that lasts was first seen."""

    def __init__(self, wall_s: Callable[[], float] = time.time) -> None:
        self._wall_s = wall_s
        self._first: dict[tuple[Field, ...], float] = {}

    def to_dicts(self, faults: list[StandingFault]) -> list[dict[str, Field]]:
        """Those that there are now, for programs; what is not among them has ended."""
        self._first = {(key := to_identity(fault)): self._first.get(key, self._wall_s()) for fault in faults}
        return [
            {"kind": fault.kind, "since": to_rfc3339(self._first[to_identity(fault)]), **dict(fault.fields)} for fault in faults
        ]


def to_identity(fault: StandingFault) -> tuple[Field, ...]:
    """What makes it the same fault, whatever it has counted by now."""
    return (fault.kind, *(value for name, value in fault.fields if name not in _COUNTS))


class Report:
    """Thread: the event loop's. It only asks, and changes nothing."""

    def __init__(
        self,
        dispatch: Dispatch,
        publisher: Courier,
        vision: Supervision,
        apply: Apply,
        more: Callable[[], list[StandingFault]],
        vision_memory_mb: Callable[[], float],
        commands_refused: Callable[[], int],
    ) -> None:
        """more: the faults of parts that are known to nobody else."""
        self._dispatch, self._publisher, self._vision, self._apply = dispatch, publisher, vision, apply
        self._more, self._vision_memory_mb, self._commands_refused = more, vision_memory_mb, commands_refused
        self._started_s = time.monotonic()
        self._board = load_board().name
        self._since = Since()
        self._told: list[StandingFault] = []

    @property
    def has_news(self) -> bool:
        """There are other faults than `health` last told."""
        return list(map(to_identity, self._faults())) != list(map(to_identity, self._told))

    def tell(self) -> None:
        """The retained `health`."""
        self._dispatch.retain("health", self.health())

    def health(self) -> Health:
        publisher, dispatch, faults, heat = self._publisher, self._dispatch, self._faults(), read_heat()
        self._told = faults
        return Health(
            uptime_s=round(time.monotonic() - self._started_s, 1),
            frames=publisher.frames(),
            events=dispatch.counters(),
            results_dropped=dispatch.results_dropped,
            commands_refused=self._commands_refused(),
            log_lines_dropped=dropped_lines(),
            vision_restarts=self._vision.restarts,
            broker_connects=dispatch.broker_connects,
            fps=rate_hz(publisher.inferred_ns),
            latency_p50_ms=quantile(publisher.latency_ms, 0.5),
            latency_p95_ms=quantile(publisher.latency_ms, 0.95),
            memory_mb=memory_mb(),
            vision_memory_mb=self._vision_memory_mb(),
            throttled=heat.throttled or heat.under_voltage,
            waiting_oldest_s=dispatch.waiting_oldest_s,
            temperature_c=heat.temperature_c,
            degraded=[fault.sentence for fault in faults],
            faults=self._since.to_dicts(faults),
        )

    def status(self) -> dict[str, Any]:
        intent, active, settings = self._apply.intent, self._apply.active, self._apply.settings
        return {
            "version": edged.__version__,
            "device": settings.device,
            "board": self._board,
            "broker": self._dispatch.place,
            "wish": intent.wished,
            **self._publisher.current(),
            "config": str(intent.path.absolute()) if intent.path is not None else "",
            "override": intent.override.model_dump(include={"wish", "door"}) if intent.override else None,
            "tuned": intent.tuned.holding(intent.file),
            **self._apply.told,
            "chosen": active.why,
            "decision": self._publisher.thresholds(),
            "camera": self._publisher.camera_state,
            "connected": self._dispatch.connected,
            "inference_s": self._publisher.latencies.to_dict(),
            "health": self.health().model_dump(),
        }

    def _faults(self) -> list[StandingFault]:
        found = [*self._dispatch.faults, *self._apply.faults, *self._more()]
        if self._publisher.camera_reason:
            found.append(to_standing("camera", reason=self._publisher.camera_reason))
        return list(dict.fromkeys(found))
