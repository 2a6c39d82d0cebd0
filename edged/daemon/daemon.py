"""The parts list: what the daemon is made of, in which order its parts start, and in the reverse order stop."""

import asyncio
import contextlib
import signal
from collections.abc import Callable

from edged.config.parts import to_rules
from edged.config.watch import ConfigWatch
from edged.daemon.delivery import open_dispatch
from edged.daemon.introduction import Introduction
from edged.daemon.link import Link
from edged.daemon.requests import Requests
from edged.daemon.status import Report
from edged.daemon.timers import Repeated
from edged.daemon.watchdog import Service
from edged.delivery.publisher import Courier
from edged.faults import StandingFault, to_standing
from edged.process.control import Control
from edged.process.pipe import Pipe
from edged.process.supervisor import Child, Supervision, fork_vision
from edged.rollout.apply import Apply
from edged.rollout.changes import Changes
from edged.rollout.effects import STOP_S, Effects
from edged.rollout.last_good import LastGood
from edged.rollout.startup import Start
from edged.system.clock import Clock
from edged.system.heat import read_heat
from edged.system.systemd import open_notify
from edged.system.tasks import Tasks

_HEALTH_S, _SECOND_S, _HOURS_S = 30.0, 1.0, 20.0
_WRITTEN_S = 0.3
_FRESH_S = 15.0  # a result that is older proves nothing any more


class Daemon:
    """Thread: the event loop's. No part knows it."""

    def __init__(self, start: Start, clock: Clock, fork: Callable[[Pipe], Child] = fork_vision) -> None:
        settings, installed = start.intent.settings(), start.active.installed
        folder, notify, self._tasks = settings.state_folder, open_notify(), Tasks()
        self._dispatch = open_dispatch(
            device=settings.device, state_folder=folder, mqtt=settings.mqtt, outbox=settings.outbox, clock=clock
        )
        self._publisher = Courier(self._dispatch, clock, to_rules(settings, installed.card, installed.labels), result_fps=0)
        self._vision = Supervision(fork)
        effects = Effects(self._vision, self._publisher, self._dispatch)
        self._apply = Apply(start, LastGood(folder), effects, self._tasks)
        self._changes = Changes(self._apply, effects, self._tasks)
        link = Link(self._vision, self._publisher, self._dispatch, self._apply)
        effects.ask_snapshot = link.ask_snapshot
        self._damaged = [to_standing("damaged_file", reason=sentence) for sentence in start.damaged]
        self._introduction = Introduction(self._dispatch, self._apply, folder)
        self._control = Control(folder, lambda: self._changes.doing)
        self._report = Report(
            self._dispatch, self._publisher, self._vision, self._apply, self._own_faults, lambda: link.vision_memory_mb
        )
        self._requests = Requests(
            self._control, self._dispatch, self._changes, self._tasks, notify, link.act, self._report.status, self._tell_health
        )
        self._report.commands_refused = lambda: self._requests.refused
        self._watch = ConfigWatch(start.intent.path, self._requests.on_file) if start.intent.path is not None else None
        self._service = Service(notify, self._dispatch, self._vision, self._publisher, lambda: self._apply.active.name)
        self._timers = (
            Repeated(_HEALTH_S, self._tell_health),
            Repeated(_SECOND_S, self._each_second),
            Repeated(_HOURS_S, lambda: self._tasks.do(self._changes.look_again())),
        )

    def start(self) -> None:
        self._tasks.do(self._control.start())
        self._dispatch.start()
        if self._watch is not None:
            self._watch.start()
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._requests.on_file)
        self._publisher.begin()
        self._publisher.camera("starting")
        self._apply.start()
        self._changes.begin_fit()
        for timer in self._timers:
            timer.start()
        self._service.start()

    async def close(self) -> None:
        self._service.close()
        for timer in self._timers:
            timer.close()
        self._changes.close()
        self._introduction.close()
        asyncio.get_running_loop().remove_signal_handler(signal.SIGHUP)
        if self._watch is not None:
            self._watch.close()
        await self._control.close()
        await self._tasks.close()
        await self._vision.stop(STOP_S)
        self._publisher.end()
        await self._until_written()
        self._tell_health()
        await self._dispatch.close(deadline_s=STOP_S)

    async def _until_written(self) -> None:
        """So that the last `health` counts the last events. A disk that hangs is not waited for."""
        written = asyncio.Event()
        self._dispatch.ask_writer(written.set)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(written.wait(), _WRITTEN_S)

    def _each_second(self) -> None:
        self._changes.govern(read_heat())
        is_good = not self._publisher.camera_reason and self._publisher.looked_within(_FRESH_S)
        self._apply.tick(is_good=is_good)
        self._publisher.renew()
        self._introduction.look()
        if self._report.has_news:
            self._tell_health()

    def _tell_health(self) -> None:
        self._dispatch.retain("health", self._report.health())

    def _own_faults(self) -> list[StandingFault]:
        found = [self._control.fault, self._watch.fault if self._watch is not None else None]
        return [*self._changes.faults, *self._damaged, *(fault for fault in found if fault is not None)]
