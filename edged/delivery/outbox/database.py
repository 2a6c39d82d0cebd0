"""The outbox's file: a SQLite database. Says how rows are kept, and nothing about which rows are sent or dropped."""

import contextlib
import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edged.delivery.outbox.rows import DEAD, DELIVERED, EVENT, WAITING, Row, Session
from edged.system.files import PRIVATE

APPLICATION = 0x65646F62  # "edob"; PRAGMA application_id
SCHEMA_VERSION = 1
PAGE_BYTES = 2048  # measured (docs/delivery.md): a commit of one event writes 7.5 kB to a disk, with 4096 it is 9.7 kB
_COLUMNS = "n, kind, state, boot, seq, happened_ns, offset_s, synced, lived_ns, body"
_SCHEMA = """
CREATE TABLE rows(
  n INTEGER PRIMARY KEY, kind INTEGER NOT NULL, state INTEGER NOT NULL, boot TEXT NOT NULL, seq INTEGER NOT NULL,
  happened_ns INTEGER NOT NULL, offset_s REAL NOT NULL, synced INTEGER NOT NULL, lived_ns INTEGER NOT NULL,
  body TEXT NOT NULL, checksum INTEGER NOT NULL);
CREATE TABLE sessions(
  boot TEXT PRIMARY KEY, kernel_boot TEXT NOT NULL, offset_s REAL NOT NULL, synced INTEGER NOT NULL,
  last_seq INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE dead(
  n INTEGER PRIMARY KEY, boot TEXT NOT NULL, seq INTEGER NOT NULL, body TEXT NOT NULL, reason TEXT NOT NULL);
"""
_LATER_TABLES = """
CREATE TABLE IF NOT EXISTS unsafe_tails(boot TEXT PRIMARY KEY) WITHOUT ROWID;
"""  # since schema 1; an older edged does not look at them
_KNOWN = {" ".join(sql.replace("IF NOT EXISTS ", "").split()) for sql in (_SCHEMA + _LATER_TABLES).split(";")}
_LARGEST_BYTES = 1 << 20  # of anything in it; an event has some hundred
_MOST_DEAD = 1000
_MOST_ROWS = 1 << 60


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """`is_whole`: it can be sent again; an older edged kept only its text."""

    row: Row
    reason: str
    is_whole: bool


class Foreign(sqlite3.DatabaseError):
    """A database, but not one that this edged can read."""


def _connect(path: Path | None) -> sqlite3.Connection:
    if path is not None:  # events are nobody else's, and SQLite gives its other files the same mode
        with contextlib.suppress(OSError):
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NONBLOCK | os.O_CLOEXEC, PRIVATE))
    db = sqlite3.connect(path or ":memory:", isolation_level=None, timeout=0.5, check_same_thread=False)
    db.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _LARGEST_BYTES)
    return db


class Database:
    """One file, or memory. Raises sqlite3.Error. Thread: one at a time."""

    def __init__(
        self, path: Path | None, *, page_bytes: int = PAGE_BYTES, connect: Callable[[Path | None], sqlite3.Connection] = _connect
    ) -> None:
        """Open or create. Raises Foreign for somebody else's or a newer file, DatabaseError for a broken one."""
        self.path = path
        self._db = connect(path)
        self._db.text_factory = lambda raw: raw.decode("utf-8", "replace")
        try:
            self._prepare(page_bytes)
        except BaseException:
            self._db.close()
            raise

    def _prepare(self, page_bytes: int) -> None:
        ask = self._ask
        ask("PRAGMA cell_size_check = ON")
        ask("PRAGMA temp_store = MEMORY")  # the disk of /tmp may be full
        ask(f"PRAGMA page_size = {page_bytes}")
        ask("PRAGMA locking_mode = EXCLUSIVE")  # no other process, and so no shared memory in a file that could be cut
        if ask("PRAGMA schema_version") == 0 and ask("SELECT count(*) FROM sqlite_master") == 0:
            ask("PRAGMA journal_mode = WAL")
            self._db.executescript(
                f"BEGIN;{_SCHEMA}PRAGMA application_id={APPLICATION};PRAGMA user_version={SCHEMA_VERSION};COMMIT;"
            )
        if ask("PRAGMA application_id") != APPLICATION:
            raise Foreign("not an outbox")
        if (version := ask("PRAGMA user_version")) > SCHEMA_VERSION:
            raise Foreign(f"written by a newer edged (schema {version}, this one knows {SCHEMA_VERSION})")
        if not self._schema() <= _KNOWN:
            raise sqlite3.DatabaseError("it holds what is no table of an outbox")
        if (found := ask("PRAGMA quick_check(1)")) != "ok":
            raise sqlite3.DatabaseError(str(found).splitlines()[-1])
        if self.path is not None and ask("PRAGMA journal_mode = WAL") != "wal":
            raise sqlite3.OperationalError("its file system can not hold a write-ahead log")
        self.begin()  # a file that can only be read says so here, not at the first event
        self.roll_back()
        if not ask("SELECT count(*) FROM sqlite_master WHERE name = 'unsafe_tails'"):
            self._db.executescript(f"BEGIN;{_LATER_TABLES}COMMIT;")
        ask("PRAGMA synchronous = FULL")  # a commit is on the card when it returns
        ask("PRAGMA wal_autocheckpoint = 256")
        ask("PRAGMA journal_size_limit = 1048576")
        ask("PRAGMA cache_size = -512")

    def _schema(self) -> set[str]:
        """Everything that the file says it has, a view or a trigger too: what is selected from may be a query without an end."""
        found = self._db.execute("SELECT sql FROM sqlite_master WHERE name NOT LIKE 'sqlite!_%' ESCAPE '!'")
        return {" ".join(str(sql).split()) for (sql,) in found}

    def _ask(self, statement: str) -> Any:
        row = self._db.execute(statement).fetchone()
        return row[0] if row else None

    # one transaction at a time: begin, changes, commit or roll_back

    def begin(self) -> None:
        self._db.execute("BEGIN IMMEDIATE")

    def commit(self) -> None:
        self._db.execute("COMMIT")

    def roll_back(self) -> None:
        if self._db.in_transaction:
            with contextlib.suppress(sqlite3.Error):  # what could not be written can not be undone either; SQLite did it
                self._db.execute("ROLLBACK")

    def put(self, row: Row) -> None:
        """Insert, or replace the row with the same n."""
        values = (row.n, row.kind, row.state, row.boot, row.seq, row.happened_ns, row.offset_s, row.synced, row.lived_ns, row.body)
        self._db.execute(
            f"INSERT OR REPLACE INTO rows({_COLUMNS}, checksum) VALUES(?,?,?,?,?,?,?,?,?,?,?)", (*values, row.checksum())
        )

    def set_state(self, n: int, state: int) -> None:
        self._db.execute("UPDATE rows SET state = ? WHERE n = ?", (state, n))

    def delete(self, rows: Iterable[Row]) -> None:
        """Forget rows; what their boots' sequences had reached is kept."""
        last: dict[str, int] = {}
        for row in rows:
            self._db.execute("DELETE FROM rows WHERE n = ?", (row.n,))
            if isinstance(row.seq, int):  # a damaged row may hold anything
                last[row.boot] = max(row.seq, last.get(row.boot, 0))
        for boot, seq in last.items():
            self._db.execute("UPDATE sessions SET last_seq = max(last_seq, ?) WHERE boot = ?", (seq, boot))

    def bury(self, row: Row, reason: str) -> None:
        """Make a row a dead letter; the last 1,000 are kept."""
        self.put(row.with_state(DEAD))
        self._db.execute("INSERT OR REPLACE INTO dead VALUES(?,?,?,?,?)", (row.n, row.boot, row.seq, row.body, reason))
        too_many = "SELECT n FROM dead ORDER BY n DESC LIMIT -1 OFFSET ?"
        for (n,) in self._db.execute(too_many, (_MOST_DEAD,)).fetchall():
            self.discard(n)

    def discard(self, n: int) -> None:
        """Forget a dead letter."""
        self._db.execute("DELETE FROM dead WHERE n = ?", (n,))
        for row in list(self._rows("n = ? AND state = ?", (n, DEAD))):
            self.delete([row])

    def set_unsafe_tail(self, boot: str, unsafe: bool) -> None:
        """Whether a power cut can cost this session what it decided last."""
        statement = "INSERT OR IGNORE INTO unsafe_tails VALUES(?)" if unsafe else "DELETE FROM unsafe_tails WHERE boot = ?"
        self._db.execute(statement, (boot,))

    def put_session(self, session: Session, last_seq: int = 0) -> None:
        self._db.execute(
            "INSERT INTO sessions VALUES(?,?,?,?,?) ON CONFLICT(boot) DO UPDATE SET offset_s = excluded.offset_s,"
            " synced = excluded.synced, last_seq = max(last_seq, excluded.last_seq)",
            (session.boot, session.kernel_boot, session.offset_s, session.synced, last_seq),
        )

    def forget_sessions(self) -> None:
        """Sessions none of whose rows is left, and of whose tail nothing has to be told."""
        kept = "SELECT boot FROM rows UNION SELECT boot FROM unsafe_tails"
        self._db.execute(f"DELETE FROM sessions WHERE boot NOT IN ({kept})")

    # reading

    def get(self, n: int, on_damaged: Callable[[Row], None] | None = None) -> Iterator[Row]:
        """The row with this number, or none; `on_damaged` gets it when it is not what was stored."""
        for row, right in self._checked("n = ?", (n,), False):
            if right:
                yield row
            elif on_damaged is not None:
                on_damaged(row.readable())

    def waiting(self) -> Iterator[Row]:
        """Rows that wait, oldest first. A row that is not what was stored is left out; `damaged` counts it."""
        return self._rows("state = ?", (WAITING,))

    def waiting_events(self) -> Iterator[Row]:
        return self._rows("state = ? AND kind = ?", (WAITING, EVENT))

    def everything(self) -> Iterator[Row]:
        return self._rows("1", ())

    def delivered(self, *, newest_first: bool = False) -> Iterator[Row]:
        """Events that a broker acknowledged and that are kept for a replay."""
        return self._rows("state = ? AND kind = ?", (DELIVERED, EVENT), newest_first)

    def damaged(self) -> list[Row]:
        """Waiting rows whose checksum is wrong: as far as they can still be read."""
        return [row.readable() for row, right in self._checked("state = ?", (WAITING,), False) if not right]

    def sessions(self) -> dict[str, tuple[Session, int]]:
        """By boot: the session and the highest seq of the rows that were deleted. What makes no sense is left out."""
        found = {}
        for boot, kernel_boot, offset_s, synced, last_seq in self._db.execute("SELECT * FROM sessions"):
            session = Session(boot, kernel_boot, offset_s, bool(synced))
            if session.is_sound and isinstance(last_seq, int) and abs(last_seq) < _MOST_ROWS:
                found[boot] = (session, last_seq)
        return found

    def unsafe_tails(self) -> list[str]:
        """Boots that did not end well, and that a power cut could cost what they had decided last."""
        return [boot for (boot,) in self._db.execute("SELECT boot FROM unsafe_tails") if isinstance(boot, str)]

    def dead(self) -> list[DeadLetter]:
        """The newest 1,000, the oldest of them first."""
        found = []
        newest = "SELECT n, boot, seq, body, reason FROM dead ORDER BY n DESC LIMIT ?"
        for n, boot, seq, body, reason in reversed(self._db.execute(newest, (_MOST_DEAD,)).fetchall()):
            row = next(iter(self._rows("n = ? AND state = ?", (n, DEAD))), None)
            number = seq if type(seq) is int and abs(seq) < _MOST_ROWS else 0
            text_only = Row(n, EVENT, DEAD, str(boot), number, 0, 0.0, False, 0, str(body))
            found.append(DeadLetter(row or text_only, str(reason), row is not None))
        return found

    def highest_n(self) -> int:
        """Raises DatabaseError for a number that no outbox ever reaches."""
        highest = max(int(self._ask("SELECT max(n) FROM rows") or 0), int(self._ask("SELECT max(n) FROM dead") or 0))
        if highest > _MOST_ROWS:
            raise sqlite3.DatabaseError("the numbers of its rows make no sense")
        return highest

    def _rows(self, where: str, values: tuple[int, ...], newest_first: bool = False) -> Iterator[Row]:
        return (row for row, right in self._checked(where, values, newest_first) if right)

    def _checked(self, where: str, values: tuple[int, ...], newest_first: bool) -> Iterator[tuple[Row, bool]]:
        order = "DESC" if newest_first else "ASC"
        for fields in self._db.execute(f"SELECT {_COLUMNS}, checksum FROM rows WHERE {where} ORDER BY n {order}", values):
            row = to_row(fields)
            yield row, row.is_sound and row.checksum() == fields[10]

    def close(self) -> None:
        with contextlib.suppress(sqlite3.Error):
            self._db.close()


def to_row(fields: tuple[Any, ...]) -> Row:
    n, kind, state, boot, seq, happened_ns, offset_s, synced, lived_ns, body = fields[:10]
    return Row(n, kind, state, boot, seq, happened_ns, offset_s, bool(synced), lived_ns, body)
