"""The parts list: what the daemon is made of, in which order its parts start, and in the reverse order stop."""

import asyncio
import contextlib
import signal
from collections.abc import Callable, Sequence

from edged.config.parts import to_rules
from edged.config.watch import ConfigWatch
from edged.daemon.delivery import open_dispatch
from edged.daemon.introduction import Introduction
from edged.daemon.link import Link
from edged.daemon.pictures.marking import Marking
from edged.daemon.pictures.snapshots import Snapshots
from edged.daemon.pictures.viewing import Viewing
from edged.daemon.requests import Refusals, Requests
from edged.daemon.state_folder import Hold
from edged.daemon.status import Report
from edged.daemon.watchdog import Service
from edged.delivery.publisher import Courier
from edged.faults import StandingFault, to_standing
from edged.models.teach.marks import Marks
from edged.process.child import BegunVision, Child, fork_vision
from edged.process.control import Control
from edged.process.phases import OnStarted
from edged.process.pipe import Pipe
from edged.process.supervisor import Supervision
from edged.rollout.apply import Apply
from edged.rollout.changes import Changes
from edged.rollout.effects import STOP_S, Effects
from edged.rollout.last_good import LastGood
from edged.rollout.startup import Start
from edged.system.clock import Clock
from edged.system.heat import read_heat
from edged.system.systemd import open_notify
from edged.system.tasks import Repeated, Tasks

_HEALTH_S, _SECOND_S, _HOURS_S = 30.0, 1.0, 20.0
_WRITTEN_S = 0.3
_FRESH_S = 15.0  # a result that is older proves nothing any more


class Daemon:
    """Thread: the event loop's. No part knows it."""

    def __init__(
        self,
        start: Start,
        clock: Clock,
        fork: Callable[[Pipe], Child] = fork_vision,
        begun: BegunVision | None = None,
        on_started: OnStarted = lambda *_: None,
    ) -> None:
        """begun: the first vision process, where it runs already. on_started: called with its phases after its first result."""
        settings, installed = start.intent.settings(), start.active.installed
        folder, notify = settings.state_folder, open_notify()
        self._tasks = tasks = Tasks()
        self._dispatch = dispatch = open_dispatch(
            device=settings.device, state_folder=folder, mqtt=settings.mqtt, outbox=settings.outbox, clock=clock
        )
        self._publisher = publisher = Courier(dispatch, clock, to_rules(settings, installed.card, installed.labels), result_fps=0)
        self._vision = vision = Supervision(fork, begun)
        snapshots, refusals = Snapshots(vision, publisher, dispatch), Refusals(dispatch)
        effects = Effects(vision, publisher, dispatch, snapshots.ask)
        self._apply = apply = Apply(start, LastGood(folder), effects, tasks)
        self._changes = changes = Changes(apply, effects, tasks)
        self._control = control = Control(folder, lambda: changes.doing)
        hold = Hold(folder, control)
        link = Link(vision, publisher, snapshots, apply, on_started)
        Marking(control, Marks(folder), snapshots, publisher, apply)
        self._introduction = introduction = Introduction(dispatch, apply, folder)
        self._report = report = Report(
            dispatch,
            publisher,
            vision,
            apply,
            lambda: to_faults(changes, start.damaged, hold, watch),
            lambda: link.vision_memory_mb,
            lambda: refusals.count,
        )
        self._requests = Requests(control, dispatch, changes, tasks, notify, refusals, link.act, report.status, report.tell)
        self._viewing = viewing = Viewing(control, dispatch, publisher, link, snapshots, apply, changes, clock)
        path, on_file = start.intent.path, self._requests.on_file
        self._watch = watch = ConfigWatch(path, on_file, start.read_at) if path is not None else None
        self._service = Service(notify, dispatch, vision, publisher, lambda: apply.active.name)
        self._timers = (
            Repeated(_HEALTH_S, report.tell),
            Repeated(_SECOND_S, lambda: look(changes, publisher, apply, introduction, viewing, report)),
            Repeated(_SECOND_S, lambda: tasks.do(hold.look())),
            Repeated(_HOURS_S, lambda: tasks.do(changes.look_again())),
        )

    def start(self) -> None:
        self._dispatch.start()
        self._tasks.do(self._control.start())
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
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, lambda: None)  # without one it would kill
        if self._watch is not None:
            self._watch.close()
        await self._control.close()
        await self._tasks.close()
        await self._vision.stop(STOP_S)
        self._publisher.end()
        await self._until_written()
        self._report.tell()
        await self._dispatch.close(deadline_s=STOP_S)

    async def _until_written(self) -> None:
        """So that the last `health` counts the last events. A disk that hangs is not waited for."""
        written = asyncio.Event()
        self._dispatch.ask_writer(written.set)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_WRITTEN_S):
                await written.wait()


def look(changes: Changes, publisher: Courier, apply: Apply, introduction: Introduction, viewing: Viewing, report: Report) -> None:
    """What is done once a second."""
    heat = read_heat()
    changes.govern(heat)
    is_good = not publisher.camera_reason and publisher.looked_within(_FRESH_S)
    apply.tick(is_good=is_good)
    publisher.renew()
    viewing.each_second(heat)
    introduction.look()
    if report.has_news:
        report.tell()


def to_faults(changes: Changes, damaged: Sequence[str], hold: Hold, watch: ConfigWatch | None) -> list[StandingFault]:
    """Those of parts that are known to nobody else. damaged: what was found in the state folder."""
    lost = [to_standing("damaged_file", reason=sentence) for sentence in damaged]
    unwatched = [watch.fault] if watch is not None and watch.fault is not None else []
    return [*changes.faults, *lost, *hold.faults, *unwatched]
