"""The last hour, a row a second: what was seen, how fast, how hot. A ring of packed rows, and how to read it again.

Packed, because an hour of Python's objects is megabytes and this is 86 kB. The courier fills it, the page reads it.
"""

import base64
import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

ROWS = 3600
_TOP = 3
_MOST_LABELS = 2000  # that are known by name; one model has at most 1001, and an hour may see several
_NONE = 0xFFFF
# second since the ring began, looks, state, three labels, three scores, label that was said, latency in ms, °C
_ROW = struct.Struct("<IBB3H3eHef")
STATES = ("ok", "starting", "lost", "frozen", "paused", "")


@dataclass(frozen=True, slots=True)
class HourRow:
    """second: monotonic, since the ring began; scores: the best three of the last look, best first; looks: in this second.

    said: the label that was current. latency_ms and temperature_c are None where nobody knows.
    """

    second: int
    looks: int
    state: str
    scores: dict[str, float]
    said: str
    latency_ms: float | None
    temperature_c: float | None


class Hour:
    """Thread: one."""

    def __init__(self, rows: int = ROWS) -> None:
        self._rows = rows
        self._ring = bytearray()
        self._next = 0
        self._labels: dict[str, int] = {}

    @property
    def size_bytes(self) -> int:
        """Of what is kept."""
        return len(self._ring) + sum(len(label) + 100 for label in self._labels)

    def forget(self) -> None:
        self._ring, self._next, self._labels = bytearray(), 0, {}

    def add(self, row: HourRow) -> None:
        """The oldest gives way."""
        best = sorted(row.scores.items(), key=lambda one: -one[1])[:_TOP]
        best += [("", 0.0)] * (_TOP - len(best))
        packed = _ROW.pack(
            row.second,
            min(row.looks, 255),
            STATES.index(row.state) if row.state in STATES else len(STATES) - 1,
            *(self._number(label) for label, _ in best),
            *(score for _, score in best),
            self._number(row.said),
            _half(row.latency_ms),
            math.nan if row.temperature_c is None else row.temperature_c,
        )
        at = self._next * _ROW.size
        self._ring[at : at + _ROW.size] = packed
        self._next = (self._next + 1) % self._rows

    def to_dict(self, since: int = -1) -> dict[str, Any]:
        """All rows of later seconds than `since`, oldest first, for `read_rows`."""
        split = self._next * _ROW.size
        whole = bytes(self._ring[split:] + self._ring[:split]) if len(self._ring) == self._rows * _ROW.size else bytes(self._ring)
        first = next((at for at in range(0, len(whole), _ROW.size) if _ROW.unpack_from(whole, at)[0] > since), len(whole))
        return {"rows": base64.b64encode(whole[first:]).decode(), "labels": list(self._labels)}

    def _number(self, label: str) -> int:
        if not label:
            return _NONE
        if label not in self._labels:
            if len(self._labels) >= _MOST_LABELS:
                return _NONE
            self._labels[label] = len(self._labels)
        return self._labels[label]


def read_rows(told: Mapping[str, Any]) -> list[HourRow]:
    """What `to_dict` gave. Raises ValueError for anything else."""
    try:
        data, labels = base64.b64decode(told["rows"], validate=True), [str(label) for label in told["labels"]]
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"no rows of an hour: {error}") from None
    if len(data) % _ROW.size or len(data) > ROWS * _ROW.size:
        raise ValueError("no rows of an hour: their size is odd")
    return [_to_row(fields, labels) for fields in _ROW.iter_unpack(data)]


def _to_row(fields: Sequence[Any], labels: Sequence[str]) -> HourRow:
    second, looks, state, *rest = fields
    names = [labels[number] if number < len(labels) else "" for number in rest[:3]]
    return HourRow(
        second=second,
        looks=looks,
        state=STATES[min(state, len(STATES) - 1)],
        scores={name: score for name, score in zip(names, rest[3:6], strict=True) if name},
        said=labels[rest[6]] if rest[6] < len(labels) else "",
        latency_ms=None if math.isnan(rest[7]) else rest[7],
        temperature_c=None if math.isnan(rest[8]) else rest[8],
    )


def _half(value: float | None) -> float:
    """What 16 bits hold: 0..65504."""
    return math.nan if value is None else min(max(value, 0.0), 65504.0)
