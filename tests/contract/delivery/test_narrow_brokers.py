"""Brokers that can do less, take less or know less than others, and ways to them that mostly lead nowhere."""

import asyncio
import json
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edged.config.settings import MqttSection, OutboxSection
from edged.daemon.delivery import open_dispatch
from edged.delivery.broker.dial import dial
from edged.delivery.dispatch import Dispatch
from edged.system.clock import Clock
from tests.contract.delivery.test_broker import AN_EVENT, dispatching, until
from tests.e2e.fake_broker import DISCONNECT, RESET, Behaviour, FakeBroker, puback
from tests.e2e.running import Broker, Heard

ANSWERS_NO_EVENT = Behaviour(puback=lambda m, version: puback(m.number, 0, version) if m.retain else None)


@pytest.fixture
def fake() -> Iterator[FakeBroker]:
    broker = FakeBroker()
    yield broker
    broker.close()


def tell(dispatch: Dispatch, events: int, *, ago_s: float = 0.0, reason: str = "test") -> None:
    for _ in range(events):
        dispatch.event(AN_EVENT.model_copy(update={"reason": reason}), time.monotonic_ns() - int(ago_s * 1e9))


@pytest.mark.parametrize("version", [5, 4])
def test_what_can_not_be_said_at_a_stop_the_last_will_says(tmp_path: Path, fake: FakeBroker, version: int) -> None:
    """Before: a clean end took the will back, and `status` stayed `online` for ever where the window was full."""
    fake.become(ANSWERS_NO_EVENT)

    async def live() -> None:
        async with dispatching(tmp_path, port=fake.port, version=version) as dispatch:
            tell(dispatch, 40)
            await until(lambda: fake.seen.retained and dispatch._sender._flight.room == 0, 10, "the window is full")

    asyncio.run(live())
    assert fake.seen.retained["edged/door/status"] == b"online"
    assert not fake.seen.packets[DISCONNECT]


@pytest.mark.parametrize("version", [5, 4])
def test_a_broker_that_accepts_twice_costs_nothing(tmp_path: Path, fake: FakeBroker, version: int) -> None:
    """Before: what was on its way then waited for ever, and nobody was told."""
    held: list[bytes] = []

    def hold(message: Any, version: int) -> bytes | None:
        answer = puback(message.number, 0, version)
        if message.retain:
            return answer
        held.append(answer)
        return None

    fake.become(Behaviour(puback=hold))

    async def live() -> None:
        async with dispatching(tmp_path, port=fake.port, version=version) as dispatch:
            tell(dispatch, 5)
            await until(lambda: len(held) == 5, 10, "they are on their way")
            fake.send_all(Behaviour().connack(version) or b"")
            fake.become(Behaviour())
            tell(dispatch, 5)
            await until(lambda: dispatch.counters().delivered >= 1, 10, "the second yes is read")
            fake.send_all(b"".join(held))
            await until(lambda: dispatch.counters().delivered == 10, 10, "all are acknowledged, on the same connection")
            assert dispatch.broker_connects == fake.seen.connections == 1

    asyncio.run(live())


@pytest.mark.parametrize(
    "lines", [["retain_available false"], ["max_qos 0"], ["retain_available false", "max_qos 0"]], ids="+".join
)
def test_a_broker_that_can_do_less_gets_a_lesser_will(tmp_path: Path, lines: list[str]) -> None:
    """Before: never a connection, because the will asked for more than the broker has."""
    broker = Broker(tmp_path, *lines)

    async def live() -> None:
        async with dispatching(tmp_path, port=broker.port) as dispatch:
            tell(dispatch, 3)
            await until(lambda: dispatch.counters().delivered == 3, 10, "events are taken")
            assert len(dispatch.degraded) == 1, "and what it can't do is told"
            assert dispatch._broker._now is not None and dispatch._broker._now.live_unsent == 0

    try:
        asyncio.run(live())
    finally:
        broker.end(signal.SIGKILL)


@pytest.mark.parametrize("readable", ["event", "backlog"])
def test_a_device_may_read_one_of_its_topics_and_not_the_other(tmp_path: Path, readable: str) -> None:
    """MQTT 3.1.1, where a message must come back. Before: each late event was a dead letter where it may read `event` only."""
    (tmp_path / "acl").write_text(f"topic write edged/#\ntopic read edged/door/{readable}\n")
    broker = Broker(tmp_path, f"acl_file {tmp_path / 'acl'}")

    async def live() -> None:
        async with dispatching(tmp_path, port=broker.port, version=4) as dispatch:
            for ago_s, reason in ((0, "x"), (120, "x" * 100), (0, "x" * 200), (120, "x" * 300)):
                tell(dispatch, 1, ago_s=ago_s, reason=reason)
            await until(lambda: dispatch.counters().delivered == 4, 30, "all are delivered")
            assert not dispatch.counters().dropped

    try:
        asyncio.run(live())
    finally:
        broker.end(signal.SIGKILL)


async def reconnected(dispatch: Dispatch, fake: FakeBroker, behaviour: Behaviour) -> None:
    """The next connection is to such a broker."""
    before = dispatch.broker_connects
    fake.become(behaviour)
    fake.reset_all()
    await until(lambda: dispatch.broker_connects > before, 10, "a new connection")


def test_what_is_too_large_is_a_dead_letter_also_when_it_is_the_first_after_a_reconnect(tmp_path: Path, fake: FakeBroker) -> None:
    """MQTT 3.1.1, and a broker that acknowledges what it throws away. Before: counted as delivered, and no gap."""
    narrow = Behaviour(takes=lambda message: len(message.payload) <= 800)
    fake.become(narrow)

    def gaps() -> list[dict[str, Any]]:
        return [json.loads(one.payload) for one in list(fake.seen.messages) if one.topic == "edged/door/backlog"]

    async def live() -> None:
        async with dispatching(tmp_path, port=fake.port, version=4) as dispatch:
            tell(dispatch, 3)
            await until(lambda: dispatch.counters().delivered == 3, 10, "events are taken, and come back")
            for _ in range(2):
                await reconnected(dispatch, fake, narrow)
                before = dispatch.counters().dropped.get("refused", 0)
                tell(dispatch, 2, reason="x" * 1000)
                await until(lambda before=before: dispatch.counters().dropped.get("refused") == before + 2, 30, "dead letters")
                assert dispatch.counters().delivered == 3
            await until(lambda: sum(gap["dropped"] for gap in gaps()) == 4, 10, "and gaps that tell of them")

    asyncio.run(live())


def test_a_device_that_may_not_read_any_more_after_a_reconnect_gives_nothing_up(tmp_path: Path, fake: FakeBroker) -> None:
    """MQTT 3.1.1: that nothing comes back is no reason for a dead letter, where nothing comes back at all."""

    async def live() -> None:
        async with dispatching(tmp_path, port=fake.port, version=4) as dispatch:
            tell(dispatch, 3)
            await until(lambda: dispatch.counters().delivered == 3, 10, "events are taken, and come back")
            await reconnected(dispatch, fake, Behaviour(echo=False))
            for reason in ("test", "x" * 1000, "test"):
                tell(dispatch, 1, reason=reason)
            await until(lambda: dispatch.counters().delivered == 6, 30, "all are delivered")
            assert not dispatch.counters().dropped

    asyncio.run(live())


def test_events_that_were_dropped_do_not_make_the_others_wait_for_each_other(tmp_path: Path, fake: FakeBroker) -> None:
    """Before: sent one at a time for ever, because those that were on the way when the connection broke were never cleared."""
    fake.become(ANSWERS_NO_EVENT)

    async def live() -> None:
        dispatch = open_dispatch(
            device="door",
            state_folder=tmp_path,
            mqtt=MqttSection(host="127.0.0.1", port=fake.port),
            outbox=OutboxSection(min_free_mb=0.0, max_rows=100),
            clock=Clock(),
        )
        dispatch.start()
        flight = dispatch._sender._flight
        tell(dispatch, 100)
        await until(lambda: fake.seen.retained and flight.room == 0, 10, "the window is full")
        fake.become(Behaviour(connack=lambda _v: RESET))
        fake.reset_all()
        await until(lambda: flight.suspects.any, 10, "nobody knows which one broke it")
        tell(dispatch, 300)
        await until(lambda: dispatch.counters().dropped.get("oldest") == 300, 10, "the oldest are dropped")
        fake.become(Behaviour())
        await until(lambda: dispatch.counters().queued == 0, 20, "the others arrive")
        await until(lambda: flight.room == 16, 10, "the window is open again")
        await dispatch.close(1.0)

    asyncio.run(live())


def test_a_picture_is_measured_with_what_is_said_about_it(tmp_path: Path) -> None:
    """Before: one that was a little smaller than the broker's largest packet ended the connection."""
    broker = Broker(tmp_path, "max_packet_size 2000")
    heard = Heard(broker.port)

    async def live() -> None:
        async with dispatching(tmp_path, port=broker.port) as dispatch:
            await until(lambda: dispatch.connected, 10, "a connection")
            sent = []
            for size in range(1700, 2000, 5):
                await until(lambda: dispatch._broker.has_room, 10, "the network takes more")
                if dispatch.picture("snapshot", bytes(size), captured_ns=1, frame=1, event_ns=0):
                    sent.append(size)
            tell(dispatch, 1)
            await until(lambda: dispatch.counters().delivered == 1, 10, "an event behind them")
            await until(lambda: len(heard.of("snapshot")) == len(sent), 10, "all that were sent")
            assert dispatch.broker_connects == 1
            assert 1700 in sent
            assert dispatch.results_dropped["too_large"]

    try:
        asyncio.run(live())
    finally:
        heard.close()
        broker.end(signal.SIGKILL)


def test_an_event_that_waits_for_its_pause_keeps_nobody_busy(tmp_path: Path, fake: FakeBroker) -> None:
    """Before: the outbox was asked `backlog_per_s` times a second for as long as one was set aside."""
    fake.become(Behaviour(puback=lambda m, version: RESET if len(m.payload) > 3000 else puback(m.number, 0, version)))

    async def live() -> None:
        async with dispatching(tmp_path, port=fake.port) as dispatch:
            tell(dispatch, 1, reason="x" * 5000)
            await until(lambda: dispatch._sender.set_aside(), 30, "it is set aside")
            tell(dispatch, 1)
            await until(lambda: dispatch.counters().delivered == 1, 30, "another goes past it")
            sender = dispatch._sender
            await until(lambda: sender._drained and not sender._asked, 10, "nothing else waits")
            assert sender._later is None

    asyncio.run(live())


@pytest.fixture
def holes(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """The port of a listener on 127.0.0.1; `cloud.example` has its address behind six others that swallow everything."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = int(listener.getsockname()[1])
        addresses, kept = [f"127.0.9.{n}" for n in range(1, 7)], []
        for address in addresses:  # one whose queue is full answers no more
            hole = socket.socket()
            hole.bind((address, port))
            hole.listen(0)
            kept.append(hole)
            for _ in range(4):
                client = socket.socket()
                client.setblocking(False)
                client.connect_ex((address, port))
                kept.append(client)
        found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in [*addresses, "127.0.0.1"]]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **_more: found)
        yield port
        for one in kept:
            one.close()


def test_a_good_address_behind_many_that_lead_nowhere_is_found(holes: int) -> None:
    """Before: each was waited for, 5 s long, and after 20 s it began anew with the first: never a connection behind four."""
    with dial("cloud.example", holes) as sock:
        assert sock.getpeername() == ("127.0.0.1", holes)


def test_where_nobody_listens_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        with pytest.raises(ConnectionRefusedError):
            dial("127.0.0.1", probe.getsockname()[1])
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **_more: [])
    with pytest.raises(TimeoutError):
        dial("nowhere.example", 1, limit_s=0.1)


def test_families_take_turns() -> None:
    """RFC 8305: a network that swallows everything of one family holds up the other for an instant only."""
    from edged.delivery.broker.dial import _in_turns

    found = [(socket.AF_INET6, n) for n in range(3)] + [(socket.AF_INET, n) for n in range(2)]
    names = {socket.AF_INET6: "six", socket.AF_INET: "four"}
    assert [f"{names[family]} {n}" for family, n in _in_turns(found)] == ["six 0", "four 0", "six 1", "four 1", "six 2"]
    assert _in_turns([]) == []


@pytest.mark.parametrize("version", [5, 4])
def test_a_last_will_that_comes_late_is_put_right(tmp_path: Path, version: int) -> None:
    """Of a connection that only the broker held for alive. Before: `offline` for ever, although events came."""
    broker = Broker(tmp_path)
    heard = Heard(broker.port)
    statuses = lambda: [payload for topic, payload, _ in list(heard.messages) if topic == "edged/door/status"]  # noqa: E731

    async def live() -> None:
        async with dispatching(tmp_path, port=broker.port, version=version) as dispatch:
            await until(lambda: statuses()[-1:] == [b"online"], 10, "online")
            for _ in range(2):
                await asyncio.to_thread(heard.publish, "edged/door/status", b"offline", retain=True)
                await until(lambda: statuses()[-1] == b"offline", 5, "the will")
                await until(lambda: statuses()[-1] == b"online", 5, "online again")
            tell(dispatch, 1)
            await until(lambda: dispatch.counters().delivered == 1, 10, "an event")
            assert statuses().count(b"online") == 3, "once each: what we say ourselves is no contradiction"

    try:
        asyncio.run(live())
        assert statuses()[-1] == b"offline"
    finally:
        heard.close()
        broker.end(signal.SIGKILL)
