"""Opening the outbox, which never fails. What SQLite can not use is put aside, and its rows are taken out of it."""

import contextlib
import logging
import os
import sqlite3
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from edged.delivery.outbox.database import Database
from edged.delivery.outbox.drops import OutboxLimits
from edged.delivery.outbox.failover import Shelves
from edged.delivery.outbox.queue import OutboxQueue
from edged.delivery.outbox.replacement import beside, clean_place, finish_mending, put_in_place
from edged.delivery.outbox.rows import WAITING, Row, Session
from edged.delivery.outbox.salvage import logged, read_log, salvage, to_sessions
from edged.delivery.outbox.tail import find_left, open_tail, remove_left, take_in, to_rows
from edged.delivery.outbox.writer import Durability, Outbox
from edged.errors import UnavailableError
from edged.system.clock import Clock
from edged.system.files import make_folder, put_aside, sync_folder
from edged.system.text import to_sentence

log = logging.getLogger("edged")

FILE = "outbox.db"
# what SQLite's door says of a damaged file: also words of it that are no text, and numbers that are none of Python's
_UNUSABLE = (sqlite3.Error, OSError, ValueError, OverflowError)
_MOST_TOLD = 20
_ROOM_BYTES = 256 * 1024  # a disk that does not take so much is full, whatever SQLite calls it


@dataclass
class Opened:
    """What became of the file: a store, or rows that were read past SQLite because the disk takes nothing."""

    store: Database | None
    told: list[str] = field(default_factory=list)
    reason: str = ""
    rows: dict[int, Row] = field(default_factory=dict)


class _File:
    """How the shelves get a disk again."""

    def __init__(self, path: Path, told: list[str]) -> None:
        self._path, self._told = path, told

    def reopen(self) -> Database:
        again = open_disk(self._path)
        if again.store is None:
            raise OSError(again.reason)
        self._tell(again.told)
        return again.store

    def rebuild(self, old: Database, why: str) -> Database:
        """Of what the connection can still read, and of what still lies in the file."""
        path = self._path
        path.parent.mkdir(parents=True, exist_ok=True)
        building = clean_place(path)
        store = Database(building)
        store.begin()
        saved = _copy(old, store)
        with contextlib.suppress(OSError):
            for n, row in salvage(path, read_log(path)).items():
                if n not in saved:
                    store.put(row)
        store.commit()
        store.close()
        old.close()
        put_in_place(path, building)
        again = _open(path, b"")
        self._tell([f"{why} while edged used it; it was made anew of what could still be read"])
        return again

    def _tell(self, sentences: list[str]) -> None:
        _tell(sentences)
        self._told.extend(sentences)
        del self._told[:-_MOST_TOLD]


def _copy(old: Database, new: Database) -> set[int]:
    """All that can be read; the numbers of the rows."""
    saved = set[int]()
    with contextlib.suppress(sqlite3.Error):
        for session, last_seq in old.sessions().values():
            new.put_session(session, last_seq)
        for boot in old.unsafe_tails():
            new.set_unsafe_tail(boot, True)
    with contextlib.suppress(sqlite3.Error):
        for row in old.everything():
            new.put(row)
            saved.add(row.n)
    with contextlib.suppress(sqlite3.Error):
        for letter in old.dead():
            new.bury(letter.row, letter.reason)
    return saved


def open_outbox(
    folder: Path, clock: Clock, *, durability: Durability = "balanced", limits: OutboxLimits | None = None, min_free_bytes: int = 0
) -> Outbox:
    """Always returns an outbox; what is wrong with it is in its `degraded`."""
    limits = limits or OutboxLimits()
    if durability == "memory":
        limits = replace(limits, memory_rows=limits.max_rows, memory_bytes=limits.max_bytes)
        shelves = Shelves(None, "", None, folder)
        ledger = OutboxQueue(shelves, clock, limits)
        ledger.begin()
        return Outbox(ledger, shelves, durability, [])
    path = folder / FILE
    opened = open_disk(path)
    told = opened.told
    _tell([*told, *([opened.reason] if opened.reason else [])])
    left, tail = find_left(folder), open_tail(folder, clock.boot)
    store, is_taken_in, unsafe = opened.store, False, list[str]()

    def on(disk: Database | None) -> tuple[Shelves, OutboxQueue]:
        shelves = Shelves(disk, opened.reason, _File(path, told), folder, min_free_bytes, tail)
        return shelves, OutboxQueue(shelves, clock, limits)

    if store is not None:
        try:
            take_in(store, left)
            is_taken_in = True
            shelves, ledger = on(store)
            ledger.load(store)
            unsafe = store.unsafe_tails()
        except _UNUSABLE as error:
            store.close()
            opened = Opened(None, told, f"the outbox is in memory, because {path} can not be used: {error}")
            _tell([opened.reason])
            store = None
    if store is None:
        left = [] if is_taken_in else left  # what they hold is on the disk, or lies there for the next start
        shelves, ledger = on(None)
        ledger.begin_without(int(time.time() * 1000))
        rows = opened.rows | to_rows(left)
        ledger.adopt(rows, to_sessions(rows))
    ledger.begin(unsafe_tail=durability == "balanced")
    ledger.make_up(left, unsafe)
    shelves.commit()
    if shelves.on_disk and store is not None:
        with contextlib.suppress(sqlite3.Error):  # the next start forgets them
            store.forget_sessions()
        remove_left(left)
    return Outbox(ledger, shelves, durability, told)


def answer_offline(folder: Path, do: str, which: str) -> dict[str, Any]:
    """What `edged outbox` asks, of the outbox of a daemon that does not run. Raises EdgedError when it can't be used."""
    path = folder / FILE
    if not path.is_file():
        raise UnavailableError(f"there is no outbox in {folder}")
    opened = open_outbox(folder, Clock())
    try:
        if opened.degraded and do != "list":
            raise UnavailableError(opened.degraded[0])
        return opened.answer(do, which, {})
    finally:
        opened.close_unstarted()


def open_disk(path: Path) -> Opened:
    """The file at `path`, mended if it must be; Opened.store is None where nothing can be written at all."""
    log_bytes = b""
    try:
        make_folder(path.parent, 0o700)
        _make_way(path)
        finish_mending(path)
        log_bytes = read_log(path)
        return Opened(_open(path, log_bytes))
    except _UNUSABLE as error:
        why = to_sentence(str(error))
    rows: dict[int, Row] = {}
    try:
        rows = salvage(path, log_bytes)
        _check_room(path.parent)
        aside = _mend(path, rows)
        store = _open(path, b"")
    except _UNUSABLE as error:
        reason = f"the outbox is in memory, because {path} can not be used: {getattr(error, 'strerror', None) or error}"
        return Opened(None, reason=reason, rows=rows)
    waiting = sum(row.state == WAITING for row in rows.values())
    told = f"the outbox could not be used ({why}) and is kept as {aside}; {waiting} waiting rows were saved from it"
    return Opened(store, [told])


def _make_way(path: Path) -> None:
    """Move aside what is no regular file, and what SQLite would wait for or read for ever. Raises OSError."""
    for suffix in ("", "-wal", "-shm", ".building", ".building-wal", ".building-shm", ".mended"):
        one = beside(path, suffix)
        is_ours = one.is_file() or (not suffix and one.is_dir())  # a folder in the file's place is kept with the rows' copies
        if os.path.lexists(one) and not is_ours and put_aside(one) is None:
            raise OSError(f"{one}: is not a regular file, and cannot be moved away")


def _tell(sentences: list[str]) -> None:
    for sentence in sentences:
        log.warning("%s", sentence)


def _open(path: Path, log_bytes: bytes) -> Database:
    """The file as it is, with what a power cut left in its log behind the page that it tore. Reads every row once."""
    in_log = logged(log_bytes)
    if in_log and not (path.is_file() and path.stat().st_size):
        raise sqlite3.DatabaseError("the file is empty, and its log is not")
    new = not path.exists()
    store = Database(path)
    try:
        if new:
            sync_folder(path.parent)  # else a power cut brings back the journal that SQLite needed to create the file
        sessions = store.sessions()
        last_seq = {boot: seq for boot, (_session, seq) in sessions.items()}
        for _row in store.waiting():
            pass
        highest = store.highest_n()
        _put(store, (row for n, row in sorted(in_log.items()) if n > highest and row.seq > last_seq.get(row.boot, 0)))
    except BaseException:
        store.close()
        raise
    return store


def _put(store: Database, rows: Iterable[Row], sessions: Iterable[Session] = ()) -> None:
    store.begin()
    for row in rows:
        store.put(row)
    for session in sessions:
        store.put_session(session)
    store.commit()


def _mend(path: Path, rows: dict[int, Row]) -> str:
    """Put the file aside and a new one with these rows in its place. A power cut at any moment loses none of them."""
    building = clean_place(path)
    sessions = {boot: session for boot, (session, _seq) in _old_sessions(path).items()}
    store = Database(building)
    _put(store, rows.values(), (to_sessions(rows) | sessions).values())
    store.close()
    return put_in_place(path, building)


def _old_sessions(path: Path) -> dict[str, tuple[Session, int]]:
    """The sessions as far as SQLite can read them, without writing a byte: for the times of the rows."""
    found: dict[str, tuple[Session, int]] = {}
    with contextlib.suppress(sqlite3.Error, TypeError, ValueError):
        db = sqlite3.connect(f"file:{path}?mode=ro&immutable=1", uri=True)
        with contextlib.closing(db):
            for boot, kernel_boot, offset_s, synced, last_seq in db.execute("SELECT * FROM sessions"):
                found[str(boot)] = (Session(str(boot), str(kernel_boot), float(offset_s), bool(synced)), int(last_seq))
    return found


def _check_room(folder: Path) -> None:
    """Raises OSError when the folder takes no data."""
    with tempfile.TemporaryFile(dir=folder) as file:
        file.write(b"\0" * _ROOM_BYTES)
        file.flush()
