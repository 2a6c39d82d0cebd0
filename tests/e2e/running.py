"""The daemon as a user runs it, a real Mosquitto, and a subscriber that remembers: shared by the end-to-end tests."""

import contextlib
import json
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
import tomlkit

MOSQUITTO = shutil.which("mosquitto") or "mosquitto"  # where tests/conftest.py lets it be looked for
HANG_S = 120.0  # what takes a moment may take a minute where other things run too; what takes longer hangs
AT_REST = os.environ.get("EDGED_CAMPAIGN") == "full"  # the machine has nothing else to do, so that times can be judged


def free_port() -> int:
    """Of 127.0.0.1, below those that the kernel gives to whoever connects: nobody takes it while a broker is away for a while,
    and two runs of the tests that look at the same time hardly find the same one."""
    first_given = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    while True:
        port = 10_000 + secrets.randbelow(max(first_given - 10_000, 10_000))
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def wait_for(condition: Callable[[], Any], deadline_s: float, what: str) -> Any:
    """The condition's first true value. The pause only spares the processor; no test depends on its length.

    The deadline only ends a hang, and is never shorter than HANG_S: a time that is promised is judged by `promised`.
    """
    deadline_s = max(deadline_s, HANG_S)
    ends = time.monotonic() + deadline_s
    while time.monotonic() < ends:
        if value := condition():
            return value
        threading.Event().wait(0.02)
    raise AssertionError(f"not within {deadline_s:g} s: {what}")


def promised(what: str, took_s: float, within_s: float) -> None:
    """A time that edged promises: told always, judged where the machine is at rest (EDGED_CAMPAIGN=full)."""
    print(f"{what}: after {took_s:.1f} s; {within_s:g} s are promised")
    assert took_s <= within_s or not AT_REST, f"{what}: after {took_s:.1f} s, not within {within_s:g} s"


def wait_promised(condition: Callable[[], Any], within_s: float, what: str) -> Any:
    """`wait_for` what edged promises to do within a time."""
    began_s = time.monotonic()
    value = wait_for(condition, within_s, what)
    promised(what, time.monotonic() - began_s, within_s)
    return value


class Broker:
    """A Mosquitto of the test's own, on a loopback port, that can be killed and started again on the same port."""

    def __init__(self, folder: Path, *lines: str, port: int | None = None) -> None:
        self.port = port or free_port()
        self._config = folder / f"mosquitto-{self.port}.conf"
        user = ["user root"] if os.geteuid() == 0 else []
        self._config.write_text("\n".join([f"listener {self.port} 127.0.0.1", "allow_anonymous true", *user, *lines, ""]))
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen([MOSQUITTO, "-c", str(self._config)], stderr=subprocess.DEVNULL)
        wait_for(self._answers, 10, "Mosquitto answers")

    def _answers(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 0.2):
            return True
        return False

    def end(self, number: int = signal.SIGTERM) -> None:
        self.process.send_signal(number)
        self.process.wait()


class Heard:
    """Every message of a broker, in order of arrival: (topic, payload, retained)."""

    def __init__(self, port: int, session: str = "") -> None:
        """session: a client id, under which a broker that keeps sessions keeps what comes while it is away itself."""
        self.messages: list[tuple[str, bytes, bool]] = []
        self.first_s_of: dict[str, float] = {}  # by topic: when one came first, monotonic
        self._client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, session, protocol=mqtt.MQTTv5)
        self.about: list[tuple[str, str, dict[str, str]]] = []  # topic, content type, user properties; where there are any
        self._client.on_message = self._hear
        self._client.on_connect = lambda c, *_: c.subscribe("#", qos=1)
        subscribed = threading.Event()
        self._client.on_subscribe = lambda *_: subscribed.set()
        properties = mqtt.Properties(mqtt.PacketTypes.CONNECT)
        properties.SessionExpiryInterval = 3600 if session else 0
        self._client.reconnect_delay_set(1, 2)
        self._client.connect("127.0.0.1", port, clean_start=not session, properties=properties)
        self._client.loop_start()
        assert subscribed.wait(HANG_S)

    def _hear(self, _client: mqtt.Client, _userdata: object, message: mqtt.MQTTMessage) -> None:
        told = message.properties
        if content_type := getattr(told, "ContentType", ""):
            self.about.append((message.topic, content_type, dict(getattr(told, "UserProperty", []))))
        self.first_s_of.setdefault(message.topic, time.monotonic())
        self.messages.append((message.topic, message.payload, message.retain))

    def of(self, topic: str) -> list[Any]:
        """Payloads of edged/<device>/topic; JSON where it is JSON."""
        found = [payload for name, payload, _ in list(self.messages) if name.split("/", 2)[-1] == topic]
        return [json.loads(p) if p[:1] == b"{" else p.decode() for p in found]

    def publish(self, topic: str, payload: bytes, retain: bool = False) -> None:
        self._client.publish(topic, payload, qos=1, retain=retain).wait_for_publish(HANG_S)

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


class Edged:
    """`edged run` with a config of the test's."""

    def __init__(
        self, folder: Path, config: dict[str, Any], environment: dict[str, str] | None = None, python: list[str] | None = None
    ) -> None:
        """`python`: what runs Python, where it is not this one."""
        self.config = folder / "edged.toml"
        self.config.write_text(tomlkit.dumps(config))
        self.said = folder / "edged.log"
        command = [*(python or [sys.executable]), "-m", "edged", "run", "-c", str(self.config)]
        with self.said.open("ab") as log:
            self.process = subprocess.Popen(command, stderr=log, stdout=log, env=os.environ | (environment or {}))

    def vision_pid(self) -> int | None:
        """Not the process that measures models in the background."""
        return next((pid for pid in children(self.process.pid) if b"\0edged.vision\0" in command_line(pid)), None)

    def end(self, deadline_s: float = HANG_S) -> int:
        if self.process.poll() is None:
            self.process.terminate()
        return self.process.wait(deadline_s)


def children(pid: int) -> list[int]:
    try:
        return [int(n) for n in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def descendants(pid: int) -> list[int]:
    return [one for child in children(pid) for one in (child, *descendants(child))]


def turns(pid: int) -> int:
    """How often the main thread of a process has gone to wait: time as the process itself has it, which stands when it hangs."""
    status = Path(f"/proc/{pid}/task/{pid}/status").read_text()
    return int(re.findall(r"^voluntary_ctxt_switches:\s+(\d+)", status, re.MULTILINE)[0])


def works_on(pid: int, count: int, deadline_s: float = 60) -> None:
    """Until it has gone to wait so many times more."""
    before = turns(pid)
    wait_for(lambda: turns(pid) >= before + count, deadline_s, f"{count} turns of process {pid}")


def command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def alive(pid: int) -> bool:
    """A zombie is not alive."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@contextlib.contextmanager
def edged_with(folder: Path, config: dict[str, Any], **more: Any) -> Iterator[Edged]:
    running = Edged(folder, config, **more)
    try:
        yield running
    finally:
        if running.process.poll() is None:
            running.process.kill()
            running.process.wait()
