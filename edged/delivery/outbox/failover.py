"""The outbox's two stores as one: the disk, and memory for as long as the disk takes nothing.

A disk that is full, read-only or broken does not stop anything: what was not yet committed, and everything new, goes to
memory; what happens to rows that are already on the disk is owed to it. When the disk takes data again, it gets both.
Every change that is not yet on the disk is in the tail, too, where a killed courier's successor finds it.
"""

import contextlib
import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Protocol

from edged.delivery.outbox.changes import Bury, Delete, Discard, Put, PutSession, Revive, SetState, StoredChange
from edged.delivery.outbox.database import Database, DeadLetter
from edged.delivery.outbox.replacement import FilePresence
from edged.delivery.outbox.rows import Row, unknown_row
from edged.delivery.outbox.tail import Tail
from edged.errors import UnavailableError


class Disk(Protocol):
    """How the file is opened anew. Raises sqlite3.Error and OSError."""

    def reopen(self) -> Database: ...

    def rebuild(self, old: Database, why: str) -> Database:
        """A new file in place of one that was taken away or cut, with all that can still be read of it."""
        ...


class Shelves:
    """Thread: one at a time. `reason` says why memory is used; empty when the disk is."""

    def __init__(
        self,
        disk: Database | None,
        reason: str,
        reopen: Disk | None,
        folder: Path,
        min_free_bytes: int = 0,
        tail: Tail | None = None,
    ) -> None:
        self._disk, self.reason, self._reopen = disk, reason, reopen
        self._folder, self._min_free_bytes = folder, min_free_bytes
        self.tail = tail or Tail(None)
        self._presence = FilePresence(disk.path if disk else None)
        self._memory = Database(None)
        self._in_memory: dict[int, int] = {}  # n → bytes of the rows there
        self.memory_bytes = 0
        self._highest_on_disk = disk.highest_n() if disk else 0
        self._uncommitted: list[StoredChange] = []
        self._owed: list[StoredChange] = []
        self._owed_n: set[int] = set()
        self._no_letters: set[int] = set()  # n of the disk's dead letters that are none any more
        self._damaged: list[Row] = []

    @property
    def has_disk(self) -> bool:
        """Whether there is meant to be one."""
        return self._reopen is not None

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
        if self.has_disk:
            self.tail.add(change)
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
        self._presence.wrong()
        try:
            self._disk.commit()
        except sqlite3.Error as error:
            self._fall(error)
        else:
            self._presence.note()
        self._highest_on_disk = max([self._highest_on_disk, *(c.row.n for c in self._uncommitted if isinstance(c, Put))])
        self._uncommitted.clear()
        if self.on_disk:
            self.tail.clear()

    def check_room(self) -> None:
        """Go to memory when the disk is nearly full: the rest of it belongs to the system."""
        if self.on_disk and not self._has_room():
            self.commit()
            self.reason = self.reason or self._no_room()

    def check_files(self) -> bool:
        """Whether the file had been taken away, replaced or cut, and a new one was made of what is left."""
        self.tail.look()
        if self._disk is None or self._reopen is None or not (wrong := self._presence.wrong()):
            return False
        changes, self._uncommitted = self._uncommitted, []
        old, self._disk = self._disk, None
        old.roll_back()
        try:
            self._disk = self._reopen.rebuild(old, wrong)
        except (sqlite3.Error, OSError) as error:
            self._leave(error)
        else:
            self._presence = FilePresence(self._disk.path)
        for change in changes:
            self._redo(change)
        self.commit()
        return self._disk is not None

    def _redo(self, change: StoredChange) -> None:
        """As `do`; the tail has it already."""
        tail, self.tail = self.tail, Tail(None)
        self.do(change)
        self.tail = tail

    def heal(self) -> bool:
        """Try the disk again; True when it is in use."""
        if self._reopen is None or self.on_disk:
            return self.on_disk
        if not self._has_room(1.1):
            self.reason = self._no_room()
            return False
        try:
            if self._disk is None:
                self._disk = self._reopen.reopen()
                self._presence = FilePresence(self._disk.path)
            self._disk.begin()
            for change in self._owed:
                change.apply(self._disk)
            for row in self._memory.everything():
                self._disk.put(row)
            for letter in self._memory.dead():
                self._disk.bury(letter.row, letter.reason)
            for session, last_seq in self._memory.sessions().values():
                self._disk.put_session(session, last_seq)
            self._disk.commit()
            highest = self._disk.highest_n()
        except (sqlite3.Error, OSError) as error:
            if self._disk is not None:
                self._disk.roll_back()
            self._leave(error)
            return False
        self._memory.close()
        self._highest_on_disk = max(self._highest_on_disk, highest)
        self._memory, self._in_memory, self.memory_bytes = Database(None), {}, 0
        self._owed, self._owed_n, self._no_letters = [], set(), set()
        self.reason = ""
        self._presence.note()
        self.tail.clear()
        return True

    def rows(self, numbers: Iterable[int]) -> Iterator[Row]:
        """Those of the rows that can be read now; see `take_damaged`."""
        for n in numbers:
            if n in self._in_memory:
                yield from self._memory.get(n)
            elif self._disk is not None and n not in self._owed_n:
                known = len(self._damaged)
                try:
                    found = list(self._disk.get(n, self._damaged.append))
                except sqlite3.Error as error:
                    self._fall(error)
                    continue
                if not found and len(self._damaged) == known:
                    self._damaged.append(unknown_row(n))
                yield from found

    def take_damaged(self) -> list[Row]:
        """Rows that were asked for and are gone, or whose checksum was wrong: as far as they can still be read."""
        damaged, self._damaged = self._damaged, []
        return damaged

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

    def dead(self) -> list[DeadLetter]:
        """The oldest first. Raises UnavailableError when the disk can't be read."""
        try:
            on_disk = self._disk.dead() if self._disk is not None else []
        except sqlite3.Error as error:
            self._fall(error)
            raise UnavailableError(f"the outbox's file can not be read now ({error}); try again") from None
        in_memory = {letter.row.n: letter for letter in self._memory.dead()}
        hidden = self._no_letters | in_memory.keys()
        return [*(letter for letter in on_disk if letter.row.n not in hidden), *in_memory.values()]

    def close(self) -> None:
        self.commit()
        if self.on_disk or not self.has_disk:
            self.tail.remove()
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
                self._owed.append(change)
            case Revive(row):
                self._memory.discard(row.n)
                self._do_in_memory(Put(row))
                self._no_letters.add(row.n)
                if row.n <= self._highest_on_disk:
                    self._owed.append(Discard(row))
            case SetState(row) | Delete(row) | Bury(row) | Discard(row):
                if row.n in self._in_memory or isinstance(change, Bury | Discard):  # letters of the disk are listed from here
                    change.apply(self._memory)
                if isinstance(change, Discard):
                    self._no_letters.add(row.n)
                if isinstance(change, Delete | Bury | Discard):
                    self.memory_bytes -= self._in_memory.pop(row.n, 0)
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
        self._presence = FilePresence(None)
        full = getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_FULL
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
