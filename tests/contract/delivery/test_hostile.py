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
from tests.e2e.running import wait_for
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
            await until(lambda: fake.seen.subscriptions, 5, "the subscription")

    asyncio.run(live())
    assert b"\x27\x00\x00\x40\x00" in fake.seen.connects[0], "MaximumPacketSize 16384"
    assert [(topic, options >> 4 & 3) for topic, options in fake.seen.subscriptions] == [("edged/door/control", 2)]


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
                lambda: fake.seen.retained == {"edged/door/status": b"online", "edged/door/label": b"cat"}, 10, "back"
            )
            print(f"back after {took_s:.1f} s")
            assert took_s < 5.0
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
            await until(lambda: not dispatch.degraded, 5, "and nothing is degraded")

    asyncio.run(live())


def test_an_answer_is_qos_1_and_a_dropped_live_message_takes_no_number(tmp_path: Path, fake: FakeBroker) -> None:
    async def live() -> None:
        async with dispatching(tmp_path, port=fake.port) as dispatch:
            refusal = CommandError(asked="x", reason="y", refused=1)
            assert not dispatch.live("result", refusal), "not yet connected"
            await until(lambda: dispatch.connected, 5, "connected")
            assert dispatch.live("result", refusal)
            dispatch.answer("control/error", refusal)
            await until(lambda: any(m.topic.endswith("control/error") for m in fake.seen.messages), 5, "the answer")
            await until(lambda: any(m.topic.endswith("result") for m in fake.seen.messages), 5, "the live message")
            assert dispatch.results_dropped == {"offline": 1}

    asyncio.run(live())
    by_topic = {m.topic.rsplit("door/")[-1]: m for m in fake.seen.messages}
    assert by_topic["control/error"].qos == 1
    assert json.loads(by_topic["result"].payload)["seq"] == 1, "the one that was dropped used up no number"


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
