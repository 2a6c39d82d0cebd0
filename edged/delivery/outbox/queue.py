"""What is owed to the subscribers: numbers every durable message, hands them out in two lanes, and drops what must be
dropped: never silently. Counters balance: events = delivered + queued + dropped.

Which rows wait is known in memory; a row is read from the disk by its number when it is needed, and never searched for.
"""

import itertools
from collections.abc import Iterable
from dataclasses import dataclass

from edged.delivery.messages import Events
from edged.delivery.outbox.changes import Bury, Delete, Put, PutSession, SetState
from edged.delivery.outbox.database import Database
from edged.delivery.outbox.drops import Drops, OutboxLimits
from edged.delivery.outbox.failover import Shelves
from edged.delivery.outbox.numbers import Numbers
from edged.delivery.outbox.rows import DELIVERED, EVENT, GAP, LATE_NS, WAITING, Row, Session, is_late
from edged.delivery.outbox.tail import Left
from edged.delivery.outbox.waiting import Lanes, Waiting
from edged.system.clock import Clock

_PRUNE = 64  # delivered rows are forgotten by so many at a time: fewer pages are written
_HEAL_NS = 6 * 10**9  # between two attempts to use the disk again
_BEYOND = 1000  # a gap's own seq after a power cut: what may have been sent and never stored lies below


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
        self._numbers = Numbers(clock)
        self._waiting = Waiting()
        self._lanes = Lanes(self._waiting, shelves.rows)
        self._drops = Drops(shelves, self._waiting, lambda boot, body: self._numbers.new_row(GAP, boot, body, clock.monotonic_ns()))
        self._first_n = 0  # what has a lower n on the disk was never loaded
        self._events = 0
        self.delivered = 0
        self.oldest_s = 0.0  # how long the oldest event had waited when `keep_up` last looked
        self._heal_ns = 0

    def load(self, store: Database) -> None:
        """Take over what earlier couriers left: every row is read once. Raises sqlite3.Error."""
        numbers, young_after_ns = self._numbers, self._clock.monotonic_ns() - LATE_NS
        for boot, (session, last_seq) in store.sessions().items():
            numbers.sessions[boot] = session
            numbers.last_seq[boot] = last_seq
        numbers.next_n = this_run_n = young_n = store.highest_n() + 1
        for row in store.everything():
            numbers.begins_after(row)
            if numbers.is_of_this_run(row):
                this_run_n = min(this_run_n, row.n)
                if row.kind == EVENT and row.happened_ns > young_after_ns:
                    young_n = min(young_n, row.n)
            if row.state == WAITING:
                self._waiting.add(row)
                self._events += row.kind == EVENT
            elif row.state == DELIVERED and row.kind == EVENT:
                self._waiting.kept.add(row.n)
        self._lanes.this_run_n = this_run_n
        self._lanes.young.begin(young_n, numbers.next_n, self._clock.monotonic_ns())
        damaged = store.damaged()
        for row in damaged:
            self._shelves.do(Delete(row))
        self._events += len(damaged)
        if damaged:
            self._drops.counts["damaged"] += len(damaged)

    def begin_without(self, first_n: int) -> None:
        """The disk could not be read: it may hold rows, so ours begin at a number that it does not have."""
        self._first_n = self._numbers.next_n = self._lanes.this_run_n = first_n

    def adopt(self, rows: dict[int, Row], sessions: dict[str, Session]) -> None:
        """Take over rows that were read past SQLite, because the disk takes nothing; they are on it all the same."""
        self._numbers.sessions |= sessions
        for row in rows.values():
            self._numbers.saw(row)
            if row.state == WAITING:
                self._shelves.borrow(row)
                self._waiting.add(row)
                self._events += row.kind == EVENT

    def begin(self, *, unsafe_tail: bool | None = None) -> None:
        """This courier's own session. `unsafe_tail`: a power cut can cost it what was decided last; None: as before."""
        session = self._numbers.begin()
        self._shelves.do(PutSession(session, self._numbers.last_seq[session.boot], unsafe_tail))

    def tell_open_end(self, boot: str, reason: str) -> None:
        """What this earlier courier decided last may be missing; nobody can know. In no counter."""
        last_seq = self._numbers.last_seq[boot]
        self._numbers.last_seq[boot] = last_seq + _BEYOND - 1
        self._drops.tell_open_end(boot, last_seq + 1, reason)

    def make_up(self, left: Iterable[Left], unsafe: Iterable[str]) -> None:
        """For earlier couriers: events that they accepted and did not number, and what of them may be missing.

        `unsafe`: boots that ended without a word, and that a power cut can cost what was decided last.
        """
        whole = set()
        for one in left:
            whole.add(one.boot)
            for accepted in one.accepted:
                self.put(accepted.body, accepted.happened_ns, one.boot)
        for boot in unsafe:
            session = self._numbers.sessions.get(boot)
            if session is None or boot == self._clock.boot:
                continue
            same_run = session.kernel_boot == self._clock.kernel_boot
            if boot not in whole or not same_run:
                self.tell_open_end(boot, "lost" if same_run else "power")
            self._shelves.do(PutSession(session, self._numbers.last_seq[boot], unsafe_tail=False))

    def end(self) -> None:
        """A good end: nothing of this courier's can be missing."""
        self.begin(unsafe_tail=False)

    # what comes in

    def put(self, body: str, happened_ns: int, boot: str = "") -> Row:
        """An event: numbered, stored with the next commit. `boot`: of an earlier courier that could not number it."""
        row = self._numbers.new_row(EVENT, boot or self._clock.boot, body, happened_ns)
        self._shelves.do(Put(row))
        self._waiting.add(row)
        self._lanes.young.stored(row.n, self._clock.monotonic_ns())
        self._events += 1
        self._drops.enforce(self._limits, self._lanes)
        return row

    def replay(self, since_s: float) -> int:
        """Send delivered events of the last seconds once more, as late ones; how many. What is kept is what there is."""
        after_ns = self._clock.monotonic_ns() - int(since_s * 1e9)
        lived_after_ns = self._numbers.lived_ns() - int(since_s * 1e9)
        again = []
        for row in self._shelves.rows(reversed(self._waiting.kept)):
            this_run = self._numbers.is_of_this_run(row)
            if (row.happened_ns >= after_ns) if this_run else (row.lived_ns >= lived_after_ns):
                again.append(row)
        for row in again:
            self._waiting.kept.remove(row.n)
            self.wait_again(row)
        return len(again)

    def wait_again(self, row: Row) -> None:
        """An event that was counted before, and counts as a new one with its old name."""
        row = row.with_state(WAITING)
        self._shelves.do(Put(row))
        self._events += row.n not in self._waiting
        self._waiting.add(row)

    # what goes out

    def hand_out(self, most: int, most_late: int, passed_over: frozenset[int | str] = frozenset()) -> list[Handed]:
        """The next rows to send: young events first, oldest first in each lane. Each is handed out once until released."""
        now_ns = self._clock.monotonic_ns()
        return [self._hand(row, now_ns) for row in self._lanes.next(most, most_late, passed_over, now_ns)]

    def hand_out_one(self, n: int) -> list[Handed]:
        """The row that others go past, if it still waits."""
        return [self._hand(row, self._clock.monotonic_ns()) for row in self._lanes.one(n)]

    def _hand(self, row: Row, now_ns: int) -> Handed:
        if row.kind == GAP:
            self._drops.handed(row)
        session = self._numbers.session(row)
        return Handed(row, session, is_late(row, session, self._clock.kernel_boot, now_ns))

    def acknowledged(self, n: int) -> None:
        """The broker has it."""
        row = self._lanes.out.pop(n, None)
        if row is None:
            return
        if row.kind == GAP or not self._limits.keep_rows:
            self._shelves.do(Delete(row))
        else:
            self._shelves.do(SetState(row, DELIVERED))
            self._waiting.kept.add(n)
        self._waiting.remove(row)
        if row.kind == EVENT:
            self.delivered += 1
        if len(self._waiting.kept) >= self._limits.keep_rows + _PRUNE:
            self._prune()

    def bury(self, n: int, reason: str) -> None:
        """No broker takes it: a dead letter, and told as a gap."""
        row = self._lanes.out.pop(n, None)
        if row is not None:
            self._shelves.do(Bury(row, reason))
            self._waiting.remove(row)
            if row.kind == EVENT:
                self._drops.tell(row.boot, [row.seq], "refused")

    def release(self, n: int | None = None) -> None:
        """The row (or all that are out, with None) will be handed out again, in order."""
        self._lanes.out.clear() if n is None else self._lanes.out.pop(n, None)

    def discard(self, n: int) -> bool:
        """Give up an event that waits, by the operator's wish, and tell it; False where there is none."""
        rows = list(self._shelves.rows([n])) if n in self._waiting.events else []
        self._lanes.out.pop(n, None)
        return self._drops.drop(rows, "discarded")

    # upkeep

    def keep_up(self) -> None:
        """Every few seconds: room on the disk, a disk that works again, expiry, a clock that was set."""
        self._shelves.check_room()
        now_ns = self._clock.monotonic_ns()
        if self._shelves.check_files():
            self._compare()
        self._give_up_damaged()
        if not self._shelves.on_disk and now_ns >= self._heal_ns:
            self._heal_ns = now_ns + _HEAL_NS
            if self._shelves.heal():
                self._compare()
        if self._numbers.moved():
            self.begin()
        before_ns = self._numbers.lived_ns() - int(self._limits.ttl_s * 1e9)
        self._drops.drop(list(itertools.takewhile(lambda row: row.lived_ns < before_ns, self._lanes.oldest_events())), "expired")
        self._drops.enforce(self._limits, self._lanes)
        oldest = next(iter(self._lanes.oldest_events()), None)
        self.oldest_s = 0.0 if oldest is None else (self._numbers.lived_ns() - oldest.lived_ns) / 1e9

    def _compare(self) -> None:
        """After the disk was mended: what it lost is counted and told, and what it does not know was delivered, it learns."""
        found, over = Waiting(), list[Row]()
        for row in self._shelves.read(lambda store: store.waiting()):
            is_new = row.n < self._first_n or row.n >= self._numbers.next_n
            if row.n not in self._waiting and not is_new:
                over.append(row)
                continue
            found.add(row)
            if is_new:
                self._numbers.saw(row)
                self._events += row.kind == EVENT and row.n not in self._waiting
        for row in over:
            self._shelves.do(SetState(row, DELIVERED) if row.n in self._waiting.kept else Delete(row))
        lost = self._waiting.missing(found)
        gaps = [gap for n, gap in self._waiting.gap_rows.items() if found.gap_rows.get(n) != gap]  # gone, or as it once was
        self._waiting.replace(found)
        self._put_again(gaps)
        self._first_n = 0
        self._lanes.out = {n: row for n, row in self._lanes.out.items() if n in self._waiting}
        for boot, seqs in lost.items():
            self._drops.tell(boot, seqs, "damaged")

    def _put_again(self, gaps: list[Row]) -> None:
        """At once: a kill before the next commit would cost them, for their numbers were given long ago."""
        for gap in gaps:
            self._shelves.do(Put(gap))
            self._waiting.remove(self._waiting.gap_rows.get(gap.n, gap))
            self._waiting.add(gap)
        self._shelves.commit()

    def _give_up_damaged(self) -> None:
        """Rows that were come across and whose checksum was wrong."""
        for row in self._shelves.take_damaged():
            if (gap := self._waiting.gap_rows.get(row.n)) is not None:  # it tells of others, and is known by heart
                self._put_again([gap])
                continue
            was_event = self._waiting.forget(row)
            self._shelves.do(Delete(row))
            self._lanes.out.pop(row.n, None)
            if was_event and self._waiting.forget_seq(row):
                self._drops.tell(row.boot, [row.seq], "damaged")
            elif was_event:
                self._drops.counts["damaged"] += 1

    def waits(self, n: int) -> bool:
        """Whether the row is still owed."""
        return n in self._waiting

    @property
    def waiting(self) -> int:
        """Events that wait."""
        return len(self._waiting.events)

    @property
    def rows_left(self) -> int:
        """Rows that wait and are not out."""
        return self._waiting.rows - len(self._lanes.out)

    def counters(self) -> Events:
        return Events(events=self._events, delivered=self.delivered, queued=self.waiting, dropped=dict(self._drops.counts))

    def _prune(self) -> None:
        """Forget the oldest delivered rows that are too many."""
        most = len(self._waiting.kept) - self._limits.keep_rows
        for n in list(itertools.islice(self._waiting.kept, most)):
            self._waiting.kept.remove(n)
            for row in self._shelves.rows([n]):
                self._shelves.do(Delete(row))
