"""The outbox's two stores as one: the disk, and memory for as long as the disk takes nothing.

A disk that is full, read-only or broken does not stop anything: what was not yet committed, and everything new, goes to
memory; what happens to rows that are already on the disk is owed to it. When the disk takes data again, it gets both.
"""

import contextlib
import os
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from edged.delivery.outbox.database import Database
from edged.delivery.outbox.rows import Row, Session


@dataclass(frozen=True, slots=True)
class Put:
    row: Row

    def apply(self, store: Database) -> None:
        store.put(self.row)


@dataclass(frozen=True, slots=True)
class SetState:
    row: Row
    state: int

    def apply(self, store: Database) -> None:
        store.set_state(self.row.n, self.state)


@dataclass(frozen=True, slots=True)
class Delete:
    row: Row

    def apply(self, store: Database) -> None:
        store.delete([self.row])


@dataclass(frozen=True, slots=True)
class Bury:
    row: Row
    reason: str

    def apply(self, store: Database) -> None:
        store.bury(self.row, self.reason)


@dataclass(frozen=True, slots=True)
class PutSession:
    session: Session
    last_seq: int = 0

    def apply(self, store: Database) -> None:
        store.put_session(self.session, self.last_seq)


StoredChange = Put | SetState | Delete | Bury | PutSession


class Shelves:
    """Thread: one at a time. `reason` says why memory is used; empty when the disk is."""

    def __init__(
        self, disk: Database | None, reason: str, reopen: Callable[[], Database] | None, folder: Path, min_free_bytes: int = 0
    ) -> None:
        self._disk, self.reason, self._reopen = disk, reason, reopen
        self._folder, self._min_free_bytes = folder, min_free_bytes
        self._memory = Database(None)
        self._in_memory: dict[int, int] = {}  # n → bytes of the rows there
        self.memory_bytes = 0
        self._highest_on_disk = disk.highest_n() if disk else 0
        self._uncommitted: list[StoredChange] = []
        self._owed: list[StoredChange] = []
        self._owed_n: set[int] = set()

    @property
    def on_disk(self) -> bool:
        return self._disk is not None and not self.reason

    @property
    def memory_rows(self) -> int:
        return len(self._in_memory)

    @property
    def uncommitted(self) -> int:
        return len(self._uncommitted)

    def do(self, change: StoredChange) -> None:
        """Make a change; it is kept by the next commit."""
        if self._disk is None or self.reason:
            self._do_in_memory(change)
            return
        try:
            if not self._uncommitted:
                self._disk.begin()
            change.apply(self._disk)
            self._uncommitted.append(change)
        except sqlite3.Error as error:
            self._uncommitted.append(change)
            self._fall(error)

    def borrow(self, row: Row) -> None:
        """A row of the disk that can be read and not written."""
        self._highest_on_disk = max(self._highest_on_disk, row.n)
        self._do_in_memory(Put(row))

    def commit(self) -> None:
        """Keep what was done. Returns when it is safe, on the disk or (see `reason`) as far as memory is."""
        if not self._uncommitted or self._disk is None:
            return
        try:
            self._disk.commit()
        except sqlite3.Error as error:
            self._fall(error)
        self._highest_on_disk = max([self._highest_on_disk, *(c.row.n for c in self._uncommitted if isinstance(c, Put))])
        self._uncommitted.clear()

    def check_room(self) -> None:
        """Go to memory when the disk is nearly full: the rest of it belongs to the system."""
        if self.on_disk and not self._has_room():
            self.commit()
            self.reason = self._no_room()

    def heal(self) -> bool:
        """Try the disk again; True when it is in use."""
        if self._reopen is None or self.on_disk:
            return self.on_disk
        if not self._has_room(1.1):
            self.reason = self._no_room()
            return False
        try:
            if self._disk is None:
                self._disk = self._reopen()
            self._disk.begin()
            for change in self._owed:
                change.apply(self._disk)
            for row in self._memory.everything():
                self._disk.put(row)
            for session, last_seq in self._memory.sessions().values():
                self._disk.put_session(session, last_seq)
            self._disk.commit()
        except (sqlite3.Error, OSError) as error:
            if self._disk is not None:
                self._disk.roll_back()
            self._leave(error)
            return False
        self._memory.close()
        self._highest_on_disk = max(self._highest_on_disk, self._disk.highest_n())
        self._memory, self._in_memory, self.memory_bytes = Database(None), {}, 0
        self._owed, self._owed_n = [], set()
        self.reason = ""
        return True

    def read(self, ask: Callable[[Database], Iterator[Row]]) -> Iterator[Row]:
        """The answer of the disk, then that of memory; rows of which memory knows better are left out of the first."""
        if self._disk is not None:
            try:
                for row in ask(self._disk):
                    if row.n not in self._owed_n and row.n not in self._in_memory:
                        yield row
            except sqlite3.Error as error:
                self._fall(error)
        if self._in_memory:
            yield from ask(self._memory)

    def read_memory(self, ask: Callable[[Database], Iterator[Row]]) -> Iterator[Row]:
        return ask(self._memory)

    def close(self) -> None:
        self.commit()
        self._memory.close()
        if self._disk is not None:
            self._disk.close()

    def _do_in_memory(self, change: StoredChange) -> None:
        match change:
            case Put(row):
                self._memory.put(row)
                self.memory_bytes += row.size - self._in_memory.get(row.n, 0)
                self._in_memory[row.n] = row.size
            case PutSession():
                change.apply(self._memory)
            case SetState(row) | Delete(row) | Bury(row):
                if row.n in self._in_memory:
                    change.apply(self._memory)
                    if not isinstance(change, SetState):
                        self.memory_bytes -= self._in_memory.pop(row.n)
                if row.n <= self._highest_on_disk:
                    self._owed.append(change)
                    self._owed_n.add(row.n)

    def _fall(self, error: sqlite3.Error) -> None:
        """The disk refused: everything since the last commit is done again, in memory."""
        assert self._disk is not None
        self._disk.roll_back()
        lost, self._uncommitted = self._uncommitted, []
        self._leave(error)
        for change in lost:
            self._do_in_memory(change)

    def _leave(self, error: sqlite3.Error | OSError) -> None:
        self.reason = f"the outbox is in memory, because its file can not be used ({error})"
        full = isinstance(error, sqlite3.OperationalError) and "full" in str(error)
        if self._disk is not None and not full:
            self._disk.close()  # the next attempt to heal opens it anew, which mends it if need be
            self._disk = None

    def _has_room(self, factor: float = 1.0) -> bool:
        with contextlib.suppress(OSError):
            found = os.statvfs(self._folder)
            return found.f_bavail * found.f_frsize >= self._min_free_bytes * factor
        return True

    def _no_room(self) -> str:
        return f"the outbox is in memory: less than outbox.min_free_mb is free on {self._folder}"
