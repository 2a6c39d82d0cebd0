"""Where a packet begins and ends in the bytes of a broker, and how much of it is kept: never more than was agreed.

MQTT 5.0, 2.1 (fixed header) and 3.3 (PUBLISH); 3.1.1 has the same framing. Pure: bytes in, packets out.
"""

from collections.abc import Iterator
from dataclasses import dataclass

CONNACK, PUBLISH = 0x20, 0x30
_HEAD_BYTES = 512  # kept of a packet that is too large: its topic and number
_MOST_LENGTH_BYTES = 4


class MalformedError(Exception):
    """Bytes that no MQTT broker sends."""


@dataclass(frozen=True, slots=True)
class Packet:
    """`first`: the first byte of the fixed header. `body`: what follows that, of one that is too large only the beginning."""

    first: int
    body: bytearray
    length: int

    @property
    def is_whole(self) -> bool:
        return len(self.body) == self.length

    def topic_and_number(self) -> tuple[str, int]:
        """Of a PUBLISH: its topic as far as it is kept, and its number, 0 where it has none or none is kept."""
        size = int.from_bytes(self.body[:2], "big")
        topic = self.body[2 : 2 + size].decode("utf-8", "replace")
        has_number = self.first & 0x06 and len(self.body) >= 4 + size
        return topic, int.from_bytes(self.body[2 + size : 4 + size], "big") if has_number else 0


class Packets:
    """Of one connection. `most_bytes`: of one packet that is kept whole. Thread: one at a time."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._first: int | None = None
        self._length, self._length_bytes = 0, 0
        self._keep = 0
        self._left: int | None = None  # bytes of the body that are still to come; None: the length is being read
        self._body = bytearray()

    def feed(self, data: bytes) -> Iterator[Packet]:
        """The packets that end in these bytes. Raises MalformedError."""
        at, end = 0, len(data)
        while at < end:
            if self._first is None:
                self._first = data[at]
                self._length = self._length_bytes = 0
                at += 1
            elif self._left is None:
                at = self._read_length(data, at)
            else:
                at = self._read_body(data, at)
            if self._left == 0 and self._first is not None:
                packet = Packet(self._first, self._body, self._length)
                self._first, self._left, self._body = None, None, bytearray()
                yield packet

    def _read_length(self, data: bytes, at: int) -> int:
        byte = data[at]
        self._length |= (byte & 0x7F) << 7 * self._length_bytes
        self._length_bytes += 1
        if not byte & 0x80:
            self._left = self._length
            self._keep = self._length if self._length <= self._most_bytes else _HEAD_BYTES
        elif self._length_bytes == _MOST_LENGTH_BYTES:
            raise MalformedError("the length of a packet has more than 4 bytes")
        return at + 1

    def _read_body(self, data: bytes, at: int) -> int:
        assert self._left is not None
        taken = min(self._left, len(data) - at)
        if (room := self._keep - len(self._body)) > 0:
            self._body += data[at : at + min(taken, room)]
        self._left -= taken
        return at + taken
