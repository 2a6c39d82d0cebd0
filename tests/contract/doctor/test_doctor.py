"""The doctor against a real Mosquitto with passwords, ACLs and limits, against a running daemon, and as a command."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
import pytest

from edged.delivery.broker.access import Access
from edged.doctor.broker import CHECKS, RunningDaemon, Settable, check_broker
from edged.doctor.broker_talk import LIMIT_S, talk
from edged.doctor.finding import Finding
from edged.doctor.mosquitto import Mosquitto, to_fault
from tests.e2e.conftest import album, broker, config, heard  # noqa: F401  # the same fixtures
from tests.e2e.running import HANG_S, Broker, Edged, Heard, edged_with, free_port, wait_for

HERE = Mosquitto(installed=True)
BASE = "edged/door"


def look(port: int, here: Mosquitto = HERE, *, snapshot_bytes: int = 0, **access: Any) -> dict[str, Finding]:
    reached = Access(**({"host": "127.0.0.1", "port": port, "client_id": "edged-door"} | access))
    settable = Settable(version="set version", client_id="set id", tls_ca="set ca")
    found = {one.check: one for one in check_broker(reached, BASE, here, settable, RunningDaemon(), snapshot_bytes=snapshot_bytes)}
    assert tuple(found) == CHECKS
    return found


def states(found: dict[str, Finding]) -> list[str]:
    """Of the checks of the broker itself; no edged has told here who it is."""
    return [found[check].state for check in CHECKS if check != "device-id"]


def test_another_edged_with_our_id_is_told(broker: Broker, heard: Heard) -> None:  # noqa: F811
    assert look(broker.port)["device-id"].state == "skipped"
    for device in ("door", "gate"):
        heard.publish(f"edged/{device}/info", b'{"device_id": "0123"}', retain=True)
    assert look(broker.port)["device-id"].state == "ok", "what is left of a name that is not used any more is nobody"
    heard.publish("edged/gate/status", b"online", retain=True)
    found = look(broker.port)["device-id"]
    assert found.state == "warn" and "edged/gate" in found.found and "machine-id" in found.cure
    heard.publish("edged/gate/info", b'{"device_id": "4567"}', retain=True)
    heard.publish("edged/lane/info", b"[" * 4000, retain=True)
    heard.publish("edged/lane/status", b"online", retain=True)
    assert look(broker.port)["device-id"].state == "ok"


@pytest.fixture
def passwords(tmp_path: Path) -> Path:
    file = tmp_path / "passwd"
    file.touch(0o600)
    subprocess.run(["mosquitto_passwd", "-b", str(file), "edged", "right"], check=True, capture_output=True)
    return file


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    file = tmp_path / "secret"
    file.write_text("right\n")
    return file


@pytest.mark.parametrize("version", [5, 4])
def test_a_broker_that_is_well(broker: Broker, version: int) -> None:  # noqa: F811
    assert states(look(broker.port, version=version)) == ["ok"] * 5


def test_nobody_answers() -> None:
    found = look(free_port())
    assert states(found) == ["fail", "skipped", "skipped", "skipped", "skipped"]
    assert "does not run" in found["broker-reach"].found and "systemctl" in found["broker-reach"].cure
    assert "apt install mosquitto" in look(free_port(), Mosquitto())["broker-reach"].cure
    listening = Mosquitto(installed=True, listeners=((1, ""),))
    assert "listener" in look(free_port(), listening)["broker-reach"].cure


def test_a_name_that_nobody_knows() -> None:
    found = look(1883, host="no-such-host.invalid")
    assert states(found)[0] == "fail" and "getent hosts no-such-host.invalid" in found["broker-reach"].cure


def test_something_that_is_no_broker_is_left_in_time() -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as silent, ThreadPoolExecutor(1) as beside:
        found = beside.submit(look, silent.getsockname()[1]).result(LIMIT_S + 10)
    assert states(found)[0] == "fail" and "no answer" in found["broker-reach"].found


def test_passwords(tmp_path: Path, passwords: Path, secret: Path) -> None:
    broker = Broker(tmp_path, f"password_file {passwords}", "allow_anonymous false")  # noqa: F811
    here = Mosquitto(installed=True, options={"password_file": (str(passwords), "x"), "allow_anonymous": ("false", "/c f")})
    try:
        assert states(look(broker.port, here, user="edged", password_file=str(secret))) == ["ok"] * 5
        anonymous = look(broker.port, here)["broker-login"]
        assert anonymous.state == "fail" and "allow_anonymous true" in anonymous.cure and "'/c f'" in anonymous.cure
        secret.write_text("wrong\n")
        found = look(broker.port, here, user="edged", password_file=str(secret))
        assert states(found) == ["ok", "fail", "skipped", "skipped", "skipped"]
        cure = found["broker-login"].cure
        assert "wrong" not in str(found) and str(secret) in cure and "mosquitto_passwd -b" in cure
        run(cure, tmp_path, broker)
        assert states(look(broker.port, here, user="edged", password_file=str(secret))) == ["ok"] * 5
        secret.unlink()
        gone = look(broker.port, here, user="edged", password_file=str(secret))
        assert states(gone)[:2] == ["skipped", "skipped"]
    finally:
        broker.end()


@pytest.mark.parametrize("version", [5, 4])
@pytest.mark.parametrize("rule", ["topic readwrite other/#", f"topic write {BASE}/#", f"topic read {BASE}/#"])
def test_an_acl_that_forbids(tmp_path: Path, passwords: Path, secret: Path, rule: str, version: int) -> None:
    rules = tmp_path / "acl"
    rules.write_text(f"user edged\n{rule}\n")
    broker = Broker(tmp_path, f"password_file {passwords}", f"acl_file {rules}")  # noqa: F811
    here = Mosquitto(installed=True, options={"acl_file": (str(rules), "x")})
    try:
        found = look(broker.port, here, user="edged", password_file=str(secret), version=version)
        assert states(found)[:4] == ["ok", "ok", "fail", "skipped"]
        run(found["broker-topics"].cure, tmp_path, broker)
        assert states(look(broker.port, here, user="edged", password_file=str(secret), version=version)) == ["ok"] * 5
    finally:
        broker.end()


def test_an_acl_for_nobody_in_particular(tmp_path: Path) -> None:
    rules = tmp_path / "acl"
    rules.write_text("user other\ntopic readwrite #\n")
    broker = Broker(tmp_path, f"acl_file {rules}")  # noqa: F811
    here = Mosquitto(installed=True, options={"acl_file": (str(rules), "x")})
    try:
        found = look(broker.port, here)
        assert found["broker-topics"].state == "fail"
        run(found["broker-topics"].cure, tmp_path, broker)
        assert states(look(broker.port, here)) == ["ok"] * 5
    finally:
        broker.end()


@pytest.mark.parametrize(
    ("line", "version", "says"),
    [
        ("max_packet_size 1000", 5, "1000 bytes"),
        ("max_packet_size 1000", 4, "does not pass on"),
        ("message_size_limit 1000", 5, "does not pass on"),
        ("message_size_limit 1000", 4, "does not pass on"),
        ("max_qos 0", 5, "acknowledges nothing"),
        ("retain_available false", 5, "keeps no retained"),
    ],
)
def test_limits(tmp_path: Path, line: str, version: int, says: str) -> None:
    broker = Broker(tmp_path, line)  # noqa: F811
    file = tmp_path / f"mosquitto-{broker.port}.conf"
    here = Mosquitto(installed=True, options={line.split()[0]: (line.split()[1], str(file))})
    try:
        found = look(broker.port, here, version=version)
        assert states(found)[:4] == ["ok", "ok", "ok", "fail"] and says in found["broker-limits"].found
        run(found["broker-limits"].cure, tmp_path, broker)
        broker.end()
        broker.start()
        assert states(look(broker.port, here, version=version)) == ["ok"] * 5
    finally:
        broker.end()


def test_snapshots_that_do_not_pass_are_told(tmp_path: Path) -> None:
    broker = Broker(tmp_path, "max_packet_size 100000")  # noqa: F811
    try:
        assert look(broker.port, snapshot_bytes=262_144)["broker-limits"].state == "warn"
        assert look(broker.port, snapshot_bytes=80_000)["broker-limits"].state == "ok"
    finally:
        broker.end()


def test_who_subscribes_hears_nothing_that_looks_like_edged(broker: Broker, heard: Heard) -> None:  # noqa: F811
    ours = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, "edged-door", protocol=mqtt.MQTTv5)
    thrown_out = threading.Event()
    ours.on_disconnect = lambda *_: thrown_out.set()
    ours.connect("127.0.0.1", broker.port)
    ours.loop_start()
    found = talk(Access(host="127.0.0.1", port=broker.port, client_id="edged-door"), BASE, (128, 4096))
    assert found.echoed == {128, 4096}
    wait_for(lambda: len(heard.messages) >= 2, 5, "the two messages")
    assert {(topic, retained) for topic, _, retained in heard.messages} == {(f"{BASE}/doctor", False)}
    assert not thrown_out.is_set()
    ours.loop_stop()


def test_an_edged_elsewhere_with_our_name_is_told(broker: Broker, heard: Heard) -> None:  # noqa: F811
    heard.publish(f"{BASE}/status", b"online", retain=True)
    assert look(broker.port)["client-id"].state == "warn"
    heard.publish(f"{BASE}/health", b'{"faults": [{"kind": "client_id_taken"}]}', retain=True)
    assert look(broker.port)["client-id"].state == "fail"
    heard.publish(f"{BASE}/health", b'{"faults": [7, "' + b"[" * 5000, retain=True)
    heard.publish(f"{BASE}/status", b"offline", retain=True)
    assert look(broker.port)["client-id"].state == "ok"


@pytest.fixture
def rival(broker: Broker) -> Iterator[threading.Event]:  # noqa: F811
    """Another client that wants the daemon's id for itself, again and again, until the event is set."""
    given_up = threading.Event()

    def fight() -> None:
        while not given_up.is_set():
            one = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, "edged-test", protocol=mqtt.MQTTv5)
            one.connect("127.0.0.1", broker.port)
            thrown_out = threading.Event()
            one.on_disconnect = lambda *_, out=thrown_out: out.set()
            one.loop_start()
            while not (given_up.is_set() or thrown_out.wait(0.05)):
                pass
            one.loop_stop()

    fighting = threading.Thread(target=fight, daemon=True)
    fighting.start()
    yield given_up
    given_up.set()
    fighting.join(HANG_S)


def test_two_clients_with_one_id(tmp_path: Path, config: dict[str, Any], rival: threading.Event) -> None:  # noqa: F811
    with edged_with(tmp_path, config) as running:
        found = wait_for(lambda: failed(running, "client-id"), 60, "the doctor sees the rival")
        assert "edged-test" in found["found"]
        run(found["cure"], tmp_path)
        # the daemon follows its file, and has an id of its own now
        wait_for(lambda: not failed(running, "client-id"), 60, "the doctor sees none any more")
        assert running.process.poll() is None


def failed(running: Edged, check: str) -> dict[str, Any] | None:
    found = {one["check"]: one for one in json.loads(doctor("--json", "-c", str(running.config)).stdout)}
    return found[check] if found[check]["state"] == "fail" else None


def doctor(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "edged", "doctor", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, env=os.environ | environment)


def test_as_a_command_beside_a_running_daemon(tmp_path: Path, config: dict[str, Any], heard: Heard) -> None:  # noqa: F811
    with edged_with(tmp_path, config) as running:
        wait_for(lambda: heard.of("result"), 30, "a result")
        told = doctor("--json", "-c", str(running.config))
        assert not told.stderr
        found = {one["check"]: one for one in json.loads(told.stdout)}
        assert all(set(one) == {"check", "state", "found", "cure"} for one in found.values())
        for check in ("config", "numpy", "runtime", "colour-order", "model-files", "model-runs", *CHECKS):
            assert found[check]["state"] == "ok", found[check]
        assert str(running.process.pid) in found["client-id"]["found"] and "XNNPACK took" in found["model-runs"]["found"]
        assert told.returncode == int(any(one["state"] == "fail" for one in found.values()))
        assert all(one["cure"] for one in found.values() if one["state"] in ("warn", "fail"))
        assert heard.of("status") == ["online"]
        assert heard.of("health")[-1]["vision_restarts"] == 0
        documented = (Path(__file__).parents[3] / "docs/doctor.md").read_text()
        assert [check for check in found if f"\n| `{check}` |" not in documented] == []
        assert documented.count("\n| `") == len(found)
        plain = doctor("-c", str(running.config))
        assert plain.returncode == told.returncode and "✓ model-runs" in plain.stdout and " ok" in plain.stdout.splitlines()[-1]
        assert running.end() == 0


@pytest.mark.parametrize(
    "content", [b"", b"\xff\xfe", b"[mqtt", b"mqtt = 5\n", b"[camera]\nkind = 'nothing'\n", b"x" * 100_000, None]
)
def test_odd_configs_are_findings(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "edged.toml"
    if content is None:
        file.mkdir()
    else:
        file.write_bytes(content)
    told = doctor("--json", "-c", str(file), XDG_STATE_HOME=str(tmp_path))
    found = {one["check"]: one["state"] for one in json.loads(told.stdout)}
    assert "Traceback" not in told.stderr and found["config"] == ("ok" if content == b"" else "fail")
    assert content == b"" or told.returncode == 1


def test_a_real_database_cut_anywhere(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    broker = Broker(tmp_path, "persistence true", f"persistence_location {tmp_path}/")  # noqa: F811
    heard = Heard(broker.port)  # noqa: F811
    for number in range(5):
        heard.publish(f"t/{number}", b"kept", retain=True)
    heard.close()
    broker.end(signal.SIGTERM)
    data = (tmp_path / "mosquitto.db").read_bytes()
    assert not to_fault(data) and not to_fault(b"")
    unseen = [at for at in range(1, len(data)) if not to_fault(data[:at])]
    assert len(unseen) < 12, unseen  # between two chunks it is a shorter database
    assert to_fault(bytes(500)) and to_fault(b"x" + data[1:])


def run(cure: str, folder: Path, broker: Broker | None = None) -> None:  # noqa: F811
    """A cure as it is printed, where `sudo` is nothing and `systemctl reload mosquitto` means the test's own."""
    tools = folder / "tools"
    tools.mkdir(exist_ok=True)
    signals = f'[ "$1" != reload ] || kill -HUP {broker.process.pid}' if broker else "true"
    for name, script in (("sudo", 'exec "$@"'), ("systemctl", signals)):
        (tools / name).write_text(f"#!/bin/sh\n{script}\n")
        (tools / name).chmod(0o755)
    path = f"{tools}:{os.environ['PATH']}"
    done = subprocess.run(["bash", "-c", cure], capture_output=True, text=True, env=os.environ | {"PATH": path}, timeout=HANG_S)
    assert done.returncode == 0, f"{cure}\n{done.stderr}"
