"""A small courier: numbered events through the real Dispatch, as fast as it is told, and an account on stdout.

    python -m tests.e2e.event_source '{"port": 1883, "state_folder": "…", "events": 1000, "per_s": 100, …}'

Lines: {"accepted": [boot, seq]} when events are committed, {"counters": …, "degraded": …} every second, {"done": …} when
all were made and nothing waits any more; then it goes on until SIGTERM. stdin: one JSON request a line, {"replay_s": 60}.
"""

import asyncio
import json
import logging
import resource
import signal
import sys
from pathlib import Path
from typing import Any

from edged.config.settings import MqttSection, OutboxSection
from edged.daemon.delivery import open_dispatch
from edged.delivery.dispatch import Dispatch
from edged.delivery.messages import CameraState, Event, State, to_rfc3339
from edged.system.clock import Clock


def say(**what: Any) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


async def run(port: int, state_folder: str, events: int, per_s: float, first: int = 1, **more: Any) -> None:
    clock = Clock()
    dispatch = open_dispatch(
        device="source",
        state_folder=Path(state_folder),
        mqtt=MqttSection(host="127.0.0.1", port=port, version=more.get("version", 5)),
        outbox=OutboxSection(**more.get("outbox", {"backlog_per_s": 400.0, "min_free_mb": 1.0})),
        clock=clock,
    )
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    loop.set_exception_handler(lambda _loop, context: (sys.stderr.write(f"bug: {context}\n"), stop.set()))
    dispatch.start()
    now = to_rfc3339(clock.to_wall(clock.monotonic_ns()))
    dispatch.retain("camera", CameraState(state="ok", since=now))
    dispatch.retain("label", "none")
    dispatch.retain("state", State(label="none", score=0.0, valid_until=now))
    tasks = [
        asyncio.create_task(make(dispatch, clock, events, per_s, first, more.get("large", {}))),
        asyncio.create_task(account(dispatch, clock)),
        asyncio.create_task(obey(dispatch, stop)),
    ]
    say(started=clock.boot)
    await stop.wait()
    for task in tasks:
        task.cancel()
    await dispatch.close(1.0)
    say(closed=dispatch.counters().model_dump(), peak_mb=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


async def make(dispatch: Dispatch, clock: Clock, events: int, per_s: float, first: int, large: dict[str, int]) -> None:
    began_ns = clock.monotonic_ns()
    for number in range(first, first + events):
        due_ns = began_ns + int((number - first) / per_s * 1e9)
        if (wait_s := (due_ns - clock.monotonic_ns()) / 1e9) > 0:
            await asyncio.sleep(wait_s)
        at_ns = clock.monotonic_ns()
        reason = f"number {number}" + "x" * large.get(str(number), 0)
        body = Event(
            event_type="entered",
            label=f"{number}",
            score=0.5,
            since=to_rfc3339(clock.to_wall(at_ns)),
            duration_s=0,
            reason=reason,
            model="source",
        )
        dispatch.event(body, at_ns)
        if number % 10 == 0:
            dispatch.retain("label", f"{number}")
    while dispatch.counters().events < events or dispatch.counters().queued:
        await asyncio.sleep(0.05)
    say(done=dispatch.counters().model_dump())


async def account(dispatch: Dispatch, clock: Clock) -> None:
    """Every 20 ms what is committed; every second how it goes."""
    told = ("", 0)
    n = 0
    while True:
        committed = dispatch._outbox.committed
        if committed != told:
            told = committed
            say(accepted=told)
        if n % 50 == 0:
            peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            say(
                counters=dispatch.counters().model_dump(), degraded=dispatch.degraded, connected=dispatch.connected, peak_mb=peak_mb
            )
        n += 1
        await asyncio.sleep(0.02)


async def obey(dispatch: Dispatch, stop: asyncio.Event) -> None:
    """Requests until the test is gone."""
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        say(replayed=await dispatch.replay(json.loads(line)["replay_s"]))
    stop.set()


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, stream=sys.stderr)
    asyncio.run(run(**json.loads(sys.argv[1])))
