"""A bounds-checked reader of flatbuffers: tables, vectors and strings of a file that may be damaged.

Every read is checked by struct against the end of the bytes. What is damaged raises struct.error, ValueError, IndexError
or OverflowError (`DAMAGE`), and nothing else.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

DAMAGE = (struct.error, ValueError, IndexError, OverflowError)
_MOST = 100_000  # longer lists than any MobileNet has; a bound for damaged lengths


@dataclass(frozen=True, slots=True)
class Table:
    """One table, at a place in the bytes."""

    model: bytes
    at: int

    @classmethod
    def root(cls, model: bytes) -> "Table":
        return cls(model, unpack("I", model, 0))

    def _field(self, index: int) -> int:
        """Where a field lies; 0 = absent."""
        vtable = self.at - unpack("i", self.model, self.at)
        size = unpack("H", self.model, vtable)
        slot = 4 + 2 * index
        offset = unpack("H", self.model, vtable + slot) if slot < size else 0
        return self.at + offset if offset else 0

    def number(self, index: int, code: str) -> int:
        at = self._field(index)
        return int(unpack(code, self.model, at)) if at else 0

    def vector(self, index: int) -> range:
        """The positions of a vector's bytes, as many as its length says it has entries."""
        at = self._field(index)
        if not at:
            return range(0)
        at += unpack("I", self.model, at)
        length = unpack("I", self.model, at)
        if at + 4 + length > len(self.model):
            raise ValueError("a list reaches past the end")
        return range(at + 4, at + 4 + length)

    def numbers(self, index: int, code: str) -> tuple[int, ...]:
        places = self.vector(index)
        if len(places) > _MOST:
            raise ValueError("a list is impossibly long")
        return struct.unpack_from(f"<{len(places)}{code}", self.model, places.start) if places else ()

    def text(self, index: int) -> str:
        places = self.vector(index)
        return self.model[places.start : places.stop][:200].decode("utf-8", "replace")

    def table(self, index: int) -> "Table | None":
        at = self._field(index)
        return Table(self.model, at + unpack("I", self.model, at)) if at else None

    def tables(self, index: int) -> Iterator["Table"]:
        places = self.vector(index)
        if len(places) > _MOST:
            raise ValueError("a list is impossibly long")
        for i in range(len(places)):
            at = places.start + 4 * i
            yield Table(self.model, at + unpack("I", self.model, at))


def unpack(code: str, model: bytes, at: int) -> int:
    if at < 0:
        raise ValueError("a place before the start")
    value: int = struct.unpack_from("<" + code, model, at)[0]
    return value
