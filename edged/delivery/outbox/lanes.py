"""Which rows go next: young events first, oldest first in each lane, each once until it is released."""

import itertools
from collections.abc import Callable, Iterable, Iterator

from edged.delivery.outbox.rows import GAP, LATE_NS, Row
from edged.delivery.outbox.waiting import Waiting, Young

Reads = Callable[[Iterable[int]], Iterator[Row]]


class Lanes:
    """Thread: the outbox's. `rows(numbers)` reads rows from where they are kept; one that can't be read is left out."""

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
