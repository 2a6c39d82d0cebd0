"""Delivery against a real Mosquitto: versions, TLS, passwords, take-over, silence, and a disk that takes nothing."""

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from edged.config.settings import MqttSection, OutboxSection
from edged.daemon.delivery import open_dispatch
from edged.delivery.broker import connection
from edged.delivery.broker.access import Access, AccessError, check_plain_password, load_password, to_tls
from edged.delivery.broker.client import new_client
from edged.delivery.broker.subscriber import greet
from edged.delivery.dispatch import Dispatch
from edged.delivery.messages import Event
from edged.system.clock import Clock
from tests.e2e.fault_proxy import FaultProxy
from tests.e2e.running import HANG_S, Broker, Heard, promised, wait_for
from tests.e2e.source import Arrivals, Source

AN_EVENT = Event(
    event_type="entered", label="cat", score=0.9, since="2026-01-01T00:00:00.000Z", duration_s=0, reason="test", model="none"
)


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    broker = Broker(tmp_path)
    yield broker
    broker.end(signal.SIGKILL)


@asynccontextmanager
async def dispatching(folder: Path, **mqtt: Any) -> AsyncIterator[Dispatch]:
    dispatch = open_dispatch(
        device="door",
        state_folder=folder / "state",
        mqtt=MqttSection(**({"host": "127.0.0.1"} | mqtt)),
        outbox=OutboxSection(min_free_mb=0.0),
        clock=Clock(),
    )
    dispatch.start()
    try:
        yield dispatch
    finally:
        await dispatch.close(1.0)


async def until(condition: Callable[[], Any], deadline_s: float, what: str) -> float:
    """Seconds until the condition was true. The deadline only ends a hang, as that of `wait_for`."""
    deadline_s = max(deadline_s, HANG_S)
    began = time.monotonic()
    while time.monotonic() - began < deadline_s:
        if condition():
            return time.monotonic() - began
        await asyncio.sleep(0.02)
    raise AssertionError(f"not within {deadline_s:g} s: {what}")


@pytest.mark.parametrize("version", [5, 4])
def test_both_versions_deliver_retain_and_say_goodbye(tmp_path: Path, broker: Broker, version: int) -> None:
    heard = Heard(broker.port)

    async def live() -> None:
        async with dispatching(tmp_path, port=broker.port, version=version) as dispatch:
            dispatch.retain("label", "cat")
            dispatch.event(AN_EVENT, time.monotonic_ns())
            await until(lambda: heard.of("event"), 5, "the event")
            await until(lambda: dispatch.counters().delivered == 1, 5, "its acknowledgement")
            assert dispatch.degraded == []

    asyncio.run(live())
    wait_for(lambda: heard.of("status") == ["online", "offline"], 5, "online, then offline")
    assert heard.of("label") == ["cat"]
    heard.close()


def test_a_retained_command_does_not_act(tmp_path: Path, broker: Broker) -> None:
    heard = Heard(broker.port)
    heard.publish("edged/door/control", b"old", retain=True)
    got: list[bytes] = []

    async def live() -> None:
        async with dispatching(tmp_path, port=broker.port) as dispatch:
            dispatch.on_command("control", got.append)
            await until(lambda: heard.of("status") == ["online"], 5, "online")
            heard.publish("edged/door/control", b"new")
            await until(lambda: got, 5, "the command")

    asyncio.run(live())
    assert got == [b"new"]
    heard.close()


def test_a_second_client_with_the_same_id_is_named(tmp_path: Path, broker: Broker) -> None:
    async def live() -> None:
        async with dispatching(tmp_path / "a", port=broker.port) as one, dispatching(tmp_path / "b", port=broker.port) as two:
            said = lambda: any("another client" in s and "edged-door" in s for s in [*one.degraded, *two.degraded])  # noqa: E731
            await until(said, 30, "the take-over is named")

    asyncio.run(live())


@pytest.mark.parametrize("version", [4, 5])
def test_a_result_does_not_wait_for_the_acknowledgement_of_the_packet_before(broker: Broker, version: int) -> None:
    """Before: one in twenty results came 10 ms late, at 30 frames a second on loopback."""
    client = new_client(version, "edged-door", 16384)
    client.connect("127.0.0.1", broker.port)
    sock = client.socket()
    assert sock is not None and sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
    sock.close()


@pytest.mark.parametrize("fault", ["stall", "half_open"])
def test_a_silent_connection_is_found_within_10_s_and_healed(tmp_path: Path, broker: Broker, fault: str) -> None:
    proxy = FaultProxy(broker.port).start()

    async def live() -> None:
        async with dispatching(tmp_path, port=proxy.port) as dispatch:
            await until(lambda: dispatch.connected, 5, "connected")
            await asyncio.to_thread(proxy.become, fault)
            took_s = await until(lambda: not dispatch.connected, 10, "the silence is found")
            promised("the silence is found", took_s, 10)
            await asyncio.to_thread(proxy.become, "")
            await until(lambda: dispatch.connected, 15, "healed")

    asyncio.run(live())
    proxy.close()


@pytest.fixture
def certificates(tmp_path: Path) -> Path:
    if not shutil.which("openssl"):
        pytest.skip("needs openssl")
    folder = tmp_path / "certificates"
    folder.mkdir()

    def make(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)

    authority = ["-subj", "/CN=ca", "-days", "2"]  # as most are made at home: without the usage that Python 3.13 would want
    make("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "ca.key", "-out", "ca.crt", *authority)
    (folder / "names").write_text("subjectAltName=IP:127.0.0.1\n")
    for name in ("server", "client"):
        make("req", "-newkey", "rsa:2048", "-nodes", "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
        signed = ["-in", f"{name}.csr", "-out", f"{name}.crt", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial"]
        make("x509", "-req", *signed, "-days", "2", "-extfile", "names")
    return folder


def test_tls_with_both_certificates_and_a_password(tmp_path: Path, certificates: Path) -> None:
    passwords = tmp_path / "passwords"
    passwords.write_text("door:secret\n")
    subprocess.run(["mosquitto_passwd", "-U", str(passwords)], check=True)
    passwords.chmod(0o644)
    broker = Broker(
        tmp_path,
        f"cafile {certificates}/ca.crt",
        f"certfile {certificates}/server.crt",
        f"keyfile {certificates}/server.key",
        "require_certificate true",
        f"password_file {passwords}",
    )
    right, wrong = tmp_path / "right", tmp_path / "wrong"
    right.write_text("secret\n")
    wrong.write_text("guess\n")
    tls = {"port": broker.port, "tls_ca": f"{certificates}/ca.crt", "user": "door"}
    ours = {"tls_cert": f"{certificates}/client.crt", "tls_key": f"{certificates}/client.key"}

    async def live(what: str = "", **mqtt: Any) -> None:
        async with dispatching(tmp_path, **tls, **mqtt) as dispatch:
            if what:
                await until(lambda: any(what in sentence for sentence in dispatch.degraded), 10, what)
                assert not dispatch.connected
            else:
                dispatch.event(AN_EVENT, time.monotonic_ns())
                await until(lambda: dispatch.counters().delivered == 1, 10, "delivered")
                assert dispatch.degraded == []

    asyncio.run(live(**ours, password_file=str(right)))
    asyncio.run(live("not author", **ours, password_file=str(wrong)))
    asyncio.run(live("no connection", password_file=str(right)))
    asyncio.run(live("can not be read", **ours, password_file=str(tmp_path / "absent")))
    broker.end()


@pytest.mark.parametrize(
    ("host", "more", "outcome"),
    [
        ("127.0.0.1", {}, ""),
        ("localhost", {}, ""),
        ("::1", {}, ""),
        ("192.168.1.2", {}, "own network"),
        ("10.1.2.3", {}, "own network"),
        ("fd00::1", {}, "own network"),
        ("broker.local", {}, "own network"),
        ("8.8.8.8", {}, None),
        ("8.8.8.8", {"allow_plain_password": True}, "outside"),
        ("8.8.8.8", {"tls": True}, ""),
    ],
)
def test_where_a_password_may_go_in_clear(host: str, more: dict[str, Any], outcome: str | None) -> None:
    access = Access(host=host, user="door", **more)
    if outcome is None:
        with pytest.raises(AccessError, match="not sent unencrypted"):
            check_plain_password(access)
    else:
        warning = check_plain_password(access)
        assert outcome in warning
        assert bool(warning) == bool(outcome)


@pytest.mark.parametrize("host", ["a..b", "x" * 64])
def test_a_host_that_none_can_be_is_said_in_words(host: str) -> None:
    """A host may come from elsewhere than a config that was checked; Python's word for it is the name of a codec."""
    down = greet(Access(host=host))
    assert down is not None and down.reason == "its name is none that a host can have"


def test_a_login_before_the_host_is_in_no_sentence() -> None:
    assert Access(host="bob:hunter2@pi").place == "…:1883"


def test_the_password_comes_from_the_file_or_the_credential(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mqtt_password").write_text("from systemd\n")
    (tmp_path / "file").write_text("from file\r\nsecond line\n")
    assert load_password(Access(user="door", password_file=str(tmp_path / "file"))) == "from file"
    assert load_password(Access(user="door")) is None
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert load_password(Access(user="door")) == "from systemd"
    assert load_password(Access()) is None


def test_a_password_or_certificate_that_is_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(AccessError, match="not a regular file"):
        load_password(Access(user="door", password_file=str(tmp_path / "pipe")))
    with pytest.raises(AccessError, match="can not be read"):
        to_tls(Access(tls_ca=str(tmp_path / "pipe")))


def test_attempts_that_hang_do_not_become_more_and_more_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before: one more thread with each attempt, for ever. Here the name service hangs."""
    answers = threading.Event()
    monkeypatch.setattr(connection, "_HANDSHAKE_S", 0.1)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **_more: answers.wait() and [])
    attempts = lambda: sum(thread.name == "mqtt connect" for thread in threading.enumerate())  # noqa: E731

    async def live() -> None:
        async with dispatching(tmp_path, host="broker.example", port=1) as dispatch:
            dispatch._broker._random = lambda _least, _most: 0.0
            await until(lambda: attempts() == 3, 20, "attempts that hang")
            turns = dispatch.turned_s
            await until(lambda: dispatch.turned_s > turns + 2, 10, "time for more of them")
            assert attempts() == 3
            assert dispatch.degraded
            answers.set()
            await until(lambda: attempts() < 3, 5, "they end")

    asyncio.run(live())


def test_where_no_thread_can_be_started_it_is_tried_again(tmp_path: Path, broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    """Out of memory, or as many as are allowed. Before: it ended the daemon."""
    failed: list[Any] = []
    start = threading.Thread.start

    def fail(thread: threading.Thread) -> None:
        if thread.name == "mqtt connect":
            raise RuntimeError("can't start new thread")
        start(thread)

    async def live() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: failed.append(context))
        with monkeypatch.context() as short:
            short.setattr(threading.Thread, "start", fail)
            async with dispatching(tmp_path, port=broker.port) as dispatch:
                await until(lambda: any("can't start new thread" in said for said in dispatch.degraded), 10, "it is told")
                short.undo()
                await until(lambda: dispatch.connected, 10, "a connection")

    asyncio.run(live())
    assert not failed


def test_a_password_file_that_became_something_else_is_told_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero"), tmp_path, tmp_path / "absent"):
        with pytest.raises(AccessError, match=f"^the MQTT password can not be read from {path}: "):
            load_password(Access(user="door", password_file=str(path)))


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a file system of its own")
@pytest.mark.parametrize("trouble", ["full", "read-only"])
def test_a_disk_that_takes_nothing_is_told_and_healed_and_nothing_is_lost(tmp_path: Path, broker: Broker, trouble: str) -> None:
    mounted = tmp_path / "card"
    mounted.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(mounted)], capture_output=True).returncode:
        pytest.skip("no mounts here")
    if trouble == "read-only":
        subprocess.run(["mount", "-o", "remount,ro", str(mounted)], check=True)
    arrivals = Arrivals(broker.port)
    proxy = FaultProxy(broker.port).start()
    proxy.become("refuse")
    source = Source(
        port=proxy.port,
        state_folder=str(mounted / "state"),
        events=1000,
        per_s=50.0,
        outbox={"min_free_mb": 0.0, "backlog_per_s": 500.0},
    )
    try:
        wait_for(lambda: source.said.get("counters", {}).get("queued", 0) > 50, 60, "events are stored")
        if trouble == "full":
            ballast = mounted / "ballast"
            with ballast.open("wb", buffering=0) as file:
                try:
                    while file.write(b"x" * 512):
                        pass
                except OSError:
                    pass
        told = lambda: any("in memory" in sentence for sentence in source.said["degraded"])  # noqa: E731
        began = time.monotonic()
        wait_for(told, 8, "degraded")
        degraded_s = time.monotonic() - began
        if trouble == "full":
            ballast.unlink()
        else:
            subprocess.run(["mount", "-o", "remount,rw", str(mounted)], check=True)
        began = time.monotonic()
        wait_for(lambda: not told(), 30, "healed")
        print(f"{trouble}: degraded after {degraded_s:.1f} s, healed after {time.monotonic() - began:.1f} s")
        proxy.become("")
        source.wait_done(60)
        wait_for(lambda: arrivals.labels() == set(range(1, 1001)), 20, "nothing is lost")
        counters = source.said["done"]
        assert counters["events"] == counters["delivered"] == 1000
    finally:
        source.kill()
        subprocess.run(["umount", "-l", str(mounted)], check=False)
        proxy.close()
        arrivals.close()
