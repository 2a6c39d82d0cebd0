"""The examples of docs/mqtt.md, as a reader would run them, with real peers that come and go."""

import contextlib
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import paho.mqtt.client as mqtt
import pytest

from tests.e2e.running import HANG_S, Broker, Heard, edged_with, free_port, wait_for
from tests.e2e.source import Source

DOCS = Path(__file__).resolve().parents[2] / "docs"
NODE_RED = Path(os.environ.get("EDGED_BEDS", "/var/tmp/edged-beds"), "node-red")
EVENTS = 400


@pytest.fixture
def keeping(tmp_path):
    """A broker that keeps sessions over its own restart, as docs/mqtt.md asks for."""
    broker = Broker(tmp_path, "persistence true", f"persistence_location {tmp_path}/", "max_queued_messages 0")
    yield broker
    broker.end()


class Example:
    """A program of docs/examples, and what it printed over all its lives."""

    def __init__(self, folder, name, port):
        self._command = [sys.executable, str(DOCS / "examples" / name), "127.0.0.1", str(port)]
        self.printed = folder / f"{name}.txt"
        self.start()

    def start(self):
        with self.printed.open("ab") as out:
            self.process = subprocess.Popen(self._command, stdout=out, stderr=subprocess.DEVNULL)

    def stop(self, number=signal.SIGTERM):
        self.process.send_signal(number)
        self.process.wait(HANG_S)

    def ids(self):
        """How often each id was printed."""
        return Counter(line.split()[1] for line in self.printed.read_text().splitlines() if "-" in line)


@pytest.mark.parametrize(("name", "most_twice"), [("subscriber_paho.py", 1), ("subscriber_aiomqtt.py", 1)])
def test_a_subscriber_survives_restarts_of_broker_source_and_itself(tmp_path, keeping, name, most_twice):
    assert len((DOCS / "examples" / name).read_text().splitlines()) <= 40
    example = Example(tmp_path, name, keeping.port)
    settings = {"port": keeping.port, "state_folder": str(tmp_path / "state"), "per_s": 100}
    (tmp_path / "state").mkdir()
    wait_for(lambda: is_subscribed(keeping), 20, "it has subscribed")
    try:
        source = Source(events=EVENTS, **settings)
        try:
            wait_for(lambda: len(example.ids()) >= 20, 30, "the first events")
            example.stop()  # away: the broker keeps its events
            wait_for(lambda: source.accepted and max(source.accepted.values()) > 150, 30, "more events")
            keeping.end()
            keeping.start()
            example.start()
            source.wait_done(60)
        finally:
            source.end()
        again = Source(events=50, first=EVENTS + 1, **settings)  # another start of the daemon: another boot
        try:
            again.wait_done(60)
        finally:
            again.end()
        wait_for(lambda: len(example.ids()) >= EVENTS + 50, 30, "every event was printed")
    finally:
        example.stop(signal.SIGKILL)
    boots = {boot for boot in (*source.accepted, *again.accepted) if boot}
    ids = example.ids()
    assert {f"{boot}-{seq}" for boot in source.accepted if boot for seq in range(1, EVENTS + 1)} <= ids.keys()
    assert len(ids) == EVENTS + 50 and len(boots) == 2
    # a restarted subscriber has forgotten what it knew: the window of the broker may come once more
    assert sum(count - 1 for count in ids.values()) <= 20 * most_twice


def is_subscribed(broker):
    """Whether the example is: a message to one of its topics has somebody who gets it."""
    probe = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
    codes = []
    probe.on_publish = lambda _c, _u, _mid, code, _p: codes.append(code.value)
    probe.connect("127.0.0.1", broker.port)
    probe.loop_start()
    body = {"boot": "00000000", "seq": 1, "id": "x", "event_type": "entered", "label": "probe"}
    probe.publish("edged/probe/event", json.dumps(body), qos=1).wait_for_publish(5)
    wait_for(lambda: codes, 5, "an answer")
    probe.disconnect()
    probe.loop_stop()
    return codes == [0]  # 16: no matching subscribers


def shown_lines():
    """The lines of the first block of docs/mqtt.md that begin with mosquitto_sub or mosquitto_pub."""
    block = (DOCS / "mqtt.md").read_text().split("```\n")[1]
    return [line.split("   #")[0].strip() for line in block.splitlines()]


@pytest.mark.skipif(shutil.which("mosquitto_sub") is None, reason="mosquitto-clients are not installed")
def test_the_lines_of_the_page_do_what_they_say(tmp_path, config, heard, broker):
    config["device"] = "door"
    label, events, pause = shown_lines()
    assert label.startswith("mosquitto_sub") and "/event" in events and "pause" in pause

    with edged_with(tmp_path, config), running(events, broker.port, "-C", "2") as seen:
        wait_for(lambda: len(heard.of("event")) >= 2, 60, "two events")
        told = [json.loads(line) for line in seen.communicate(timeout=HANG_S)[0].splitlines()]
        assert all(one["schema"] == "edged/1" and one["event_type"] for one in told)
        with running(label, broker.port, "-C", "1") as seen:
            assert re.fullmatch(r"edged/door/label \S.*\n", seen.communicate(timeout=HANG_S)[0])
        with running(pause, broker.port) as sent:
            assert sent.wait(HANG_S) == 0
        wait_for(lambda: heard.of("camera")[-1]["state"] == "paused", 10, "paused")


@contextlib.contextmanager
def running(line, port, *more):
    command = [*shlex.split(line), "-h", "127.0.0.1", "-p", str(port), *more]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@contextlib.contextmanager
def node_red(folder, port):
    """A real Node-RED with the flow of docs/examples; only the broker's address is another."""
    home = folder / "node-red"
    home.mkdir()
    flow = json.loads((DOCS / "examples" / "node-red-flow.json").read_text())
    for node in flow:
        if node["type"] == "mqtt-broker":
            node |= {"broker": "127.0.0.1", "port": str(port)}
    (home / "flows.json").write_text(json.dumps(flow))
    settings = {"uiPort": free_port(), "uiHost": "127.0.0.1", "flowFile": "flows.json", "httpAdminRoot": False}
    (home / "settings.js").write_text(f"module.exports = {json.dumps(settings | {'telemetry': {'enabled': False}})}\n")
    with (folder / "node-red.log").open("ab") as log:
        command = ["node", str(NODE_RED / "node_modules/node-red/red.js"), "--userDir", str(home)]
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(HANG_S)


@pytest.mark.skipif(not (NODE_RED / "built").is_file(), reason=f"no Node-RED in {NODE_RED}; `make bed-node-red` builds it")
def test_the_flow_runs_in_node_red(tmp_path, keeping):
    (tmp_path / "state").mkdir()
    heard = Heard(keeping.port)
    with node_red(tmp_path, keeping.port):
        wait_for(lambda: probed(heard), 90, f"the flow has subscribed; see {tmp_path}/node-red.log")
        source = Source(port=keeping.port, state_folder=str(tmp_path / "state"), per_s=100, events=EVENTS)
        try:
            source.wait_done(60)
            wait_for(lambda: len(logged(heard)) >= EVENTS, 30, "every event went through the flow")
        finally:
            source.end()
        heard.publish("edged/door/event", event(1, "entered"))
        heard.publish("edged/door/event", event(1, "entered"))  # the same once more
        heard.publish("edged/door/event", event(2, "left"))
        heard.publish("edged/door/backlog", event(3, "entered"))  # of long ago: no lamp for it
        wait_for(lambda: len(logged(heard, "log/door")) >= 3, 20, "the door's events")
    heard.close()
    assert logged(heard) == Counter({f"{boot}-{seq}": 1 for boot in source.accepted if boot for seq in range(1, EVENTS + 1)})
    assert [payload for topic, payload, _ in heard.messages if topic == "lamp/door/set"] == [b"ON", b"OFF"]


def probed(heard):
    """Whether an event goes through the flow."""
    heard.publish("edged/probe/event", event(1, "entered"))
    return logged(heard, "log/probe")


def logged(heard, topic="log/source"):
    return Counter(payload.decode().split()[0] for name, payload, _ in list(heard.messages) if name == topic)


def event(seq, event_type):
    body = {"boot": "0a1b2c3d", "seq": seq, "id": f"0a1b2c3d-{seq}", "event_type": event_type, "label": "person"}
    return json.dumps(body).encode()
