"""Which rows wait, and which were delivered and are kept: in memory, so that no timer and no hand-out reads a whole table."""

from collections import deque
from collections.abc import Iterator

from edged.delivery.outbox.ranges import Ranges
from edged.delivery.outbox.rows import EVENT, Row

_MARK_NS = 10**9


class Waiting:
    """By n, and by boot and seq. Thread: the outbox's."""

    def __init__(self) -> None:
        self.events, self.gaps = Ranges(), Ranges()  # n
        self.kept = Ranges()  # n of delivered rows
        self.bytes = 0
        self._seqs: dict[str, Ranges] = {}  # of events

    @property
    def rows(self) -> int:
        return len(self.events) + len(self.gaps)

    def __contains__(self, n: int) -> bool:
        return n in self.events or n in self.gaps

    def add(self, row: Row) -> None:
        if (self.events if row.kind == EVENT else self.gaps).add(row.n):
            self.bytes += row.size
            if row.kind == EVENT:
                self._seqs.setdefault(row.boot, Ranges()).add(row.seq)

    def remove(self, row: Row) -> None:
        if (self.events if row.kind == EVENT else self.gaps).remove(row.n):
            self.bytes -= row.size
            if row.kind == EVENT and (seqs := self._seqs.get(row.boot)) is not None:
                seqs.remove(row.seq)
                if not seqs:
                    del self._seqs[row.boot]

    def replace(self, by: "Waiting") -> None:
        """As if those had been added, and only those. What is kept stays."""
        self.events, self.gaps, self.bytes, self._seqs = by.events, by.gaps, by.bytes, by._seqs

    def forget(self, row: Row) -> bool:
        """A row of which only n can be believed; whether it was an event."""
        if self.gaps.remove(row.n):
            return False
        return self.events.remove(row.n)

    def forget_seq(self, row: Row) -> bool:
        """The event's name, if what the row says of it can be true."""
        seqs = self._seqs.get(row.boot) if isinstance(row.boot, str) else None
        return seqs is not None and isinstance(row.seq, int) and seqs.remove(row.seq)

    def in_order(self) -> Iterator[int]:
        """All of them, the lowest n first."""
        events, gaps = iter(self.events), iter(self.gaps)
        event, gap = next(events, None), next(gaps, None)
        while event is not None or gap is not None:
            if gap is None or (event is not None and event < gap):
                assert event is not None
                yield event
                event = next(events, None)
            else:
                yield gap
                gap = next(gaps, None)

    def missing(self, found: "Waiting") -> dict[str, list[int]]:
        """By boot: the events that wait here and were not found there."""
        lost = {}
        for boot, seqs in self._seqs.items():
            there = found._seqs.get(boot, Ranges())
            if gone := [seq for seq in seqs if seq not in there]:
                lost[boot] = gone
        return lost


class Young:
    """From which n on events can be younger than an age: what was stored before that happened before, too."""

    def __init__(self, age_ns: int) -> None:
        self._age_ns = age_ns
        self._marks: deque[tuple[int, int]] = deque()  # when, and the first n that was stored from then on
        self._first_n = 0

    def begin(self, n: int) -> None:
        """What lay in the outbox when it was opened."""
        self._first_n = n

    def stored(self, n: int, now_ns: int) -> None:
        if not self._marks or now_ns - self._marks[-1][0] >= _MARK_NS:
            self._marks.append((now_ns, n))

    def since_n(self, now_ns: int) -> int:
        while len(self._marks) > 1 and self._marks[1][0] <= now_ns - self._age_ns:
            self._first_n = self._marks.popleft()[1]
        if self._marks and self._marks[0][0] <= now_ns - self._age_ns:
            self._first_n = max(self._first_n, self._marks[0][1])
        return self._first_n
