"""One run of the daemon: the state folder is claimed, the start counted, the parts run until a signal, the end is clean or told."""

import asyncio
import logging
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

from edged.daemon.daemon import Daemon
from edged.daemon.state_folder import tidy
from edged.errors import EdgedError
from edged.process.supervisor import GOOD_RUN_S
from edged.rollout.startup import Start, Starts, begin, find_config
from edged.system.clock import Clock
from edged.system.lock import claimed

log = logging.getLogger("edged")


def run(path: Path | None) -> int:
    """Run until SIGTERM or SIGINT; the exit code. Raises EdgedError when it cannot start."""
    clock, found = Clock(), find_config(path)
    with claimed(found.state_folder):
        damaged = tidy(found.state_folder)
        for sentence in damaged:
            log.warning("%s", sentence)
        starts = Starts(found.state_folder)
        before = starts.begin()
        try:
            start = begin(found, clock, before)
            start = replace(start, damaged=damaged + start.damaged)
        except EdgedError:
            starts.end()  # nothing ran, so nothing crashed
            raise
        code = asyncio.run(_run(start, clock, starts))
        starts.end()
        return code


async def _run(start: Start, clock: Clock, starts: Starts) -> int:
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
    daemon = Daemon(start, clock)
    daemon.start()
    loop.call_later(GOOD_RUN_S, starts.end)
    await stop.wait()
    await daemon.close()
    if failed:
        raise failed[0]
    return 0
