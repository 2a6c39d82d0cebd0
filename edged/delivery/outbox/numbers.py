"""What a new row is called: its n, its boot and seq, and its age, which no clock can be set to change."""

from collections import Counter

from edged.delivery.outbox.rows import EVENT, WAITING, Row, Session
from edged.system.clock import Clock


class Numbers:
    """Of one outbox, over all couriers that used it. Thread: the outbox's."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.sessions: dict[str, Session] = {}
        self.last_seq: Counter[str] = Counter()
        self.next_n = 1
        self._lived_before_ns = 0
        self._opened_ns = clock.monotonic_ns()

    def saw(self, row: Row) -> None:
        """A row of the outbox: what comes after it has higher numbers."""
        self.last_seq[row.boot] = max(self.last_seq[row.boot], row.seq)
        self.next_n = max(self.next_n, row.n + 1)

    def begins_after(self, row: Row) -> None:
        """As `saw`, while the outbox is opened: it is as old as this row was."""
        self.saw(row)
        self._lived_before_ns = max(self._lived_before_ns, row.lived_ns)

    def lived_ns(self) -> int:
        """How long this outbox has been in use."""
        return self._lived_before_ns + self._clock.monotonic_ns() - self._opened_ns

    def session(self, row: Row) -> Session:
        return self.sessions.get(row.boot) or Session(row.boot, "", row.offset_s, row.synced)

    def is_of_this_run(self, row: Row) -> bool:
        """Whether the machine has not been started since: monotonic times can be compared."""
        return self.session(row).kernel_boot == self._clock.kernel_boot

    def begin(self) -> Session:
        """This courier's own session, as the clock is set now."""
        clock = self._clock
        session = Session(clock.boot, clock.kernel_boot, clock.offset_s(), clock.synced())
        self.sessions[clock.boot] = session
        return session

    def moved(self) -> bool:
        """Whether the clock was set, or set right, since `begin`."""
        session, clock = self.sessions[self._clock.boot], self._clock
        return clock.synced() and (not session.synced or abs(session.offset_s - clock.offset_s()) > 1.0)

    def new_row(self, kind: int, boot: str, body: str, happened_ns: int) -> Row:
        """A row that waits. An event of an earlier courier keeps that one's clock."""
        self.last_seq[boot] += 1
        n, self.next_n = self.next_n, self.next_n + 1
        clock, session = self._clock, self.sessions.get(boot)
        if kind == EVENT and boot != clock.boot and session is not None:
            offset_s, synced = session.offset_s, session.synced
        else:
            offset_s, synced = clock.offset_s(), clock.synced()
        return Row(n, kind, WAITING, boot, self.last_seq[boot], happened_ns, offset_s, synced, self.lived_ns(), body)
