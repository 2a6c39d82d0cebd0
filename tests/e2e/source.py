"""event_source as a test drives it, and a subscriber that keeps account of what arrived."""

import contextlib
import json
import signal
import subprocess
import sys
import threading
from collections import Counter, deque
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt

from tests.e2e.running import HANG_S, wait_for


class Source:
    """tests/e2e/event_source.py in a process of its own."""

    def __init__(self, **settings: Any) -> None:
        command = [sys.executable, "-m", "tests.e2e.event_source", json.dumps(settings)]
        self.errors = Path(settings["state_folder"]).parent.with_suffix(".log")
        with self.errors.open("ab") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True)
        self._events = int(settings["events"])
        self.said: dict[str, Any] = {}  # the last value of each word
        self.accepted: dict[str, int] = {}  # by boot: the highest committed seq
        self.degraded: deque[list[str]] = deque(maxlen=2000)
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        for line in self.process.stdout or ():
            with contextlib.suppress(ValueError):  # the last line of a killed process
                said = json.loads(line)
                self.said |= said
                if "accepted" in said:
                    boot, seq = said["accepted"]
                    self.accepted[boot] = seq
                if "degraded" in said:
                    self.degraded.append(said["degraded"])

    def ask(self, **request: Any) -> None:
        assert self.process.stdin
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()

    def wait_done(self, deadline_s: float) -> dict[str, Any]:
        wait_for(lambda: "done" in self.said or self.process.poll() is not None, deadline_s, f"done; it said {self.said}")
        assert self.process.poll() is None, self.errors.read_text()[-2000:]
        return dict(self.said["done"])

    def goes_on(self, events: int, deadline_s: float = 60) -> None:
        """Until it has committed so many events more, or all: what a fault lasts, told by the work that goes on meanwhile."""

        def made() -> int:
            return self.accepted.get(self.said.get("started", ""), 0)

        wanted = min(made() + events, self._events)
        wait_for(lambda: made() >= wanted or self.process.poll() is not None, deadline_s, f"{events} events more")

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self._thread.join(HANG_S)

    def end(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(HANG_S)
        self._thread.join(HANG_S)
        return code


class Arrivals:
    """Every event and late event that a subscriber received, in order. Its own connection is never disturbed."""

    def __init__(self, port: int) -> None:
        self.messages: list[tuple[str, dict[str, Any]]] = []
        self.retained_at: dict[str, int] = Counter()
        self._client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, "arrivals", protocol=mqtt.MQTTv5)
        self._client.max_queued_messages_set(0)
        self._client.on_message = self._on_message
        self._subscribed = threading.Event()
        self._client.on_connect = lambda client, *_: client.subscribe("edged/#", qos=1)
        self._client.on_subscribe = lambda *_: self._subscribed.set()
        self._client.reconnect_delay_set(0.05, 0.2)  # type: ignore[arg-type]
        properties = mqtt.Properties(mqtt.PacketTypes.CONNECT)
        properties.SessionExpiryInterval = 3600
        self._client.connect("127.0.0.1", port, clean_start=False, properties=properties)
        self._client.loop_start()
        assert self._subscribed.wait(HANG_S)

    def _on_message(self, _client: mqtt.Client, _userdata: object, message: mqtt.MQTTMessage) -> None:
        topic = message.topic.rsplit("/", 1)[-1]
        if topic in ("event", "backlog"):
            self.messages.append((topic, json.loads(message.payload)))
        else:
            self.retained_at[topic] += 1

    def ids(self) -> Counter[str]:
        return Counter(body["id"] for _topic, body in list(self.messages) if body["event_type"] != "gap")

    def labels(self) -> set[int]:
        return {int(body["label"]) for _topic, body in list(self.messages) if "label" in body}

    def seqs(self, boot: str) -> set[int]:
        return {body["seq"] for _topic, body in list(self.messages) if body["boot"] == boot}

    def gaps(self) -> list[dict[str, Any]]:
        return [body for _topic, body in list(self.messages) if body["event_type"] == "gap"]

    def reordered(self) -> int:
        """First arrivals that come after one with a higher n in the same lane; n is the number of the event."""
        found, seen = 0, set()
        highest: dict[str, int] = {}
        for topic, body in list(self.messages):
            if "label" not in body or body["id"] in seen:
                continue
            seen.add(body["id"])
            number = int(body["label"])
            found += number < highest.get(topic, 0)
            highest[topic] = max(number, highest.get(topic, 0))
        return found

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()
