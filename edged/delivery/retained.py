"""Retained topics: of each the last value counts, and is sent again after every reconnect. Nothing of it touches the disk."""

from collections import Counter

from edged.delivery.messages import Body, Stamp, to_payload, to_rfc3339
from edged.system.clock import Clock


class Stamps:
    """Gives each message of a topic its number. Durable ones get theirs from the outbox."""

    def __init__(self, clock: Clock, boot: str) -> None:
        self._clock, self._boot = clock, boot
        self._seq: Counter[str] = Counter()

    def next(self, topic: str, happened_ns: int) -> Stamp:
        self._seq[topic] += 1
        seq = self._seq[topic]
        return Stamp(
            schema_="edged/1",
            id=f"{self._boot}-{seq}",
            boot=self._boot,
            seq=seq,
            time=to_rfc3339(self._clock.to_wall(happened_ns)),
            clock_synced=self._clock.synced(),
        )


class Retained:
    """Thread: the event loop's."""

    def __init__(self, stamps: Stamps) -> None:
        self._stamps = stamps
        self._values: dict[str, tuple[Body | str, int]] = {}  # by topic: body, happened_ns
        self._payloads: dict[str, bytes] = {}  # of the values, once they were sent
        self._unsent: dict[str, None] = {}  # topics whose value must be sent, in order
        self._refused: dict[str, str] = {}  # topics whose value the broker does not take

    @property
    def unsent(self) -> bool:
        return bool(self._unsent)

    @property
    def degraded(self) -> list[str]:
        return [f"the broker does not take {topic}: {why}" for topic, why in sorted(self._refused.items())]

    def put(self, topic: str, body: Body | str, happened_ns: int) -> None:
        """The value now; what was not yet sent of it is replaced."""
        self._values[topic] = (body, happened_ns)
        self._payloads.pop(topic, None)
        self._refused.pop(topic, None)
        self._unsent[topic] = None

    def send_all(self) -> None:
        """After a reconnect: every value, in the order in which the topics came up."""
        self._unsent = dict.fromkeys(topic for topic in self._values if topic not in self._refused)

    def send_again(self, topic: str) -> None:
        self._unsent[topic] = None

    def forgive(self) -> None:
        """Another broker, or another account: what was refused may be taken there."""
        self._refused.clear()

    def refuse(self, topic: str, why: str) -> None:
        """Not sent any more until it changes."""
        self._refused[topic] = why
        self._unsent.pop(topic, None)

    def take(self) -> tuple[str, bytes]:
        """The next topic and payload to send. The payload of one value is the same each time: its id too."""
        topic = next(iter(self._unsent))
        del self._unsent[topic]
        if topic not in self._payloads:
            body, happened_ns = self._values[topic]
            payload = body.encode() if isinstance(body, str) else to_payload(body, self._stamps.next(topic, happened_ns))
            self._payloads[topic] = payload
        return topic, self._payloads[topic]
