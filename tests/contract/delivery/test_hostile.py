"""What a broker can send or withhold, against the real connection: memory, silence, late answers, refusals."""

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edged.delivery.broker.packets import MalformedError, Packet, Packets
from edged.delivery.messages import CommandError
from tests.contract.delivery.test_broker import AN_EVENT, dispatching, until
from tests.e2e.fake_broker import Behaviour, FakeBroker, Message, length, puback, publish
from tests.e2e.running import promised, wait_for
from tests.e2e.source import Source


def refuses(which: Callable[[Message], bool]) -> Behaviour:
    """Not authorized to publish some of what it gets."""
    refusal = lambda m: bytes((0x40, 3, *m.number.to_bytes(2, "big"), 0x87))  # noqa: E731
    return Behaviour(puback=lambda m, version: refusal(m) if which(m) else puback(m.number, 0, version))


@pytest.fixture
def fake() -> Iterator[FakeBroker]:
    broker = FakeBroker()
    yield broker
    broker.close()


def memory_kb(pid: int) -> int:
    words = Path(f"/proc/{pid}/status").read_text().split()
    return int(words[words.index("VmRSS:") + 1])


@pytest.mark.parametrize("version", [5, 4])
def test_200_mb_on_control_are_thrown_away_while_they_are_read(tmp_path: Path, fake: FakeBroker, version: int) -> None:
    """Before: 43 → 622 MB, and the loop stood still for seconds."""
    source = Source(port=fake.port, state_folder=str(tmp_path / "state"), events=10**6, per_s=20.0, version=version)
    wait_for(lambda: source.said.get("counters", {}).get("delivered", 0) > 40, 40, "events are delivered")
    before_kb, connections = memory_kb(source.process.pid), fake.seen.connections
    size = 200_000_000
    name = b"edged/source/control"
    body = len(name).to_bytes(2, "big") + name + b"\x00\x07" + (b"\x00" if version == 5 else b"")
    delivered = source.said["counters"]["delivered"]
    fake.flood(bytes((0x33,)) + length(len(body) + size) + body, size)  # retained, QoS 1
    grown_kb = memory_kb(source.process.pid) - before_kb
    wait_for(lambda: source.said["counters"]["delivered"] > delivered + 20, 20, "events go on")
    print(f"MQTT {version}: {before_kb} kB, {grown_kb} kB more after 200 MB")
    assert grown_kb <= 4000
    assert fake.seen.connections == connections
    assert fake.seen.packets[4] == 1, "it is acknowledged, so that it does not come again"
    told = [line for line in source.errors.read_text().splitlines() if "thrown away" in line]
    assert len(told) == 1, told
    assert "edged/source/control" in told[0]
    assert source.end() == 0


def test_mqtt_5_says_what_it_reads_and_asks_for_no_retained_commands(tmp_path: Path, fake: FakeBroker) -> None:
    async def live() -> None:
        async with dispatching(tmp_path, port=fake.port) as dispatch:
            dispatch.on_command("control", lambda _payload: None)
            await until(lambda: len(fake.seen.subscriptions) == 2, 5, "the subscriptions")

    asyncio.run(live())
    assert b"\x27\x00\x00\x40\x00" in fake.seen.connects[0], "MaximumPacketSize 16384"
    assert sorted((topic, options >> 4 & 3) for topic, options in fake.seen.subscriptions) == [
        ("edged/door/control", 2),
        ("edged/door/status", 2),
    ]


def test_a_broker_that_answers_pings_only_is_told_and_left(tmp_path: Path, fake: FakeBroker, version: int = 4) -> None:
    """Before: for ever "broker ok", and `degraded` was empty."""
    fake.become(Behaviour(puback=lambda _m, _v: None))

    async def live() -> None:
        async with dispatching(tmp_path, port=fake.port, version=version) as dispatch:
            dispatch.event(AN_EVENT, time.monotonic_ns())
            said = lambda: any("acknowledges none" in sentence for sentence in dispatch.degraded)  # noqa: E731
            took_s = await until(said, 30, "it is said")
            print(f"MQTT {version}: told after {took_s:.1f} s")
            await until(lambda: fake.seen.connections >= 2, 10, "a new connection")
            fake.become(Behaviour())
            fake.reset_all()
            await until(lambda: dispatch.counters().delivered == 1 and not dispatch.degraded, 15, "delivered, and all is well")

    asyncio.run(live())


def test_a_broker_that_never_answers_an_event_is_told_all_the_time(tmp_path: Path, fake: FakeBroker) -> None:
    """Before: for an instant every 20 s, because it answers retained topics."""
    fake.become(Behaviour(puback=lambda m, version: puback(m.number, 0, version) if m.retain else None))

    async def live() -> None:
        async with dispatching(tmp_path, port=fake.port, version=4) as dispatch:
            dispatch.event(AN_EVENT, time.monotonic_ns())
            said = lambda: any("acknowledges none" in sentence for sentence in dispatch.degraded)  # noqa: E731
            await until(said, 30, "it is said")
            await until(lambda: fake.seen.connections >= 2 and dispatch.connected, 10, "a new connection")
            answered = len(fake.seen.messages)
            dispatch.retain("label", "another")
            await until(lambda: len(fake.seen.messages) > answered and said(), 5, "a topic is answered, and it is still said")
            dispatch.retain("label", "one more")
            await until(lambda: len(fake.seen.messages) > answered + 1, 5, "again")
            assert said()
            fake.become(Behaviour())
            fake.reset_all()
            await until(lambda: dispatch.counters().delivered == 1 and not dispatch.degraded, 15, "delivered, and all is well")

    asyncio.run(live())


def test_a_late_answer_to_an_old_value_says_nothing_of_the_new_one(tmp_path: Path, fake: FakeBroker) -> None:
    held: list[Message] = []

    def refuse_late(message: Message, version: int) -> bytes | None:
        if message.topic.endswith("/label") and not held:
            held.append(message)
            return None
        if message.topic.endswith("/label"):
            return bytes((0x40, 3, *held[0].number.to_bytes(2, "big"), 0x87)) + puback(message.number, 0, version)
        return puback(message.number, 0, version)

    fake.become(Behaviour(puback=refuse_late))

    async def live() -> None:
        async with dispatching(tmp_path, port=fake.port) as dispatch:
            dispatch.retain("label", "one")
            await until(lambda: held, 5, "the first value is out")
            dispatch.retain("label", "two")
            await until(lambda: fake.seen.packets[3] >= 3, 5, "both were sent")
            await asyncio.sleep(0.2)
            assert dispatch.degraded == []

    asyncio.run(live())


def test_a_refused_retained_topic_is_counted_and_back_within_5_s_of_the_mend(tmp_path: Path, fake: FakeBroker) -> None:
    """On the same connection: an access list that was mended ends none. Before: never."""
    fake.become(refuses(lambda m: m.retain))

    async def live() -> None:
        async with dispatching(tmp_path, port=fake.port) as dispatch:
            dispatch.retain("label", "cat")
            told = lambda: [f for f in dispatch.faults if f.kind == "topic_refused"]  # noqa: E731
            await until(lambda: len(told()) == 2, 5, "both are told")
            await until(lambda: any(dict(f.fields)["count"] >= 3 for f in told()), 10, "and counted")
            fake.become(Behaviour())
            took_s = await until(
                lambda: fake.seen.retained == {"edged/door/status": b"online", "edged/door/label": b"cat"}, 5, "back"
            )
            promised("back", took_s, 5)
            await until(lambda: not told(), 2, "nothing is degraded")
            assert fake.seen.connections == 1

    asyncio.run(live())


def test_refused_events_are_told_with_a_count_until_one_is_taken(tmp_path: Path, fake: FakeBroker) -> None:
    fake.become(refuses(lambda m: m.topic.endswith("/event")))

    async def live() -> None:
        async with dispatching(tmp_path, port=fake.port) as dispatch:
            for _ in range(3):
                dispatch.event(AN_EVENT, time.monotonic_ns())
            counts = lambda: [dict(f.fields)["count"] for f in dispatch.faults if f.kind == "events_refused"]  # noqa: E731
            await until(lambda: dispatch.counters().dropped == {"refused": 3}, 5, "dead letters")
            letters = await dispatch.letters("list")
            assert len(letters["dead"]) == 3
            fake.become(Behaviour())
            assert (await dispatch.letters("retry", "all"))["count"] == 3
            await until(lambda: dispatch.counters().delivered == 3 and not counts(), 5, "delivered now")

    asyncio.run(live())


def test_a_gap_that_is_taken_does_not_hide_the_events_that_were_refused(tmp_path: Path, fake: FakeBroker) -> None:
    """Before: `degraded` was empty as soon as the broker had taken the gap that tells of them."""
    fake.become(refuses(lambda m: b'"entered"' in m.payload))

    async def live() -> None:
        async with dispatching(tmp_path, port=fake.port) as dispatch:
            dispatch.event(AN_EVENT, time.monotonic_ns())
            await until(lambda: any(b'"gap"' in m.payload for m in fake.seen.messages), 10, "the gap is taken")
            acknowledged = fake.seen.packets[12]
            await until(lambda: fake.seen.packets[12] > acknowledged, 10, "and its answer was read, as the next ping shows")
            assert [fault.kind for fault in dispatch.faults] == ["events_refused"]

    asyncio.run(live())


@pytest.mark.parametrize("version", [5, 4])
def test_what_speaks_no_mqtt_is_named_and_is_no_other_client(tmp_path: Path, fake: FakeBroker, version: int) -> None:
    """Before: "unspecified error", and "perhaps another client with the id"."""
    fake.become(Behaviour(connack=lambda _v: b"HTTP/1.1 400 Bad Request\r\n\r\n"))

    async def live() -> None:
        async with dispatching(tmp_path, port=fake.port, version=version) as dispatch:
            dispatch._broker._random = lambda _least, _most: 0.0
            await until(lambda: fake.seen.connections > 8, 20, "it is tried again and again")
            await until(lambda: any("no MQTT" in sentence for sentence in dispatch.degraded), 5, "it is named")
            assert not [fault for fault in dispatch.faults if fault.kind == "client_id_taken"]

    asyncio.run(live())


def test_a_gap_that_is_too_large_for_the_broker_waits_for_another(tmp_path: Path, fake: FakeBroker) -> None:
    """Before: it was a dead letter itself, and nobody ever learned of the events."""
    fake.become(Behaviour(connack=lambda _v: b"\x20\x08\x00\x00\x05\x27\x00\x00\x00\x64"))  # 100 bytes at most

    async def live() -> None:
        async with dispatching(tmp_path, port=fake.port) as dispatch:
            for _ in range(5):
                dispatch.event(AN_EVENT, time.monotonic_ns())
            await until(lambda: dispatch.counters().dropped == {"refused": 5}, 10, "dead letters")
            fake.become(Behaviour())
            fake.reset_all()
            gaps = lambda: [m for m in fake.seen.messages if b'"gap"' in m.payload]  # noqa: E731
            await until(lambda: sum(json.loads(m.payload)["dropped"] for m in gaps()) == 5, 10, "the gap arrives")
            dispatch.event(AN_EVENT, time.monotonic_ns())
            await until(lambda: not dispatch.degraded, 5, "and nothing is degraded")

    asyncio.run(live())


def test_an_answer_is_qos_1_and_a_dropped_live_message_takes_no_number(tmp_path: Path, fake: FakeBroker) -> None:
    async def live() -> None:
        async with dispatching(tmp_path, port=fake.port, max_packet_bytes=1024) as dispatch:
            refusal = CommandError(asked="x", reason="y", refused=1)
            assert not dispatch.live("result", refusal), "not yet connected"
            await until(lambda: dispatch.connected, 5, "connected")
            assert not dispatch.live("result", refusal.model_copy(update={"reason": "y" * 2000})), "too large"
            assert dispatch.live("result", refusal)
            dispatch.answer("control/error", refusal)
            await until(lambda: any(m.topic.endswith("control/error") for m in fake.seen.messages), 5, "the answer")
            await until(lambda: any(m.topic.endswith("result") for m in fake.seen.messages), 5, "the live message")
            assert dispatch.results_dropped == {"offline": 1, "too_large": 1}

    asyncio.run(live())
    by_topic = {m.topic.rsplit("door/")[-1]: m for m in fake.seen.messages}
    assert by_topic["control/error"].qos == 1
    assert json.loads(by_topic["result"].payload)["seq"] == 1, "those that were dropped used up no number"


def test_what_the_connection_does_not_take_is_offered_again_on_the_same_connection(tmp_path: Path, fake: FakeBroker) -> None:
    """Before: a row whose publish() returned None stayed out until the connection ended."""
    events, refused = 10, 0

    async def live() -> None:
        nonlocal refused
        async with dispatching(tmp_path, port=fake.port) as dispatch:
            await until(lambda: dispatch.connected and fake.seen.retained, 5, "connected")
            assert dispatch._broker._now is not None
            client = dispatch._broker._now._client
            client._max_queued_messages = 1  # so paho refuses what comes while one waits for its answer
            fake.become(Behaviour(slow_s=0.2))
            publish_ = client.publish

            def counted(*values: object) -> object:
                nonlocal refused
                info = publish_(*values)  # type: ignore[arg-type]
                refused += info.rc != 0
                return info

            client.publish = counted  # type: ignore[method-assign, assignment]
            for number in range(1, events + 1):
                dispatch.event(AN_EVENT.model_copy(update={"label": f"{number}"}), time.monotonic_ns())
            dispatch.answer("control/error", CommandError(asked="x", reason="y", refused=1))
            await until(lambda: dispatch.counters().delivered == events, 20, "all are delivered")
            await until(lambda: any(m.topic.endswith("control/error") for m in fake.seen.messages), 5, "the answer, too")

    asyncio.run(live())
    assert fake.seen.connections == 1
    assert 0 < refused < 20 * events, "and it is offered when there may be room, not again and again"
    labels = [json.loads(m.payload)["label"] for m in fake.seen.messages if m.topic.endswith("/event")]
    assert labels == [f"{number}" for number in range(1, events + 1)]


@pytest.mark.parametrize("most", [100, 1000])
def test_packets_are_found_however_the_bytes_are_cut(most: int) -> None:
    raw = publish("a/b", b"x" * 50, 4) + b"\xd0\x00" + publish("c", b"y" * 5000, 4, qos=1, number=258) + publish("d", b"", 4)
    for step in (1, 2, 3, 7, 100, 10_000):
        packets = Packets(most)
        found: list[Packet] = [p for at in range(0, len(raw), step) for p in packets.feed(raw[at : at + step])]
        assert [p.first for p in found] == [0x30, 0xD0, 0x32, 0x30]
        assert [p.is_whole for p in found] == [True, True, False, True]
        assert found[2].topic_and_number() == ("c", 258)
    with pytest.raises(MalformedError):
        list(Packets(most).feed(b"\x30\xff\xff\xff\xff\x01"))
