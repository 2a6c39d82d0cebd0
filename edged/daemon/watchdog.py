"""The daemon as a service: systemd is told when it works, that it still does, and how. One look about every second.

The watchdog is fed by proof only: this runs on the event loop, so the loop turns; the broker's clockwork has ticked; the
outbox's writer has answered; and the vision process has given its sign, or its end is known and the next one is due.
"""

import asyncio
import logging
import time
from collections.abc import Callable

from edged.daemon.memory import MemoryGuard, MemoryLimits, to_limits
from edged.daemon.progress import Progress
from edged.delivery.dispatch import Dispatch
from edged.delivery.publisher import Courier
from edged.errors import EdgedError
from edged.process.supervisor import GOOD_RUN_S, Supervision
from edged.system.figures import board_memory_mb, memory_mb, rate_hz
from edged.system.systemd import Notify

log = logging.getLogger("edged")

LOOK_S = 1.0
BROKER_LIMIT_S = 5.0  # it ticks twice a second
WRITER_LIMIT_S = 15.0  # a memory card that tidies up lets a commit wait for seconds
FIRST_FRAME_LIMIT_S = 120.0  # after that nobody asks systemd for more time to start
_EXTEND_S = 10.0
_STATUS_S, _MEMORY_S = 5.0, 10.0
_WRITER, _BROKER, _VISION = "the outbox's writer", "the broker's clockwork", "the vision process"


class Service:
    """Thread: the event loop's. `model` tells the name of the model that runs."""

    def __init__(
        self,
        notify: Notify,
        dispatch: Dispatch,
        vision: Supervision,
        courier: Courier,
        model: Callable[[], str],
        limits: MemoryLimits | None = None,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._notify, self._dispatch, self._vision, self._courier, self._model = notify, dispatch, vision, courier, model
        self._now_s = now_s
        limits = limits or to_limits(board_memory_mb())
        self._courier_guard, self._vision_guard = MemoryGuard(limits.courier_mb), MemoryGuard(limits.vision_mb)
        self._progress = Progress()
        self._every_s = min(LOOK_S, notify.watchdog_s / 4 or LOOK_S)
        self._asked_writer = False
        self._stuck = self._told = ""
        self._forgiven = False
        self._status_due_s = self._memory_due_s = 0.0

    def start(self) -> None:
        """After the parts were started."""
        self._loop = asyncio.get_running_loop()
        self._began_s = self._now_s()
        self._courier.on_camera = self._tell  # at once: a loss may be over before the next look
        self._look()

    def close(self) -> None:
        """Before the parts are closed."""
        self._courier.on_camera = None
        self._timer.cancel()
        self._notify.stopping()

    def _look(self) -> None:
        self._timer = self._loop.call_later(self._every_s, self._look)
        now_s = self._now_s()
        self._collect(now_s)
        if not self._notify.is_up:
            self._get_up(now_s)
        self._judge(now_s)
        if now_s >= self._memory_due_s:
            self._memory_due_s = now_s + _MEMORY_S
            self._guard_memory(now_s)
        if not self._forgiven and now_s - self._began_s > GOOD_RUN_S:
            self._forgiven = True
            self._notify.forgive()
        if now_s >= self._status_due_s:
            self._status_due_s = now_s + _STATUS_S
            self._tell()

    def _collect(self, now_s: float) -> None:
        self._progress.expect(_VISION, self._vision.due_s)
        self._progress.expect(_BROKER, self._dispatch.turned_s + BROKER_LIMIT_S)
        if not self._asked_writer:
            self._asked_writer = True
            self._progress.expect(_WRITER, now_s + WRITER_LIMIT_S)
            self._dispatch.ask_writer(self._writer_answered)

    def _writer_answered(self) -> None:
        self._asked_writer = False
        self._progress.expect(_WRITER, None)

    def _get_up(self, now_s: float) -> None:
        """It works when a frame was classified, or when it is known and told why none is. No broker is waited for."""
        if self._courier.inferred_ns or self._courier.camera_reason or self._courier.paused:
            self._notify.up()
            self._status_due_s = 0.0
        elif now_s - self._began_s < FIRST_FRAME_LIMIT_S:
            self._notify.extend(_EXTEND_S)
        else:  # frames that are all too old, or one an hour: it works as it was told to, and `health` counts them
            log.warning("no frame was classified in %g s; health tells what became of them", FIRST_FRAME_LIMIT_S)
            self._notify.up()

    def _judge(self, now_s: float) -> None:
        stuck = self._progress.stuck(now_s)
        if not stuck:
            self._stuck = ""
            if self._notify.watchdog_s:
                self._notify.feed()
            return
        if not self._stuck:
            log.error("%s", stuck)
            self._notify.status(stuck)
        self._stuck = stuck
        if self._notify.watchdog_s:
            self._notify.give_up()

    def _guard_memory(self, now_s: float) -> None:
        """Raises EdgedError, which ends the courier, when it is the courier that grows."""
        if (pid := self._vision.pid) is not None and (wrong := self._vision_guard.see(pid, memory_mb(pid), now_s)):
            self._vision.kill(wrong)
        if wrong := self._courier_guard.see(1, memory_mb(), now_s):
            raise EdgedError(f"the courier ends, to be started again: {wrong}")

    def _tell(self) -> None:
        line = self._line()
        if line != self._told and not self._stuck and self._notify.status(line):
            self._told = line

    def _line(self) -> str:
        courier, dispatch = self._courier, self._dispatch
        if courier.paused:
            seeing = "paused"
        elif courier.camera_reason:
            seeing = f"camera: {courier.camera_reason}"
        else:
            seeing = f"{rate_hz(courier.inferred_ns):.1f} fps"
        broker = "ok" if dispatch.connected else "away"
        return f"{seeing}, {self._model()}, broker {broker}, {dispatch.counters().queued} waiting"
