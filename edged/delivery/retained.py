"""Retained topics: of each the last value counts, and is sent again after every reconnect. Nothing of it touches the disk."""

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from edged.delivery.messages import Body, Stamp, to_payload, to_rfc3339
from edged.system.clock import Clock


class Stamps:
    """Gives each message of a topic its number. Durable ones get theirs from the outbox."""

    def __init__(self, clock: Clock, boot: str) -> None:
        self._clock, self._boot = clock, boot
        self._seq: Counter[str] = Counter()

    def next(self, topic: str, happened_ns: int) -> Stamp:
        """The stamp of a message that will be sent."""
        self._seq[topic] += 1
        return self._stamp(self._seq[topic], happened_ns)

    def peek(self, topic: str, happened_ns: int) -> Stamp:
        """The stamp that `next` will give: for a message that may yet be dropped, and then uses up no number."""
        return self._stamp(self._seq[topic] + 1, happened_ns)

    def use(self, topic: str) -> None:
        """The message whose stamp was peeked at is on its way."""
        self._seq[topic] += 1

    def _stamp(self, seq: int, happened_ns: int) -> Stamp:
        return Stamp(
            schema_="edged/1",
            id=f"{self._boot}-{seq}",
            boot=self._boot,
            seq=seq,
            time=to_rfc3339(self._clock.to_wall(happened_ns)),
            clock_synced=self._clock.synced(),
        )


_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 4.0  # between two attempts at a value that was refused, on one connection


@dataclass(frozen=True, slots=True)
class Value:
    """What is to be sent on a topic. `number`: which value of it, so that a late answer is not taken for another's."""

    topic: str
    payload: bytes
    number: int


class Retained:
    """A refusal belongs to one connection and one value, and even there it is tried again. Thread: the event loop's."""

    def __init__(self, stamps: Stamps, now_s: Callable[[], float] = time.monotonic) -> None:
        self._stamps, self._now_s = stamps, now_s
        self._values: dict[str, tuple[Body | str, int]] = {}  # by topic: body, happened_ns
        self._taken_back: dict[str, Callable[[], None]] = {}  # topics that are to be empty
        self._numbers: Counter[str] = Counter()
        self._payloads: dict[str, bytes] = {}  # of the values, once they were sent
        self._unsent: dict[str, float] = {}  # topics whose value must be sent, in order, and from when on (monotonic s)
        self._pauses_s: dict[str, float] = {}
        self.refused: dict[str, tuple[str, int]] = {}  # by topic: why, and how often since the broker last took it

    def values(self) -> dict[str, tuple[Body | str, int]]:
        """By topic: body, happened_ns."""
        return dict(self._values)

    def ready(self, passed_over: Callable[[str], bool]) -> str | None:
        """The next topic to send; not one that is passed over."""
        now_s = self._now_s()
        return next((topic for topic, due_s in self._unsent.items() if due_s <= now_s and not passed_over(topic)), None)

    def next_s(self) -> float | None:
        """Seconds until a topic that was refused is tried again; None where none waits for that."""
        now_s = self._now_s()
        return min((due_s - now_s for due_s in self._unsent.values() if due_s > now_s), default=None)

    def waits(self, topic: str) -> bool:
        return topic in self._unsent

    def put(self, topic: str, body: Body | str, happened_ns: int) -> None:
        """The value now; what was not yet sent of it is replaced."""
        self._values[topic] = (body, happened_ns)
        self._taken_back.pop(topic, None)
        self._numbers[topic] += 1
        self._payloads.pop(topic, None)
        self._pauses_s.pop(topic, None)
        self._unsent[topic] = 0.0

    def take_back(self, topic: str, then: Callable[[], None]) -> None:
        """Nothing is to be kept on this topic; `then` is called once the broker has taken that."""
        self.put(topic, "", 0)
        self._taken_back[topic] = then

    def send_all(self) -> None:
        """After a reconnect: every value, in the order in which the topics came up."""
        self._unsent = dict.fromkeys(self._values, 0.0)
        self._pauses_s.clear()

    def send_again(self, topic: str, number: int) -> None:
        """That value was not taken now: it is tried again after a pause, unless there is another by now."""
        if number == self._numbers[topic]:
            pause_s = self._pauses_s.get(topic, _FIRST_PAUSE_S)
            self._pauses_s[topic] = min(_LONGEST_PAUSE_S, pause_s * 2)
            self._unsent.setdefault(topic, self._now_s() + pause_s)

    def heard(self, topic: str, payload: bytes) -> None:
        """Somebody said that on our topic. What is no longer ours there is said again."""
        if topic in self._payloads and self._payloads[topic] != payload:
            self.send_again(topic, self._numbers[topic])

    def forgive(self) -> None:
        """Another broker, or another account: what was refused may be taken there."""
        self.refused.clear()

    def taken(self, topic: str, number: int) -> None:
        """The broker has it."""
        if number == self._numbers[topic]:
            self.refused.pop(topic, None)
            self._pauses_s.pop(topic, None)
            if (then := self._taken_back.pop(topic, None)) is not None:
                del self._values[topic]  # said once: a subscriber that knows nothing of it would take it for a fault
                then()

    def refuse(self, topic: str, number: int, why: str) -> bool:
        """Counted, and tried again after a pause; whether that is news. Of an older value it says nothing."""
        if number != self._numbers[topic]:
            return False
        before, times = self.refused.get(topic, ("", 0))
        self.refused[topic] = (why, times + 1)
        self.send_again(topic, number)
        return before != why

    def take(self, topic: str) -> Value:
        """What to send now. The payload of one value is the same each time: its id too."""
        self._unsent.pop(topic, None)
        if topic not in self._payloads:
            body, happened_ns = self._values[topic]
            if isinstance(body, str):
                payload = body.encode("utf-8", "replace")
            else:
                payload = to_payload(body, self._stamps.next(topic, happened_ns))
            self._payloads[topic] = payload
        return Value(topic, self._payloads[topic], self._numbers[topic])
