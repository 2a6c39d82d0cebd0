"""Which rows wait, which are kept, and which go next: in memory, so that no timer and no hand-out reads a whole table."""

import itertools
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterable, Iterator

from edged.delivery.outbox.rows import EVENT, GAP, LATE_NS, Row

Reads = Callable[[Iterable[int]], Iterator[Row]]

_MARK_NS = 10**9


class Ranges:
    """A set of whole numbers most of which follow each other: a million take a few hundred bytes. Sorted.

    Adding and removing at either end, and asking, take the same time however many there are.
    """

    def __init__(self) -> None:
        self._first: list[int] = []
        self._last: list[int] = []
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __contains__(self, n: int) -> bool:
        i = bisect_right(self._first, n) - 1
        return i >= 0 and n <= self._last[i]

    def __iter__(self) -> Iterator[int]:
        return self.since(0)

    def since(self, n: int) -> Iterator[int]:
        """From n on, the lowest first. Not to be changed meanwhile."""
        i = max(0, bisect_right(self._first, n) - 1)
        for first, last in zip(self._first[i:], self._last[i:], strict=True):
            yield from range(max(first, n), last + 1)

    def __reversed__(self) -> Iterator[int]:
        for first, last in zip(reversed(self._first), reversed(self._last), strict=True):
            yield from range(last, first - 1, -1)

    def add(self, n: int) -> bool:
        """Whether it was not there."""
        i = bisect_right(self._first, n) - 1
        if i >= 0 and n <= self._last[i]:
            return False
        joins_left = i >= 0 and self._last[i] == n - 1
        joins_right = i + 1 < len(self._first) and self._first[i + 1] == n + 1
        if joins_left and joins_right:
            self._last[i] = self._last[i + 1]
            del self._first[i + 1], self._last[i + 1]
        elif joins_left:
            self._last[i] = n
        elif joins_right:
            self._first[i + 1] = n
        else:
            self._first.insert(i + 1, n)
            self._last.insert(i + 1, n)
        self._count += 1
        return True

    def remove(self, n: int) -> bool:
        """Whether it was there."""
        i = bisect_right(self._first, n) - 1
        if i < 0 or n > self._last[i]:
            return False
        first, last = self._first[i], self._last[i]
        if first == last:
            del self._first[i], self._last[i]
        elif n == first:
            self._first[i] = n + 1
        elif n == last:
            self._last[i] = n - 1
        else:
            self._last[i] = n - 1
            self._first.insert(i + 1, n + 1)
            self._last.insert(i + 1, last)
        self._count -= 1
        return True


class Waiting:
    """By n, and by boot and seq. Thread: the outbox's."""

    def __init__(self) -> None:
        self.events, self.gaps = Ranges(), Ranges()  # n
        self.gap_rows: dict[int, Row] = {}  # the gaps themselves, by n: few, and known nowhere else when the file loses them
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
            else:
                self.gap_rows[row.n] = row

    def remove(self, row: Row) -> None:
        if (self.events if row.kind == EVENT else self.gaps).remove(row.n):
            self.bytes -= row.size
            self.gap_rows.pop(row.n, None)
            if row.kind == EVENT and (seqs := self._seqs.get(row.boot)) is not None:
                seqs.remove(row.seq)
                if not seqs:
                    del self._seqs[row.boot]

    def replace(self, by: "Waiting") -> None:
        """As if those had been added, and only those. What is kept stays."""
        self.events, self.gaps, self.bytes, self._seqs = by.events, by.gaps, by.bytes, by._seqs
        self.gap_rows = by.gap_rows

    def forget(self, row: Row) -> bool:
        """An event of which only n can be believed; False where none waits by that."""
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

    def begin(self, n: int, next_n: int, now_ns: int) -> None:
        """Of what lay in the outbox when it was opened, `n` is the first that can be young; `next_n` is the next that is stored."""
        self._first_n = n
        self.stored(next_n, now_ns)

    def stored(self, n: int, now_ns: int) -> None:
        if not self._marks or now_ns - self._marks[-1][0] >= _MARK_NS:
            self._marks.append((now_ns, n))

    def since_n(self, now_ns: int) -> int:
        while len(self._marks) > 1 and self._marks[1][0] <= now_ns - self._age_ns:
            self._first_n = self._marks.popleft()[1]
        if self._marks and self._marks[0][0] <= now_ns - self._age_ns:
            self._first_n = max(self._first_n, self._marks[0][1])
        return self._first_n


class Lanes:
    """Young events first, oldest first in each lane, each once until it is released.

    `rows(numbers)` reads rows from where they are kept; one that can't be read is left out. Thread: the outbox's.
    """

    def __init__(self, waiting: Waiting, rows: Reads) -> None:
        self._waiting, self._rows = waiting, rows
        self.young = Young(LATE_NS)
        self.this_run_n = 1  # what has a lower n was stored before the machine's last start
        self.out: dict[int, Row] = {}  # handed out, not yet answered

    def next(self, most: int, most_late: int, passed_over: frozenset[int | str], now_ns: int) -> list[Row]:
        def may_go(numbers: Iterable[int]) -> Iterator[Row]:
            return self._rows(n for n in numbers if n not in self.out and n not in passed_over)

        young_after_ns, this_run_n = now_ns - LATE_NS, self.this_run_n
        since_n = max(self.young.since_n(now_ns), this_run_n)
        young = (row for row in may_go(self._waiting.events.since(since_n)) if row.happened_ns > young_after_ns)
        rows = list(itertools.islice(young, most))
        self.out |= {row.n: row for row in rows}
        late = (
            row
            for row in may_go(self._waiting.in_order())
            if row.kind == GAP or row.n < this_run_n or row.happened_ns <= young_after_ns
        )
        rows += itertools.islice(late, max(0, min(most - len(rows), most_late)))
        self.out |= {row.n: row for row in rows}
        return rows

    def one(self, n: int) -> list[Row]:
        """That row, if it still waits."""
        rows = list(self._rows([n])) if n in self._waiting and n not in self.out else []
        self.out |= {row.n: row for row in rows}
        return rows

    def oldest_events(self) -> Iterator[Row]:
        """Those that wait and are not out."""
        return self._rows(n for n in self._waiting.events if n not in self.out)
