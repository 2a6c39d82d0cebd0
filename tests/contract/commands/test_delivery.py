"""watch, audit and replay as a user runs them, against a real Mosquitto and the daemon's own local door."""

import asyncio
import contextlib
import json
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edged.commands.watch import to_json_line, to_line
from edged.delivery.broker.access import Access
from edged.delivery.broker.subscriber import listen
from edged.errors import EdgedError
from edged.process.control import SOCKET, Control
from tests.contract.delivery.test_broker import AN_EVENT, dispatching
from tests.e2e.fake_broker import PUBACK, FakeBroker, publish
from tests.e2e.running import HANG_S, Broker, Heard, wait_for


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    broker = Broker(tmp_path)
    yield broker
    broker.end()


def edged(*arguments: str, **more: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "edged", *arguments], capture_output=True, text=True, timeout=HANG_S, **more)


def an_event(seq: int) -> bytes:
    stamp = {"schema": "edged/1", "id": f"0badcafe-{seq}", "boot": "0badcafe", "seq": seq, "clock_synced": True}
    return json.dumps(stamp | {"time": "2026-01-01T00:00:00.000Z"} | AN_EVENT.model_dump()).encode()


@pytest.mark.parametrize("as_json", [False, True])
def test_watch_prints_a_line_for_each_message(broker: Broker, as_json: bool) -> None:
    command = [sys.executable, "-m", "edged", "watch", "-h", "127.0.0.1", "-p", str(broker.port), *(["--json"] if as_json else [])]
    watching = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    lines: list[str] = []
    threading.Thread(target=lambda: lines.extend(watching.stdout or ()), daemon=True).start()
    heard = Heard(broker.port)
    heard.publish("edged/door/status", b"online", retain=True)
    wait_for(lambda: lines, 30, "the retained status")
    heard.publish("edged/door/event", an_event(1))
    heard.publish("edged/door/snapshot", b"\xff\xd8\x1b[2J\x00")
    wait_for(lambda: len(lines) >= 3, 10, "every message")
    watching.kill()
    if as_json:
        assert [json.loads(line)["topic"] for line in lines] == ["edged/door/status", "edged/door/event", "edged/door/snapshot"]
        assert json.loads(lines[0])["payload"] == "online"
        assert json.loads(lines[1])["payload"]["label"] == "cat"
    else:
        assert "online" in lines[0]
        assert all(word in lines[1] for word in ("edged/door/event", "entered", "cat", "0.90", " s "))
        assert "\x1b" not in "".join(lines)
    heard.close()


ABSURD: list[bytes] = [
    b'{"time": "0001-01-01T00:00:00+14:00", "label": "cat"}',
    b'{"time": "9999-12-31T23:59:59-14:00"}',
    b'{"score": 1%s}' % (b"0" * 400),
    b'{"frame": {"age_ms": 1%s}}' % (b"0" * 400),
    b'{"frame": {"age_ms": 1e999}, "score": -1e308}',
    b'{"event_type": "gap", "from_seq": "\\u001b[2J", "reason": {"\\u009b": 1}}',
    b'{"frames": {"\\u001b]0;x\\u0007": 1}}',
    b'{"label": "\\u001b[31mcat\\u009b2J\\u007f\\u202e\\udb40\\udc01\\ud800", "top": [[]]}',
    b'{"label": "\x1b[2J"}',
    b"\xc2\x9b2J\x7f",
    b'{"a":' + b"[" * 5000 + b"]" * 5000 + b"}",
]


@pytest.mark.parametrize("payload", ABSURD)
def test_watch_prints_absurd_messages_harmlessly(payload: bytes) -> None:
    line = to_line("edged/\x1b[2J", payload, 1.8e9)
    assert line.isprintable() and len(line) < 700, line
    as_json = to_json_line("edged/\x9bx", payload)
    assert as_json.isprintable()
    assert json.loads(as_json)["topic"] == "edged/\x9bx"


@pytest.mark.parametrize("depth", range(900, 1100, 3))
def test_watch_takes_json_of_any_depth(depth: int) -> None:
    payload = b'{"a":' + b"[" * depth + b"]" * depth + b"}"
    assert to_line("t", payload, 0.0)
    assert json.loads(to_json_line("t", payload))["topic"] == "t"


def test_no_broker_is_one_sentence() -> None:
    result = edged("watch", "-p", "1")
    assert result.returncode == 69
    assert len(result.stderr.splitlines()) == 1
    assert "no broker at localhost:1" in result.stderr


@pytest.mark.parametrize("verb", ["watch", "audit"])
def test_a_time_that_ends_before_there_was_a_connection_is_no_success(verb: str) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        port = silent.getsockname()[1]
        result = edged(verb, "-h", "127.0.0.1", "-p", str(port), "--seconds", "0.5")
    assert (result.returncode, result.stdout) == (69, "")
    assert result.stderr == f"no broker at 127.0.0.1:{port}: no answer within 0.5 s\n"


@pytest.mark.parametrize("words", [[], ["--json"]])
def test_watch_ends_where_nothing_can_be_printed(broker: Broker, words: list[str]) -> None:
    keep_three(broker)
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-m", "edged", "watch", "-p", str(broker.port), *words]
        ended = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, timeout=HANG_S)
    assert (ended.returncode, ended.stderr) == (74, "the output cannot be written: No space left on device\n")


def test_watch_ends_where_nobody_reads_any_more(broker: Broker) -> None:
    command = [sys.executable, "-m", "edged", "watch", "-p", str(broker.port)]
    keep_three(broker)
    heard = Heard(broker.port)
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as watching:
        assert watching.stdout is not None and watching.stderr is not None and watching.stdout.readline()
        watching.stdout.close()
        heard.publish("edged/door/status", b"offline")
        assert (watching.wait(HANG_S), watching.stderr.read()) == (141, "")
    heard.close()


@pytest.mark.parametrize("error", [ValueError("a bug"), TimeoutError("of the output"), OSError(28, "full")])
def test_what_goes_wrong_in_showing_reaches_whoever_listens(broker: Broker, error: Exception) -> None:
    keep_three(broker)
    shown = list[str]()

    def show(topic: str, _payload: bytes, _retained: bool) -> None:
        shown.append(topic)
        raise error

    with pytest.raises(type(error)) as raised:
        listen(Access(host="127.0.0.1", port=broker.port, version=4), "edged/#", show, seconds=HANG_S)
    assert raised.value is error and len(shown) == 1


def keep_three(broker: Broker) -> None:
    heard = Heard(broker.port)
    for name in ("status", "model", "label"):
        heard.publish(f"edged/door/{name}", b"said", retain=True)
    heard.close()


@pytest.mark.parametrize("verb", ["watch", "audit"])
def test_ctrl_c_is_130_and_audit_tells_first_what_it_heard(verb: str) -> None:
    heeded = lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)  # noqa: E731  # whoever runs the tests in the background ignores it
    fake = FakeBroker()
    command = [sys.executable, "-m", "edged", verb, "-h", "127.0.0.1", "-p", str(fake.port), "--seconds", "0", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=heeded) as listening:
        wait_for(lambda: fake.seen.subscriptions, 30, "the subscription")
        for number in (1, 3, 5):  # the third is heard when the next one is acknowledged
            fake.send_all(publish("edged/door/event", an_event(number), 4, qos=1, number=number))
        wait_for(lambda: fake.seen.packets[PUBACK] == 3, 30, "acknowledged")
        fake.send_all(publish("edged/door/status", b"online", 4, qos=1, number=6))
        wait_for(lambda: fake.seen.packets[PUBACK] == 4, 30, "and heard")
        listening.send_signal(signal.SIGINT)
        said, errors = listening.communicate(timeout=HANG_S)
    fake.close()
    assert (listening.returncode, errors.strip()) == (130, "")
    if verb == "audit":
        assert json.loads(said)["boots"][0]["missing_seqs"] == [2, 4]
    else:
        assert len(said.splitlines()) >= 3


def test_audit_finds_what_is_missing_in_a_capture(tmp_path: Path) -> None:
    capture = tmp_path / "capture"
    lines = [{"topic": "edged/door/event", "payload": json.loads(an_event(seq))} for seq in (1, 2, 2, 5)]
    capture.write_text("".join(json.dumps(line) + "\n" for line in lines))
    result = edged("audit", str(capture), "--json")
    assert result.returncode == 1
    boot = json.loads(result.stdout)["boots"][0]
    assert (boot["missing_seqs"], boot["duplicates"], boot["received"]) == ([3, 4], 1, 3)
    assert "2 missing" in edged("audit", str(capture)).stdout
    gap = json.loads(an_event(1005)) | {"event_type": "gap", "from_seq": 6, "to_seq": None, "dropped": None, "reason": "power"}
    capture.write_text(capture.read_text() + json.dumps({"topic": "edged/door/event", "payload": gap}) + "\n")
    assert "2 missing, and whether any are missing from 6 on nobody knows" in edged("audit", str(capture)).stdout
    capture.write_text("no json\n")
    refused = edged("audit", str(capture))
    assert (refused.returncode, len(refused.stderr.splitlines())) == (1, 1)
    assert f"{capture}:1" in refused.stderr


def test_audit_listens(broker: Broker) -> None:
    heard = Heard(broker.port)
    auditing = subprocess.Popen(
        [sys.executable, "-m", "edged", "audit", "-p", str(broker.port), "--seconds", "6", "--json"],
        stdout=subprocess.PIPE,
        text=True,
    )
    seq = 0
    while auditing.poll() is None:
        seq += 1
        heard.publish("edged/door/event", an_event(seq))
        with contextlib.suppress(subprocess.TimeoutExpired):
            auditing.wait(0.1)  # the pace of the events
    boot = json.loads(auditing.stdout.read())["boots"][0]  # type: ignore[union-attr]
    assert auditing.returncode == 0
    assert boot["missing"] == 0
    assert boot["received"] > 5
    heard.close()


def test_replay_goes_through_the_local_door(tmp_path: Path, broker: Broker) -> None:
    state = tmp_path / "state"
    config = tmp_path / "edged.toml"
    config.write_text(f'state_folder = "{state}"\n')
    absent = edged("replay", "--since", "30m", "-c", str(config))
    assert absent.returncode == 69, absent.stderr
    assert "is it running?" in absent.stderr
    assert edged("replay", "--since", "soon", "-c", str(config)).returncode == 2
    heard = Heard(broker.port)

    async def live() -> subprocess.CompletedProcess[str]:
        async with dispatching(tmp_path, port=broker.port) as dispatch:
            for _ in range(3):
                dispatch.event(AN_EVENT, time.monotonic_ns())
            control = Control(state)

            async def replay(request: dict[str, Any]) -> dict[str, Any]:
                return {"replayed": await dispatch.replay(request["since_s"])}

            control.on("replay", replay)
            await control.start()
            assert control.fault is None
            assert (state / SOCKET).stat().st_mode & 0o777 == 0o660
            await asyncio.to_thread(wait_for, lambda: dispatch.counters().delivered == 3, 10, "delivered")
            result = await asyncio.to_thread(edged, "replay", "--since", "30m", "-c", str(config))
            await asyncio.to_thread(wait_for, lambda: len(heard.of("event")) == 6, 10, "sent again")
            await control.close()
            return result

    result = asyncio.run(live())
    assert (result.returncode, result.stdout) == (0, "3 events will be sent again\n")
    assert [event["seq"] for event in heard.of("event")] == [1, 2, 3, 1, 2, 3]
    heard.close()


@pytest.mark.parametrize(
    "request_line", [b"", b"\xff\n", b"[]\n", b'{"verb": []}\n', b'{"verb": "nothing"}\n', b"x" * 200_000, b'{"verb":"no"}\n']
)
def test_the_local_door_takes_anything(tmp_path: Path, request_line: bytes) -> None:
    async def live() -> dict[str, Any]:
        control = Control(tmp_path)

        async def refuse(_request: dict[str, Any]) -> dict[str, Any]:
            raise EdgedError("not today")

        control.on("no", refuse)
        await control.start()
        reader, writer = await asyncio.open_unix_connection(str(tmp_path / SOCKET))
        writer.write(request_line)
        writer.write_eof()
        answer = json.loads(await reader.readline())
        writer.close()
        await control.close()
        return dict(answer)

    answer = asyncio.run(live())
    assert answer["ok"] is False
    assert answer["error"]


@pytest.mark.parametrize("running", [True, False])
def test_dead_letters_are_seen_sent_again_and_discarded_with_a_daemon_and_without(
    tmp_path: Path, broker: Broker, running: bool
) -> None:
    """The same answers through the local door and from the outbox itself."""
    state = tmp_path / "state"
    config = tmp_path / "edged.toml"
    config.write_text(f'state_folder = "{state}"\n')
    heard = Heard(broker.port)

    async def live() -> None:
        async with dispatching(tmp_path, port=broker.port, max_packet_bytes=1024) as dispatch:
            for reason in ("short", "x" * 3000, "y" * 3000):
                dispatch.event(AN_EVENT.model_copy(update={"reason": reason}), time.monotonic_ns())
            await asyncio.to_thread(wait_for, lambda: dispatch.counters().dropped == {"refused": 2}, 10, "dead letters")
            if running:
                control = Control(state)

                async def letters(request: dict[str, Any]) -> dict[str, Any]:
                    return await dispatch.letters(str(request.get("do", "")), str(request.get("which", "")))

                control.on("outbox", letters)
                await control.start()
                await asyncio.to_thread(ask)
                await control.close()

    def ask() -> None:
        listed = edged("outbox", "list", "-c", str(config), "--json")
        assert listed.returncode == 0, listed.stderr
        dead = json.loads(listed.stdout)["dead"]
        assert [letter["reason"] for letter in dead] == ["packet too large"] * 2
        people = edged("outbox", "list", "-c", str(config)).stdout
        assert f"{dead[0]['id']}  {dead[0]['size_bytes']} bytes  entered cat  (packet too large)" in people
        assert edged("outbox", "retry", dead[0]["id"], "-c", str(config)).stdout == "1 event will be sent again\n"
        absent = edged("outbox", "discard", "0badcafe-77", "-c", str(config))
        assert (absent.returncode, len(absent.stderr.splitlines())) == (1, 1)
        assert edged("outbox", "discard", dead[1]["id"], "-c", str(config)).stdout == "1 event discarded\n"

    asyncio.run(live())
    if not running:
        ask()
    assert not list(state.glob("*.changes")), "nothing is left behind"
    nothing = edged("outbox", "list", "-c", str(tmp_path / "absent.toml"))
    assert nothing.returncode != 0
    heard.close()
