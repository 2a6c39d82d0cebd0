"""One run of the daemon: the state folder is claimed, the start counted, the parts run until a signal, the end is clean or told.

What decides about the vision process is imported first: it opens its camera and loads its model while the rest is imported.
"""

import asyncio
import contextlib
import gc
import logging
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edged.config.parts import to_configure
from edged.config.reading import to_hint
from edged.daemon.early import EarlyStart
from edged.daemon.state_folder import tidy
from edged.errors import EdgedError
from edged.process.child import BegunVision, Child, fork_vision
from edged.process.phases import START, OnStarted
from edged.process.pipe import Pipe
from edged.rollout.startup import Start, Starts, begin, find_config
from edged.rollout.switcher import Load
from edged.system.clock import Clock
from edged.system.lock import claimed

if TYPE_CHECKING:
    from edged.daemon.daemon import Daemon

log = logging.getLogger("edged")

_SETTLED_S = 10.0
_STOPPING = (signal.SIGTERM, signal.SIGINT)
_HEARD = (*_STOPPING, signal.SIGHUP)
FIRST_LOAD = 1  # the number of the first model in the switcher's count


def run(
    path: Path | None,
    fork: Callable[[Pipe], Child] = fork_vision,
    early: EarlyStart | None = None,
    on_started: OnStarted = lambda *_: None,
    *,
    is_last: bool = False,
) -> int:
    """Run until SIGTERM or SIGINT; the exit code. Raises EdgedError when it cannot start.

    early: what was begun already; on_started: called with the phases of each vision process's start; is_last: the process ends
    with it, and no signal is heard any more, so that nobody who asks for the end twice makes a crash of it.
    """
    START.ended("modules")
    clock, found = Clock(), find_config(path)
    START.ended("config")
    if early is not None and early.folder != found.state_folder:
        early.release()
        early = None
    with claimed(found.state_folder) if early is None else contextlib.nullcontext():
        damaged = tidy(found.state_folder)
        for sentence in damaged:
            log.warning("%s", sentence)
        if found.reading is not None and (hint := to_hint(found.reading.source)):
            log.info("%s", hint)
        starts, code = Starts(found.state_folder), 0
        with _stoppable(is_last=is_last):
            try:
                start = begin(found, clock, starts.begin())
            except EdgedError:
                starts.end()  # nothing ran, so nothing crashed
                raise
            start = replace(start, damaged=damaged + start.damaged, read_at=found.read_at)
            START.ended("model chosen")
            vision = early.vision if early is not None else None
            if vision is not None and not start.is_blind:
                tell(vision, start)
            from edged.daemon.daemon import Daemon  # only now: the vision process has its work

            START.ended("more modules")
            code = asyncio.run(_run(starts, lambda: Daemon(start, clock, fork, vision, on_started)))
        starts.end()
        return code


class _StoppedEarlyError(BaseException):
    """Somebody asked for the end before there was anything to end; no handler of errors is to take it for one."""


@contextlib.contextmanager
def _stoppable(*, is_last: bool) -> Iterator[None]:
    """From the count of the start on a signal is a clean end, also before the event loop listens: then the block ends there."""

    def stop(_number: int, _frame: object) -> None:
        raise _StoppedEarlyError

    before = [(number, signal.getsignal(number)) for number in _HEARD]
    for number in _STOPPING:
        signal.signal(number, stop)
    try:
        yield
    except _StoppedEarlyError:
        pass
    finally:
        for number, handler in before:
            signal.signal(number, signal.SIG_IGN if is_last else handler)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _HEARD)


def tell(vision: BegunVision, start: Start) -> None:
    """What the supervisor would tell it later: the same words, so that they are not said again."""
    active = start.active
    vision.tell("configure", to_configure(start.intent.settings(), active.installed.card, active.installed.labels))
    vision.tell("load", Load(FIRST_LOAD, active, trial=False).to_dict())


def settle() -> None:
    """What is there by now stays for as long as the process lives, and is never looked through again for garbage."""
    gc.collect()
    gc.freeze()


async def _run(starts: Starts, make: "Callable[[], Daemon]") -> int:
    from edged.process.supervisor import GOOD_RUN_S

    loop = asyncio.get_running_loop()
    failed: list[BaseException] = []
    stop = asyncio.Event()

    def on_error(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """A bug in a callback ends the courier with a traceback; systemd starts a healthy one."""
        error = context.get("exception") or RuntimeError(context["message"])
        failed.append(error)
        stop.set()

    loop.set_exception_handler(on_error)
    for number in _STOPPING:
        loop.add_signal_handler(number, stop.set)
    daemon = make()
    START.ended("parts made")
    daemon.start()
    # where hundreds of signals come faster than they are read, CPython's handler hangs for ever over the warning that it would give
    signal.set_wakeup_fd(signal.set_wakeup_fd(-1), warn_on_full_buffer=False)
    START.ended("parts started")
    gc.enable()
    loop.call_later(_SETTLED_S, settle)
    loop.call_later(GOOD_RUN_S, starts.end)
    await stop.wait()
    await daemon.close()
    signal.pthread_sigmask(signal.SIG_BLOCK, _HEARD)  # the loop's end brings back the handlers that kill
    if failed:
        raise failed[0]
    return 0
