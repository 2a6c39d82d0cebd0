"""Seeded faults on connection, broker and courier: nothing that was accepted is lost, and what arrives arrives in order."""

import random
import shutil
import signal
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.campaigns.size import SEED, count, report
from tests.e2e.fault_proxy import FAULTS, FaultProxy
from tests.e2e.running import Broker, promised, wait_for
from tests.e2e.source import Arrivals, Source

# the subscriber's session must not lose what the test counts, whatever happens to the broker
_LOSSLESS = (
    "persistence true",
    "autosave_interval 1",
    "autosave_on_changes true",
    "max_queued_messages 0",
    "max_inflight_messages 0",
)


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    (tmp_path / "broker").mkdir()
    broker = Broker(tmp_path, *_LOSSLESS, f"persistence_location {tmp_path}/broker/")
    yield broker
    broker.end(signal.SIGKILL)


@pytest.fixture
def proxy(broker: Broker) -> Iterator[FaultProxy]:
    proxy = FaultProxy(broker.port, SEED).start()
    yield proxy
    proxy.close()


def written_bytes(source: Source) -> int:
    words = Path(f"/proc/{source.process.pid}/io").read_text().split()
    return int(words[words.index("write_bytes:") + 1])


@pytest.mark.parametrize("version", [5, 4])
def test_faults_lose_nothing(tmp_path: Path, broker: Broker, proxy: FaultProxy, version: int) -> None:
    """10,000 events and 200 faults in full: on the connection and, each tenth, a broker that is stopped or frozen."""
    faults = count(8, 200 if version == 5 else 60)
    events, per_s = 50 * faults, 25.0
    rng = random.Random(SEED)
    arrivals = Arrivals(broker.port)
    source = Source(port=proxy.port, state_folder=str(tmp_path / "state"), events=events, per_s=per_s, version=version)
    recoveries: list[float] = []
    disconnects = 0
    for number in range(faults):
        fault = rng.choice(FAULTS) if number % 10 else rng.choice(("broker_stopped", "broker_frozen"))
        wait_for(lambda: source.said.get("connected"), 60, "connected before the fault")
        before = proxy.accepted
        if fault == "broker_stopped":
            broker.end(signal.SIGTERM)
            source.goes_on(rng.randrange(2, 25))
            broker.start()
        elif fault == "broker_frozen":
            broker.process.send_signal(signal.SIGSTOP)
            source.goes_on(rng.randrange(2, 75))
            broker.process.send_signal(signal.SIGCONT)
        else:
            proxy.become(fault)
            source.goes_on(rng.randrange(2, 75))
            proxy.become("")
        ended = time.monotonic()
        mark = len(arrivals.messages)
        wait_for(lambda mark=mark: len(arrivals.messages) > mark or "done" in source.said, 60, f"messages again after {fault}")
        recoveries.append(time.monotonic() - ended)
        disconnects += proxy.accepted - before
    done = source.wait_done(events / per_s + 120)
    wait_for(lambda: len(arrivals.labels()) >= events, 30, "everything arrived")
    written = written_bytes(source)
    assert source.end() == 0
    ids = arrivals.ids()
    duplicates = sum(ids.values()) - len(ids)
    report(
        f"chaos_faults_mqtt{version}",
        {
            "faults": faults,
            "seed": SEED,
            "events": events,
            "lost": events - len(arrivals.labels()),
            "duplicates": duplicates,
            "connections": proxy.accepted,
            "reordered": arrivals.reordered(),
            "recovery_p95_s": round(statistics.quantiles(recoveries, n=20)[-1], 2),
            "recovery_max_s": round(max(recoveries), 2),
            "peak_mb": round(source.said["peak_mb"]),
            "written_bytes_per_event": round(written / events),
            "counters": done,
        },
    )
    assert arrivals.labels() == set(range(1, events + 1))
    assert arrivals.reordered() == 0
    assert duplicates <= 16 * max(1, proxy.accepted - 1)
    assert not arrivals.gaps()
    assert done["events"] == done["delivered"] + done["queued"] + sum(done["dropped"].values()) == events
    arrivals.close()


def test_killed_couriers_lose_nothing_that_was_accepted(tmp_path: Path, broker: Broker, proxy: FaultProxy) -> None:
    """SIGKILL at random moments, half of them while the broker is away."""
    kills = count(8, 200)
    rng = random.Random(SEED)
    arrivals = Arrivals(broker.port)
    accepted: dict[str, int] = {}
    made_after_accepted = 0
    for number in range(kills):
        proxy.become("refuse" if number % 2 else "")
        source = Source(
            port=proxy.port, state_folder=str(tmp_path / "state"), events=100_000, per_s=200.0, first=1 + number * 100_000
        )
        wait_for(lambda source=source: source.accepted or source.process.poll() is not None, 120, "first event accepted")
        source.goes_on(rng.randrange(0, 120))
        source.kill()
        assert source.accepted, source.errors.read_text()[-2000:]
        accepted |= source.accepted
    proxy.become("")
    source = Source(port=proxy.port, state_folder=str(tmp_path / "state"), events=1, per_s=1.0, first=10**9)
    done = source.wait_done(300)
    assert source.end() == 0
    expected = {(boot, seq) for boot, highest in accepted.items() for seq in range(1, highest + 1)}

    def missing() -> set[tuple[str, int]]:
        arrived = {(body["boot"], body["seq"]) for _topic, body in list(arrivals.messages)}
        return expected - arrived

    wait_for(lambda: not missing(), 30, f"everything accepted arrived; {len(missing())} of {len(expected)} are missing")
    ids = arrivals.ids()
    report(
        "chaos_kills",
        {
            "kills": kills,
            "seed": SEED,
            "accepted": len(expected),
            "lost": len(missing()),
            "duplicates": sum(ids.values()) - len(ids),
            "reordered": arrivals.reordered(),
            "not_accepted_but_arrived": made_after_accepted + len(ids) - len(expected),
            "counters": done,
        },
    )
    assert not arrivals.gaps()
    assert arrivals.reordered() == 0
    arrivals.close()


def test_a_broker_that_lost_everything_is_filled_again(tmp_path: Path) -> None:
    """SIGKILL of Mosquitto with its database wiped: retained topics are back within 5 s, and a replay fills the hole."""
    kills = count(3, 20)
    (tmp_path / "broker").mkdir()
    broker = Broker(tmp_path, *_LOSSLESS, f"persistence_location {tmp_path}/broker/")
    source = Source(port=broker.port, state_folder=str(tmp_path / "state"), events=300 * kills, per_s=100.0)
    back_s: list[float] = []
    wait_for(lambda: source.said.get("connected"), 60, "connected")
    for number in range(kills):
        wanted = source.said.get("counters", {}).get("delivered", 0) + 100
        wait_for(
            lambda wanted=wanted: source.said["counters"]["delivered"] >= wanted or "done" in source.said, 30, "some delivered"
        )
        broker.end(signal.SIGKILL)
        shutil.rmtree(tmp_path / "broker")
        (tmp_path / "broker").mkdir()
        source.goes_on(20 * (number % 5))
        broker.start()
        began = time.monotonic()
        arrivals = Arrivals(broker.port)
        wait_for(
            lambda arrivals=arrivals: {"status", "label", "state", "camera"} <= set(arrivals.retained_at), 10, "retained topics"
        )
        back_s.append(time.monotonic() - began)
        if number < kills - 1:
            arrivals.close()
    source.wait_done(60)
    before = len(arrivals.labels())
    source.ask(replay_s=3600)
    wait_for(lambda: source.said.get("replayed"), 10, "replay began")
    wait_for(lambda: len(arrivals.labels()) == 300 * kills, 120, "the hole is filled")
    report(
        "chaos_wiped_broker",
        {
            "kills": kills,
            "retained_back_max_s": round(max(back_s), 2),
            "events": 300 * kills,
            "there_before_replay": before,
            "there_after_replay": len(arrivals.labels()),
        },
    )
    promised("retained topics are back", max(back_s), 5)
    assert source.end() == 0
    arrivals.close()
    broker.end(signal.SIGKILL)


@pytest.mark.parametrize(
    ("version", "limit"), [(5, "max_packet_size 2000"), (5, "message_size_limit 1000"), (4, "message_size_limit 1000")]
)
def test_a_message_that_the_broker_refuses_blocks_nobody(tmp_path: Path, version: int, limit: str) -> None:
    """One event of 5 kB among others: the broker says no, or its limit is known, or it never passes it on: a dead letter."""
    broker = Broker(tmp_path, limit)
    arrivals = Arrivals(broker.port)
    began = time.monotonic()
    source = Source(
        port=broker.port, state_folder=str(tmp_path / "state"), events=60, per_s=200.0, version=version, large={"20": 5000}
    )
    wait_for(lambda: len(arrivals.labels()) == 59, 20, "the others arrive")
    wait_for(lambda: source.said["counters"]["dropped"] == {"refused": 1}, 20, "a dead letter")
    took_s = time.monotonic() - began
    wait_for(lambda: arrivals.gaps(), 5, "the gap is told")
    gap = arrivals.gaps()[0]
    assert (gap["from_seq"], gap["to_seq"], gap["dropped"], gap["reason"]) == (20, 20, 1, "refused")
    assert arrivals.labels() == set(range(1, 61)) - {20}
    assert source.end() == 0
    report(f"poison_mqtt{version}_{limit.split()[0]}", {"dead_letter_after_s": round(took_s, 2), "others": 59})
    arrivals.close()
    broker.end()


def test_a_message_that_the_broker_hangs_up_on_without_a_word_is_set_aside(tmp_path: Path) -> None:
    """MQTT 3.1.1, and no other of its size that would prove it guilty: the others go past it, and it stays."""
    broker = Broker(tmp_path, "max_packet_size 2000")
    arrivals = Arrivals(broker.port)
    began = time.monotonic()
    source = Source(port=broker.port, state_folder=str(tmp_path / "state"), events=60, per_s=200.0, version=4, large={"20": 5000})
    wait_for(lambda: len(arrivals.labels()) == 59, 40, "the others arrive")
    took_s = time.monotonic() - began
    named = lambda: any("set aside" in sentence and "bytes" in sentence for sentence in source.said["degraded"])  # noqa: E731
    wait_for(named, 10, "it is named in degraded")
    assert source.said["counters"]["dropped"] == {}
    broker.end()
    broker._config.write_text(broker._config.read_text().replace("max_packet_size 2000", ""))
    broker.start()
    wait_for(lambda: arrivals.labels() == set(range(1, 61)), 60, "a broker that takes it gets it")
    wait_for(lambda: not named(), 10, "and nothing is degraded")
    assert not arrivals.gaps()
    assert source.end() == 0
    report("set_aside_mqtt4", {"others_after_s": round(took_s, 2), "others": 59})
    arrivals.close()
    broker.end()


def test_live_events_pass_a_long_backlog(tmp_path: Path, broker: Broker, proxy: FaultProxy) -> None:
    """While 10,000 late events wait, an event that happens now arrives within 250 ms (p95)."""
    waiting = count(2_000, 10_000)
    state = tmp_path / "state"
    fill_with_late_events(state, waiting)
    arrivals = Arrivals(broker.port)
    ages: list[float] = []
    on_message = arrivals._client.on_message

    def clocked(client: Any, userdata: Any, message: Any) -> None:
        on_message(client, userdata, message)  # type: ignore[misc]
        if message.topic.endswith("/event"):
            sent = arrivals.messages[-1][1]["time"]
            ages.append(time.time() - from_rfc3339(sent))

    arrivals._client.on_message = clocked
    source = Source(
        port=broker.port,
        state_folder=str(state),
        events=100,
        per_s=10.0,
        first=1_000_000,
        outbox={"backlog_per_s": 300.0, "min_free_mb": 1.0},
    )
    wait_for(lambda: len(ages) >= 100, 60, "100 live events")
    late_then = sum(topic == "backlog" for topic, _ in arrivals.messages)
    p95_ms = statistics.quantiles(ages[5:], n=20)[-1] * 1000
    source.wait_done(waiting / 100 + 60)
    report(
        "live_beside_backlog",
        {
            "waiting": waiting,
            "late_sent_meanwhile": late_then,
            "live_p95_ms": round(p95_ms, 1),
            "live_max_ms": round(max(ages) * 1000),
        },
    )
    assert source.end() == 0
    arrivals.close()


def fill_with_late_events(state: Path, number: int) -> None:
    from edged.delivery.outbox.database import Database
    from edged.delivery.outbox.repair import FILE
    from edged.delivery.outbox.rows import EVENT, WAITING, Row, Session, to_body

    state.mkdir()
    store = Database(state / FILE)
    store.begin()
    store.put_session(Session("0badcafe", "an earlier run", 1.7e9, True))
    for n in range(1, number + 1):
        fields = {"event_type": "entered", "label": f"{n}", "score": 0.5, "since": "2026-01-01T00:00:00.000Z", "duration_s": 0}
        store.put(Row(n, EVENT, WAITING, "0badcafe", n, n, 1.7e9, True, n, to_body(fields | {"reason": "old", "model": "m"})))
    store.commit()
    store.close()


def from_rfc3339(text: str) -> float:
    from datetime import datetime

    return datetime.fromisoformat(text).timestamp()
