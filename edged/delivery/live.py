"""Messages that are sent now or not at all, and answers to commands, which wait a little for their acknowledgement."""

import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass

from edged.delivery.broker.client import PublishedWith
from edged.delivery.broker.reconnect import Broker
from edged.delivery.messages import Body, to_payload
from edged.delivery.retained import Stamps
from edged.system.clock import Clock

_MOST_ANSWERS = 16
_MOST_TRIES = 5
_LONGEST_S = 60.0  # an answer that is older helps nobody


class Live:
    """QoS 0. What is not sent is counted by reason and uses up no number. Thread: the event loop's."""

    def __init__(self, broker: Broker, base: str, stamps: Stamps, clock: Clock) -> None:
        self._broker, self._base, self._stamps, self._clock = broker, base, stamps, clock
        self.dropped: Counter[str] = Counter()

    def move(self, broker: Broker, base: str) -> None:
        self._broker, self._base = broker, base

    def send(self, topic: str, body: Body) -> bool:
        """False, and counted, when there is nobody to send it to."""
        if why_not := self._why_not():
            return self._drop(why_not)
        sent = self.send_bytes(topic, to_payload(body, self._stamps.peek(topic, self._clock.monotonic_ns())))
        if sent:
            self._stamps.use(topic)
        return sent

    def send_picture(self, topic: str, jpeg: bytes, *, captured_ns: int, frame: int, event: str) -> bool:
        """As `send`. event: the id of the event that it belongs to, where it is known."""
        stamp = self._stamps.peek(topic, captured_ns)
        told = {"id": stamp.id, "time": stamp.time, "frame": str(frame)} | ({"event": event} if event else {})
        sent = self.send_bytes(topic, jpeg, PublishedWith("image/jpeg", told))
        if sent:
            self._stamps.use(topic)
        return sent

    def send_bytes(self, topic: str, payload: bytes, about: PublishedWith | None = None) -> bool:
        """As `send`, for what is ready."""
        if why_not := self._why_not():
            return self._drop(why_not)
        name = f"{self._base}/{topic}"
        if not self._broker.fits(name, payload, about):
            return self._drop("too_large")
        return self._broker.publish(name, payload, qos=0, about=about) is not None or self._drop("offline")

    def lost(self, count: int) -> None:
        """The connection ended with so many that the network had not taken yet."""
        if count:
            self.dropped["offline"] += count

    def _why_not(self) -> str:
        if not self._broker.connected:
            return "offline"
        return "" if self._broker.has_room else "slow"

    def _drop(self, reason: str) -> bool:
        self.dropped[reason] += 1
        return False


@dataclass(slots=True)
class Answer:
    topic: str
    payload: bytes
    at_s: float
    tries: int = 0


class Answers:
    """QoS 1, the newest few, for a minute: `model/error`, `control/error`. Thread: the event loop's."""

    def __init__(self, now_s: Callable[[], float] = time.monotonic) -> None:
        self._now_s = now_s
        self._waiting: deque[Answer] = deque(maxlen=_MOST_ANSWERS)

    def put(self, topic: str, payload: bytes) -> None:
        self._waiting.append(Answer(topic, payload, self._now_s()))

    def again(self, answer: Answer) -> None:
        """It was not acknowledged."""
        answer.tries += 1
        if answer.tries < _MOST_TRIES and len(self._waiting) < _MOST_ANSWERS:
            self._waiting.appendleft(answer)

    def take(self) -> Answer | None:
        while self._waiting:
            answer = self._waiting.popleft()
            if self._now_s() - answer.at_s < _LONGEST_S:
                return answer
        return None
