"""What an earlier courier left in its tail is made up for on the disk, and where a tail may be missing, subscribers are told."""

import sqlite3
from collections import Counter
from dataclasses import replace

from edged.delivery.outbox.changes import Put, PutSession, StoredChange
from edged.delivery.outbox.database import Database
from edged.delivery.outbox.rows import DELIVERED, WAITING, Row
from edged.delivery.outbox.tail import Left


def take_in(store: Database, left: list[Left]) -> None:
    """Make the changes that were not committed, or not known to be. Raises sqlite3.Error.

    Each change is made at most once in effect: a tail may be older than the disk, and be taken in twice.
    """
    if not left:
        return
    committed = Counter({boot: last_seq for boot, (_session, last_seq) in store.sessions().items()})
    for row in store.everything():
        committed[row.boot] = max(committed[row.boot], row.seq)
    next_n = store.highest_n() + 1
    moved: dict[tuple[str, int], int] = {}  # rows whose n another has by now
    store.begin()
    try:
        for one in left:
            for change in one.changes:
                if isinstance(change, PutSession):
                    change.apply(store)
                    continue
                row = change.row
                name = (row.boot, row.seq)
                n = moved.get(name, row.n)
                there = next(iter(store.get(n)), None)
                is_ours = there is not None and (there.boot, there.seq) == name
                if is_ours:
                    _apply(store, change, n)
                elif isinstance(change, Put) and row.seq > committed[row.boot]:
                    if there is not None:
                        n, next_n = next_n, next_n + 1
                        moved[name] = n
                    _apply(store, change, n)
                    next_n = max(next_n, n + 1)
        store.commit()
    except sqlite3.Error:
        store.roll_back()
        raise


def _apply(store: Database, change: StoredChange, n: int) -> None:
    assert not isinstance(change, PutSession)
    replace(change, row=replace(change.row, n=n)).apply(store)


def to_rows(left: list[Left]) -> dict[int, Row]:
    """The rows of the tails, by n, for a disk that can't be written."""
    rows: dict[int, Row] = {}
    for one in left:
        for change in one.changes:
            if isinstance(change, Put) and change.row.state in (WAITING, DELIVERED):
                rows[change.row.n] = change.row
            elif not isinstance(change, PutSession):
                rows.pop(change.row.n, None)
    return rows
