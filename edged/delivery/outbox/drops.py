"""What is given up: counted by reason, and told to the subscribers by gap messages, which grow until they are sent."""

import itertools
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from edged.delivery.messages import Gap
from edged.delivery.outbox.changes import Delete, Put
from edged.delivery.outbox.failover import Shelves
from edged.delivery.outbox.rows import Row, to_body
from edged.delivery.outbox.waiting import Lanes, Waiting


@dataclass(frozen=True, slots=True)
class OutboxLimits:
    ttl_s: float = 30 * 86400.0
    max_rows: int = 100_000
    max_bytes: int = 64 * 10**6
    keep_rows: int = 10_000
    memory_rows: int = 5_000  # while the disk takes nothing
    memory_bytes: int = 8 * 10**6


class Drops:
    """Thread: the outbox's."""

    def __init__(self, shelves: Shelves, waiting: Waiting, new_row: Callable[[str, str], Row]) -> None:
        """`new_row(boot, body)`: a gap's row, numbered."""
        self._shelves, self._waiting, self._new_row = shelves, waiting, new_row
        self.counts: Counter[str] = Counter()  # events, by reason
        self._growing: dict[tuple[str, str], Row] = {}  # gaps that are not handed out, by boot and reason

    def drop(self, rows: Iterable[Row], reason: str) -> bool:
        """Give up rows that wait; whether there were any."""
        by_boot: dict[str, list[int]] = {}
        for row in rows:
            self._shelves.do(Delete(row))
            self._waiting.remove(row)
            by_boot.setdefault(row.boot, []).append(row.seq)
        for boot, seqs in by_boot.items():
            self.tell(boot, seqs, reason)
        return bool(by_boot)

    def enforce(self, limits: OutboxLimits, lanes: Lanes) -> None:
        """Drop the oldest while there are more than the limits allow; never what is on its way."""
        waiting, shelves = self._waiting, self._shelves
        while len(waiting.events) > limits.max_rows or waiting.bytes > limits.max_bytes:
            most = max(1, len(waiting.events) - limits.max_rows)
            if not self.drop(list(itertools.islice(lanes.oldest_events(), most)), "oldest"):
                break
        if shelves.on_disk:
            return
        while shelves.memory_rows > limits.memory_rows or shelves.memory_bytes > limits.memory_bytes:
            most = max(1, shelves.memory_rows - limits.memory_rows)
            if forgotten := list(itertools.islice(shelves.read_memory(lambda s: s.delivered()), most)):
                for row in forgotten:
                    waiting.kept.remove(row.n)
                    shelves.do(Delete(row))
                continue
            oldest = (row for row in shelves.read_memory(lambda s: s.waiting_events()) if row.n not in lanes.out)
            if not self.drop(list(itertools.islice(oldest, most)), "memory"):
                break

    def tell(self, boot: str, seqs: list[int], reason: str) -> None:
        """Count events that are lost, and put the news where the subscribers find it."""
        self.counts[reason] += len(seqs)
        dropped, old = len(seqs), self._growing.get((boot, reason))
        if old is not None:
            told = Gap.model_validate_json(old.body)
            assert told.to_seq is not None
            assert told.dropped is not None
            seqs, dropped = [told.from_seq, told.to_seq, *seqs], told.dropped + dropped
            self._waiting.remove(old)
        body = to_body(Gap(from_seq=min(seqs), to_seq=max(seqs), dropped=dropped, reason=reason).model_dump())
        row = replace(old, body=body) if old is not None else self._new_row(boot, body)
        self._growing[boot, reason] = row
        self._put(row)

    def tell_open_end(self, boot: str, from_seq: int, reason: str) -> None:
        """What came last may be missing, and nobody can know how much: in no counter."""
        self._put(self._new_row(boot, to_body(Gap(from_seq=from_seq, to_seq=None, dropped=None, reason=reason).model_dump())))

    def handed(self, row: Row) -> None:
        """This gap is on its way, and must not change any more."""
        self._growing = {key: gap for key, gap in self._growing.items() if gap.n != row.n}

    def _put(self, row: Row) -> None:
        self._shelves.do(Put(row))
        self._waiting.add(row)
