"""What is owed to the subscribers: numbers every durable message, hands them out in two lanes, and drops what must be
dropped: never silently. Counters balance: events = delivered + queued + dropped.
"""

import itertools
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from edged.delivery.messages import Events, Gap
from edged.delivery.outbox.database import Database
from edged.delivery.outbox.failover import Bury, Delete, Put, PutSession, SetState, Shelves
from edged.delivery.outbox.rows import DELIVERED, EVENT, GAP, LATE_NS, WAITING, Row, Session, is_late, to_body
from edged.system.clock import Clock

_PRUNE = 64  # delivered rows are forgotten by so many at a time: fewer pages are written

_HEAL_NS = 6 * 10**9  # between two attempts to use the disk again


@dataclass(frozen=True, slots=True)
class OutboxLimits:
    ttl_s: float = 30 * 86400.0
    max_rows: int = 100_000
    max_bytes: int = 64 * 10**6
    keep_rows: int = 10_000
    memory_rows: int = 5_000  # while the disk takes nothing
    memory_bytes: int = 8 * 10**6


@dataclass(frozen=True, slots=True)
class Handed:
    """A row that is on its way, with what is needed to write its payload."""

    row: Row
    session: Session
    late: bool


class OutboxQueue:
    """Thread: the outbox's. Nothing here waits, but for the disk."""

    def __init__(self, shelves: Shelves, clock: Clock, limits: OutboxLimits) -> None:
        self._shelves, self._clock, self._limits = shelves, clock, limits
        self._sessions: dict[str, Session] = {}
        self._last_seq: Counter[str] = Counter()
        self._lived_before_ns = 0
        self._next_n = self._this_run_n = 1
        self._events = 0
        self.delivered = 0
        self.dropped: Counter[str] = Counter()
        self.waiting = self.waiting_bytes = self._rows = self._kept = 0
        self._out: dict[int, Row] = {}  # handed out, not yet answered
        self._live_n = self._late_n = 0  # the lanes' cursors
        self._gaps: dict[tuple[str, str], Row] = {}  # the gap that still grows, by boot and reason
        self._heal_ns = 0
        self._opened_ns = clock.monotonic_ns()

    def load(self, store: Database) -> None:
        """Take over what earlier couriers left. Raises sqlite3.Error."""
        for boot, (session, last_seq) in store.sessions().items():
            self._sessions[boot] = session
            self._last_seq[boot] = max(self._last_seq[boot], last_seq)
        self._next_n = max(self._next_n, store.highest_n() + 1)
        self._lived_before_ns = max(self._lived_before_ns, store.lived_ns())
        self._kept = store.count_delivered()
        this_run = [session.boot for session in self._sessions.values() if session.kernel_boot == self._clock.kernel_boot]
        self._this_run_n = store.first_n(this_run) or self._next_n
        for row in store.waiting():
            self._last_seq[row.boot] = max(self._last_seq[row.boot], row.seq)
            self._count(row)
            self._events += row.kind == EVENT
        for row in store.delivered():
            self._last_seq[row.boot] = max(self._last_seq[row.boot], row.seq)
        damaged = store.damaged()
        for row in damaged:
            self._shelves.do(Delete(row))
        self._events += len(damaged)
        if damaged:
            self.dropped["damaged"] += len(damaged)

    def adopt(self, rows: dict[int, Row], sessions: dict[str, Session]) -> None:
        """Take over rows that were read past SQLite, because the disk takes nothing; they are on it all the same."""
        self._sessions |= sessions
        for n, row in sorted(rows.items()):
            self._last_seq[row.boot] = max(self._last_seq[row.boot], row.seq)
            self._next_n = self._this_run_n = max(self._next_n, n + 1)
            if row.state == WAITING:
                self._shelves.borrow(row)
                self._count(row)
                self._events += row.kind == EVENT

    def recount(self) -> None:
        """After the disk was mended: what it lost is lost, and counted."""
        before = self.waiting
        self.waiting = self.waiting_bytes = self._rows = 0
        for row in self._shelves.read(lambda store: store.waiting()):
            self._count(row)
        lost = before - self.waiting
        if lost > 0:
            self.dropped["damaged"] += lost
        else:
            self._events -= lost

    def begin(self) -> None:
        """This courier's own session."""
        clock = self._clock
        session = Session(clock.boot, clock.kernel_boot, clock.offset_s(), clock.synced())
        self._sessions[clock.boot] = session
        self._shelves.do(PutSession(session, self._last_seq[clock.boot]))

    # what comes in

    def put(self, body: str, happened_ns: int) -> Row:
        """An event: numbered, stored with the next commit."""
        row = self._new_row(EVENT, self._clock.boot, body, happened_ns)
        self._shelves.do(Put(row))
        self._count(row)
        self._events += 1
        self._enforce()
        return row

    def replay(self, since_s: float) -> int:
        """Send delivered events of the last seconds once more, as late ones; how many. What is kept is what there is."""
        after_ns = self._clock.monotonic_ns() - int(since_s * 1e9)
        lived_after_ns = self._lived_ns() - int(since_s * 1e9)
        again = []
        for row in self._shelves.read(lambda store: store.delivered(newest_first=True)):
            this_run = self._session(row).kernel_boot == self._clock.kernel_boot
            if (row.happened_ns >= after_ns) if this_run else (row.lived_ns >= lived_after_ns):
                again.append(row)
        for row in reversed(again):
            self._shelves.do(Put(row.with_state(WAITING)))
            self._kept -= 1
            self._count(row)
            self._events += 1
        self._live_n = self._late_n = 0
        return len(again)

    # what goes out

    def hand_out(self, most: int, most_late: int) -> list[Handed]:
        """The next rows to send: young events first, oldest first in each lane. Each is handed out once until released."""
        now_ns = self._clock.monotonic_ns()
        young_after_ns = now_ns - LATE_NS
        handed = list(self._take(lambda s: s.young(max(self._live_n, self._this_run_n), young_after_ns), most))
        self._live_n = handed[-1].n + 1 if handed else self._next_n
        room = min(most - len(handed), most_late)
        if room > 0:
            late = list(self._take(lambda s: s.late(self._late_n, self._this_run_n, young_after_ns), room))
            events = [row.n for row in late if row.kind == EVENT]
            self._late_n = events[-1] + 1 if events else self._late_n
            handed += late
        for row in handed:
            self._out[row.n] = row
            if row.kind == GAP:
                self._gaps = {key: gap for key, gap in self._gaps.items() if gap.n != row.n}
        return [self._handed(row, now_ns) for row in handed]

    def acknowledged(self, n: int) -> None:
        """The broker has it."""
        row = self._out.pop(n, None)
        if row is None:
            return
        if row.kind == GAP or not self._limits.keep_rows:
            self._shelves.do(Delete(row))
        else:
            self._shelves.do(SetState(row, DELIVERED))
            self._kept += 1
        self._uncount(row)
        if row.kind == EVENT:
            self.delivered += 1
        if self._kept >= self._limits.keep_rows + _PRUNE:
            self._prune()

    def bury(self, n: int, reason: str) -> None:
        """No broker takes it: a dead letter, and told as a gap."""
        row = self._out.pop(n, None)
        if row is not None:
            self._shelves.do(Bury(row, reason))
            self._uncount(row)
            if row.kind == EVENT:
                self._tell_dropped([row], "refused")

    def release(self, n: int | None = None) -> None:
        """The row (or all that are out, with None) will be handed out again, in order."""
        for back in list(self._out) if n is None else [n]:
            self._out.pop(back, None)
        self._live_n = self._late_n = 0

    # upkeep

    def keep_up(self) -> None:
        """Every few seconds: room on the disk, a disk that works again, expiry, a clock that was set."""
        self._shelves.check_room()
        now_ns = self._clock.monotonic_ns()
        if not self._shelves.on_disk and now_ns >= self._heal_ns:
            self._heal_ns = now_ns + _HEAL_NS
            if self._shelves.heal():
                self.recount()
        session = self._sessions[self._clock.boot]
        if self._clock.synced() and (not session.synced or abs(session.offset_s - self._clock.offset_s()) > 1.0):
            self.begin()
        expired = self._shelves.read(lambda store: store.expired(self._lived_ns() - int(self._limits.ttl_s * 1e9)))
        self._drop([row for row in expired if row.n not in self._out], "expired")
        self._enforce()

    @property
    def rows_left(self) -> int:
        """Rows that wait and are not out."""
        return self._rows - len(self._out)

    def counters(self) -> Events:
        return Events(events=self._events, delivered=self.delivered, queued=self.waiting, dropped=dict(self.dropped))

    # the rest is between the lines above

    def _take(self, ask: Callable[[Database], Iterator[Row]], most: int) -> Iterator[Row]:
        return itertools.islice((row for row in self._shelves.read(ask) if row.n not in self._out), most)

    def _handed(self, row: Row, now_ns: int) -> Handed:
        session = self._session(row)
        return Handed(row, session, is_late(row, session, self._clock.kernel_boot, now_ns))

    def _session(self, row: Row) -> Session:
        return self._sessions.get(row.boot) or Session(row.boot, "", row.offset_s, row.synced)

    def _lived_ns(self) -> int:
        """How long this outbox has been in use: what ages are measured with, because no clock can be set to change it."""
        return self._lived_before_ns + self._clock.monotonic_ns() - self._opened_ns

    def _new_row(self, kind: int, boot: str, body: str, happened_ns: int) -> Row:
        self._last_seq[boot] += 1
        n, self._next_n = self._next_n, self._next_n + 1
        seq, clock = self._last_seq[boot], self._clock
        return Row(n, kind, WAITING, boot, seq, happened_ns, clock.offset_s(), clock.synced(), self._lived_ns(), body)

    def _count(self, row: Row) -> None:
        self._rows += 1
        self.waiting += row.kind == EVENT
        self.waiting_bytes += row.size

    def _uncount(self, row: Row) -> None:
        self._rows -= 1
        self.waiting -= row.kind == EVENT
        self.waiting_bytes -= row.size

    def _enforce(self) -> None:
        """Drop the oldest while there are more than the limits allow."""
        limits, shelves = self._limits, self._shelves
        while self.waiting > limits.max_rows or self.waiting_bytes > limits.max_bytes:
            most = max(1, self.waiting - limits.max_rows)
            if not self._drop(list(self._take(lambda s: s.waiting_events(), most)), "oldest"):
                break
        if shelves.on_disk:
            return
        while shelves.memory_rows > limits.memory_rows or shelves.memory_bytes > limits.memory_bytes:
            most = max(1, shelves.memory_rows - limits.memory_rows)
            if forgotten := list(itertools.islice(shelves.read_memory(lambda s: s.delivered()), most)):
                self._kept -= len(forgotten)
                for row in forgotten:
                    shelves.do(Delete(row))
                continue
            oldest = (row for row in shelves.read_memory(lambda s: s.waiting_events()) if row.n not in self._out)
            if not self._drop(list(itertools.islice(oldest, most)), "memory"):
                break

    def _drop(self, rows: list[Row], reason: str) -> bool:
        for row in rows:
            self._shelves.do(Delete(row))
            self._uncount(row)
        self._tell_dropped(rows, reason)
        return bool(rows)

    def _tell_dropped(self, rows: list[Row], reason: str) -> None:
        """Count, and put the news where the subscribers find it: a gap, which grows until it is sent."""
        if rows:
            self.dropped[reason] += len(rows)
        by_boot: dict[str, list[int]] = {}
        for row in rows:
            by_boot.setdefault(row.boot, []).append(row.seq)
        for boot, seqs in by_boot.items():
            growing = self._gaps.get((boot, reason))
            if growing:
                told = Gap.model_validate_json(growing.body)
                seqs, dropped = [told.from_seq, told.to_seq, *seqs], told.dropped + len(seqs)
            else:
                dropped = len(seqs)
            gap = Gap(from_seq=min(seqs), to_seq=max(seqs), dropped=dropped, reason=reason)
            body = to_body(gap.model_dump())
            if growing:
                self._uncount(growing)
                row = replace(growing, body=body)
            else:
                row = self._new_row(GAP, boot, body, self._clock.monotonic_ns())
            self._gaps[boot, reason] = row
            self._shelves.do(Put(row))
            self._count(row)

    def _prune(self) -> None:
        """Forget the oldest delivered rows that are too many."""
        most = self._kept - self._limits.keep_rows
        forgotten = list(itertools.islice(self._shelves.read(lambda s: s.delivered()), most))
        for row in forgotten:
            self._shelves.do(Delete(row))
        self._kept -= len(forgotten)
