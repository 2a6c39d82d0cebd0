"""The outbox's files are taken away, replaced and cut while it is used; and its work does not grow with what it holds."""

import json
import os
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edged.delivery.outbox.database import Database
from edged.delivery.outbox.drops import OutboxLimits
from edged.delivery.outbox.failover import Shelves
from edged.delivery.outbox.queue import OutboxQueue
from edged.delivery.outbox.repair import FILE, open_outbox
from edged.delivery.outbox.rows import EVENT, GAP, Session
from edged.delivery.outbox.waiting import Ranges
from edged.delivery.outbox.writer import Outbox
from edged.errors import EdgedError
from edged.system.clock import Clock
from tests.unit.system.test_clock import Times


def filled(folder: Path, events: int) -> Outbox:
    outbox = open_outbox(folder, Clock())
    for number in range(1, events + 1):
        outbox._ledger.put(json.dumps({"event_type": "entered", "label": str(number)}), outbox._ledger._clock.monotonic_ns())
        if number % 7 == 0:
            outbox._shelves.commit()
    outbox._shelves.commit()
    return outbox


def remove(path: Path) -> None:
    for suffix in ("", "-wal"):
        path.with_name(path.name + suffix).unlink()


def replace(path: Path) -> None:
    other = path.with_name("other")
    Database(other).close()
    other.replace(path)


def cut(suffix: str) -> Callable[[Path], None]:
    return lambda path: os.truncate(path.with_name(path.name + suffix), path.with_name(path.name + suffix).stat().st_size // 2)


DAMAGES: dict[str, Callable[[Path], None]] = {
    "file removed": lambda path: path.unlink(),
    "log removed": lambda path: path.with_name(path.name + "-wal").unlink(),
    "both removed": remove,
    "folder removed": lambda path: shutil.rmtree(path.parent),
    "folder moved": lambda path: path.parent.rename(path.parent.with_name(f"moved-{path.parent.name}")) and None,
    "file replaced": replace,
    "replaced by text": lambda path: (path.unlink(), path.write_text("dear diary"))[1] and None,
    "file cut": cut(""),
    "log cut": cut("-wal"),
    "log emptied": lambda path: os.truncate(path.with_name(path.name + "-wal"), 0),
    "both emptied": lambda path: [os.truncate(path.with_name(path.name + s), 0) for s in ("", "-wal")] and None,
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_happens_to_the_files_is_noticed_told_and_counted(tmp_path: Path, damage: str) -> None:
    folder = tmp_path / "state"
    outbox = filled(folder, 100)
    queue = outbox._ledger
    DAMAGES[damage](folder / FILE)
    queue.keep_up()
    assert any("while edged used it" in sentence for sentence in outbox.degraded), outbox.degraded
    counters = queue.counters()
    assert counters.events == counters.queued + counters.delivered + sum(counters.dropped.values()) == 100
    handed = queue.hand_out(1000, 1000)
    assert sum(one.row.kind == EVENT for one in handed) == counters.queued
    told = [json.loads(one.row.body) for one in handed if one.row.kind == GAP]
    assert sum(gap["dropped"] for gap in told) == counters.dropped.get("damaged", 0)
    if "removed" in damage or "replaced" in damage or "moved" in damage:
        assert counters.queued == 100, "everything could still be read"
    outbox.close_unstarted()
    again = open_outbox(folder, Clock())
    assert again._ledger.counters().queued == counters.queued
    again.close_unstarted()


def test_there_is_no_shared_memory_that_could_be_cut(tmp_path: Path) -> None:
    outbox = filled(tmp_path, 10)
    assert not list(tmp_path.glob("*-shm"))
    outbox.close_unstarted()


class Steps:
    """How many instructions SQLite needs: the same on every machine."""

    def __init__(self, store: Database) -> None:
        self.count = 0
        store._db.set_progress_handler(self._step, 1)

    def _step(self) -> int:
        self.count += 1
        return 0


def work_of(folder: Path, rows: int, kept: int) -> dict[str, int]:
    """SQLite's steps of one insert, one hand-out with its answers, and one round of upkeep, with so many rows."""
    folder.mkdir()
    times = Times()
    clock = times.clock()
    store = Database(folder / FILE)
    store._db.execute("PRAGMA synchronous = OFF")
    store.begin()
    store.put_session(Session("0badcafe", "an earlier run", 1e9, True))
    values = ((n, EVENT, int(n <= kept), "0badcafe", n, n, 1e9, 1, n, "{}") for n in range(1, rows + kept + 1))
    from edged.delivery.outbox.rows import Row

    for fields in values:
        store.put(Row(*fields))  # type: ignore[arg-type]
    store.commit()
    shelves = Shelves(store, "", None, folder)
    queue = OutboxQueue(shelves, clock, OutboxLimits(max_rows=10**7, max_bytes=10**10, keep_rows=10**7))
    queue.load(store)
    queue.begin()
    steps = Steps(store)
    figures = {}

    def measure(what: str, step: Callable[[], Any]) -> None:
        before = steps.count
        step()
        figures[what] = steps.count - before

    measure("put", lambda: queue.put("{}", clock.monotonic_ns()))
    measure("hand out", lambda: [queue.acknowledged(one.row.n) for one in queue.hand_out(8, 8)])
    measure("release", lambda: (queue.hand_out(8, 8), queue.release()))
    measure("keep up", queue.keep_up)
    shelves.close()
    return figures


def test_the_work_is_the_same_with_10_rows_and_with_many(tmp_path: Path) -> None:
    few, many = work_of(tmp_path / "few", 40, 10), work_of(tmp_path / "many", 20_000, 10_000)
    for what, steps in few.items():
        assert many[what] <= steps * 1.2 + 20, (what, few, many)


def test_a_long_restart_loop_leaves_no_sessions_behind(tmp_path: Path) -> None:
    store = Database(tmp_path / FILE)
    store.begin()
    for number in range(40_000):
        store.put_session(Session(f"{number:08x}", Clock().kernel_boot, 1e9, True))
    store.commit()
    store.close()
    outbox = open_outbox(tmp_path, Clock())
    assert outbox.degraded == []
    assert outbox._shelves._disk is not None
    assert len(outbox._shelves._disk.sessions()) == 1
    outbox.close_unstarted()


def buried(folder: Path) -> Outbox:
    outbox = filled(folder, 5)
    for one in outbox._ledger.hand_out(3, 3):
        outbox._ledger.bury(one.row.n, "packet too large")
    return outbox


def test_dead_letters_are_listed_sent_again_and_discarded(tmp_path: Path) -> None:
    outbox = buried(tmp_path)
    boot = outbox._ledger._clock.boot
    letters = outbox.answer("list", "", {})["dead"]
    assert [(one["id"], one["reason"]) for one in letters] == [(f"{boot}-{n}", "packet too large") for n in (1, 2, 3)]
    assert outbox.answer("retry", f"{boot}-2", {}) == {"count": 1}
    assert outbox.answer("discard", f"{boot}-1", {}) == {"count": 1}
    with pytest.raises(EdgedError, match="no dead letter"):
        outbox.answer("retry", "0badcafe-9", {})
    outbox.close_unstarted()
    again = open_outbox(tmp_path, Clock())
    assert [one["id"] for one in again.answer("list", "", {})["dead"]] == [f"{boot}-3"]
    handed = again._ledger.hand_out(100, 100)
    assert sorted(one.row.seq for one in handed if one.row.kind == EVENT and one.row.boot == boot) == [2, 4, 5]
    counters = again._ledger.counters()
    assert counters.events == counters.queued + counters.delivered + sum(counters.dropped.values())
    assert again.answer("discard", "all", {}) == {"count": 1}
    again.close_unstarted()


def test_an_event_that_is_set_aside_is_discarded_and_told(tmp_path: Path) -> None:
    outbox = filled(tmp_path, 3)
    (one, *_rest) = outbox._ledger.hand_out(1, 0)
    assert outbox.answer("discard", "an id", {"an id": one.row.n}) == {"count": 1}
    assert outbox._ledger.counters().dropped == {"discarded": 1}
    gaps = [json.loads(handed.row.body) for handed in outbox._ledger.hand_out(10, 10) if handed.row.kind == GAP]
    assert [(gap["from_seq"], gap["to_seq"], gap["dropped"]) for gap in gaps] == [(1, 1, 1)]
    outbox.close_unstarted()


def test_letters_of_an_older_edged_can_be_read_and_discarded(tmp_path: Path) -> None:
    filled(tmp_path, 1).close_unstarted()
    db = sqlite3.connect(tmp_path / FILE)
    db.execute("INSERT INTO dead VALUES(77, '0badcafe', 5, '{}', 'old')")
    db.commit()
    db.close()
    outbox = open_outbox(tmp_path, Clock())
    assert outbox.answer("list", "", {})["dead"][0]["retriable"] is False
    with pytest.raises(EdgedError, match="older edged"):
        outbox.answer("retry", "0badcafe-5", {})
    assert outbox.answer("discard", "all", {}) == {"count": 1}
    assert outbox.answer("list", "", {})["dead"] == []
    outbox.close_unstarted()


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 40)), max_size=80))
def test_ranges_are_a_set(actions: list[tuple[bool, int]]) -> None:
    ranges, wanted = Ranges(), set[int]()
    for adds, n in actions:
        if adds:
            assert ranges.add(n) == (n not in wanted)
            wanted.add(n)
        else:
            assert ranges.remove(n) == (n in wanted)
            wanted.discard(n)
        assert list(ranges) == sorted(wanted)
        assert list(reversed(ranges)) == sorted(wanted, reverse=True)
        assert list(ranges.since(n)) == sorted(m for m in wanted if m >= n)
        assert len(ranges) == len(wanted)
        assert (n in ranges) == (n in wanted)
