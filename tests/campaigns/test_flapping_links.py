"""A link that resets at each of the first packets, once or several times in a row: retained topics are right, nothing is lost."""

import asyncio
import json
import random
import time
from pathlib import Path

from edged.config.settings import MqttSection, OutboxSection
from edged.daemon.delivery import open_dispatch
from edged.delivery.messages import CameraState, State
from edged.system.clock import Clock
from tests.campaigns.size import SEED, count, report
from tests.campaigns.test_hostile_brokers import an_event, until
from tests.e2e.fake_broker import Behaviour, FakeBroker
from tests.e2e.running import promised

PACKETS, TIMES = range(1, 21), range(1, 9)
_AT_ONCE = 12


class FlappingBroker(FakeBroker):
    """Resets its first connections after so many packets, and then is honest."""

    def __init__(self, packets: int, times: int) -> None:
        super().__init__(Behaviour(packets_until_reset=packets))
        self._times = times

    def connected(self, number: int) -> None:
        if number > self._times:
            self.behave = Behaviour()


async def one(folder: Path, packets: int, times: int, version: int) -> tuple[float, str]:
    """Seconds from the first connection that works until all is right, and what was wrong."""
    broker = FlappingBroker(packets, times)
    dispatch = open_dispatch(
        device="door",
        state_folder=folder,
        mqtt=MqttSection(host="127.0.0.1", port=broker.port, version=version),
        outbox=OutboxSection(min_free_mb=0.0, backlog_per_s=500.0),
        clock=Clock(),
    )
    dispatch.on_command("control", lambda _payload: None)
    dispatch.start()
    dispatch.retain("camera", CameraState(state="ok", since="2026-01-01T00:00:00.000Z"))
    dispatch.retain("state", State(label="none", score=0.0, valid_until="2026-01-01T00:00:00.000Z"))
    events = 30
    for number in range(1, events + 1):
        dispatch.event(an_event(number), time.monotonic_ns())
        dispatch.retain("label", f"{number}")
    wanted = {"edged/door/status": b"online", "edged/door/label": f"{events}".encode()}
    topics = {f"edged/door/{topic}" for topic in ("status", "label", "camera", "state")}

    def right() -> bool:
        held = broker.seen.retained
        return topics <= set(held) and all(held[topic] == value for topic, value in wanted.items())

    await until(lambda: broker.seen.connections > times or (right() and dispatch.counters().queued == 0), 90)
    began_s = time.monotonic()
    is_right = await until(right, 30)
    back_s = time.monotonic() - began_s
    await until(lambda: dispatch.counters().delivered == events, 60)
    broker.become(Behaviour())  # also where all was delivered before the last reset
    await until(lambda: not dispatch.degraded, 15)
    counters, left = dispatch.counters(), dispatch.degraded
    await dispatch.close(1.0)
    arrived = {json.loads(m.payload)["label"] for m in broker.seen.messages if m.topic.endswith(("/event", "/backlog"))}
    broker.close()
    wrong = [] if is_right else ["a retained topic is wrong"]
    wrong += [f"{counters}"] if counters.dropped or len(arrived) != events else []
    wrong += [f"still degraded: {left}"] if left else []
    return back_s, f"reset at {packets}, {times} times, MQTT {version}: {'; '.join(wrong)}" if wrong else ""


def test_a_link_that_flaps_costs_nothing(tmp_path: Path) -> None:
    cases = [(packets, times, version) for packets in PACKETS for times in TIMES for version in (5, 4)]
    wanted = count(6, len(cases))
    chosen = random.Random(SEED).sample(cases, min(wanted, len(cases)))
    if wanted < len(cases):
        chosen[:2] = [(2, 8, 5), (2, 8, 4)]  # between CONNACK and the first answer, eight times
    outcomes: list[tuple[float, str]] = []

    async def live(batch: list[tuple[int, int, int]]) -> list[tuple[float, str]]:
        return list(await asyncio.gather(*(one(tmp_path / f"{p}-{t}-{v}", p, t, v) for p, t, v in batch)))

    for at in range(0, len(chosen), _AT_ONCE):
        outcomes += asyncio.run(live(chosen[at : at + _AT_ONCE]))
    wrong = [sentence for _back_s, sentence in outcomes if sentence]
    back_s = max(back for back, _ in outcomes)
    report("flapping_links", {"cases": len(chosen), "seed": SEED, "retained_right_max_s": round(back_s, 2), "wrong": wrong})
    assert not wrong, "\n".join(wrong)
    promised("retained topics are right", back_s, 5)
