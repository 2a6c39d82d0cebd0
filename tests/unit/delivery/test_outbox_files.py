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

from edged.delivery.outbox import queue
from edged.delivery.outbox.database import Database
from edged.delivery.outbox.drops import OutboxLimits
from edged.delivery.outbox.failover import Shelves
from edged.delivery.outbox.letters import Letters
from edged.delivery.outbox.queue import OutboxQueue
from edged.delivery.outbox.repair import FILE, open_outbox
from edged.delivery.outbox.rows import EVENT, GAP, WAITING, Row, Session
from edged.delivery.outbox.waiting import Ranges
from edged.delivery.outbox.writer import Outbox
from edged.errors import EdgedError, UnavailableError
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


def hollow(path: Path) -> None:
    """As a cut in the middle of a commit leaves it."""
    size = path.stat().st_size
    os.truncate(path, 0)
    os.truncate(path, size + 4096)


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
    "log emptied while it is written": lambda path: hollow(path.with_name(path.name + "-wal")),
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


ENDLESS = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT x"
SCHEMAS = {
    "a view without an end": "ALTER TABLE dead RENAME TO d; CREATE VIEW dead(n, boot, seq, body, reason) AS "
    f"{ENDLESS}, '', 1, '', '' FROM c;",
    "a trigger without an end": f"CREATE TRIGGER t AFTER INSERT ON sessions BEGIN DELETE FROM dead WHERE n IN ({ENDLESS} FROM c);"
    "END;",
    "a trigger that takes events away": "CREATE TRIGGER t AFTER INSERT ON rows BEGIN DELETE FROM rows; END;",
    "a column that is made up": "CREATE TABLE more(a, b AS (zeroblob(999999999)));",
    "another table": "CREATE TABLE more(a);",
    "an index of an expression": "CREATE INDEX i ON rows(hex(zeroblob(n * 1000)));",
    "a body without an end": "UPDATE rows SET body = hex(zeroblob(5000000)) WHERE n = 1;",
}


@pytest.mark.parametrize("name", SCHEMAS)
def test_what_another_hand_wrote_into_the_file_does_not_run(tmp_path: Path, name: str) -> None:
    """It opens soon, the rows of the others are saved, and what was there is kept aside."""
    filled(tmp_path, 20).close_unstarted()
    db = sqlite3.connect(tmp_path / FILE)
    db.executescript(SCHEMAS[name])
    db.close()
    outbox = open_outbox(tmp_path, Clock())
    assert len(outbox.degraded) == 1 and "is kept as" in outbox.degraded[0], outbox.degraded
    outbox.close_unstarted()
    db = Database(tmp_path / FILE)
    saved = [json.loads(row.body)["label"] for row in db.waiting_events()]
    db.close()
    assert saved == [str(number) for number in range(2 if "body" in name else 1, 21)]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_commit_in_between_hides_nothing(tmp_path: Path, damage: str) -> None:
    """Before: it took the size of a file that was cut for the right one."""
    outbox = filled(tmp_path / "state", 100)
    DAMAGES[damage](tmp_path / "state" / FILE)
    for _ in range(3):
        outbox._ledger.put("{}", outbox._ledger._clock.monotonic_ns())
        outbox._shelves.commit()
    outbox._ledger.keep_up()
    assert any("while edged used it" in sentence or "in memory" in sentence for sentence in outbox.degraded), outbox.degraded
    counters = outbox._ledger.counters()
    assert counters.events == counters.queued + sum(counters.dropped.values()) == 103
    assert sum(one.row.kind == EVENT for one in outbox._ledger.hand_out(1000, 1000)) == counters.queued
    outbox.close_unstarted()


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


def test_what_was_young_at_the_start_is_not_looked_at_for_ever(tmp_path: Path) -> None:
    """Before: with no new event each hand-out read all that had been stored in the last minute before the start."""
    times = Times()
    clock = times.clock()
    store = Database(tmp_path / FILE)
    store.begin()
    store.put_session(Session("0badcafe", clock.kernel_boot, 1e9, True))
    for n in range(1, 4001):
        store.put(Row(n, EVENT, WAITING, "0badcafe", n, clock.monotonic_ns(), 1e9, True, n, "{}"))
    store.commit()
    queue = OutboxQueue(Shelves(store, "", None, tmp_path), clock, OutboxLimits())
    queue.load(store)
    queue.begin()
    times.pass_s(61)
    steps = Steps(store)
    assert len(queue.hand_out(8, 8)) == 8
    assert steps.count < 1000


def test_no_statement_reads_a_whole_table(tmp_path: Path) -> None:
    times = Times()
    times.synced = True
    clock = times.clock()
    store = Database(tmp_path / FILE)
    shelves = Shelves(store, "", None, tmp_path)
    queue = OutboxQueue(shelves, clock, OutboxLimits(max_rows=300, keep_rows=10, ttl_s=3600))
    queue.begin()
    said = set[str]()
    store._db.set_trace_callback(said.add)
    for _ in range(400):  # more than max_rows
        queue.put("{}", clock.monotonic_ns())
    for number, one in enumerate(queue.hand_out(100, 100)):  # more are delivered than are kept
        queue.bury(one.row.n, "test") if number == 3 else queue.acknowledged(one.row.n)
    queue.hand_out(4, 4)
    queue.release()
    assert queue.hand_out_one(350)
    assert queue.discard(360)
    assert queue.replay(60) > 0
    letters = Letters(queue, shelves)
    assert letters.retry("all") == 1
    times.wall_s += 1000
    times.pass_s(2)
    queue.keep_up()
    times.pass_s(4000)
    queue.keep_up()
    assert {"expired", "oldest", "discarded"} <= set(queue.counters().dropped)
    shelves.commit()
    store._db.set_trace_callback(None)
    plans = {
        statement: " ".join(str(step[3]) for step in store._db.execute(f"EXPLAIN QUERY PLAN {statement}"))
        for statement in said
        if statement.split(" ", 1)[0] in ("SELECT", "UPDATE", "DELETE", "INSERT")
    }
    assert len({statement.split(" ", 1)[0] for statement in plans}) == 4
    whole = {statement: plan for statement, plan in plans.items() if "SCAN" in plan.replace("SCAN dead", "")}  # 1,000 at most
    assert not whole
    assert "SCAN rows" in str(store._db.execute("EXPLAIN QUERY PLAN SELECT n FROM rows WHERE state = 0").fetchall()), "as is told"
    shelves.close()


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


class FailingConnection(sqlite3.Connection):
    """Of a file: the statements from `first` on fail, `many` of them."""

    first, many, count = 0, 0, 0
    is_file = False

    def _fail_if_it_is_time(self) -> None:
        cls = FailingConnection
        cls.count += self.is_file
        if self.is_file and cls.first <= cls.count < cls.first + cls.many:
            raise sqlite3.OperationalError("disk I/O error")

    def execute(self, *values: Any) -> sqlite3.Cursor:
        self._fail_if_it_is_time()
        return super().execute(*values)

    def executescript(self, script: str) -> sqlite3.Cursor:
        self._fail_if_it_is_time()
        return super().executescript(script)


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> type[FailingConnection]:
    def connect(path: Path | None) -> sqlite3.Connection:
        db = sqlite3.connect(path or ":memory:", isolation_level=None, check_same_thread=False, factory=FailingConnection)
        db.is_file = path is not None
        return db

    monkeypatch.setitem(Database.__init__.__kwdefaults__, "connect", connect)
    monkeypatch.setattr(queue, "_HEAL_NS", 0)
    for name in ("first", "many", "count"):
        monkeypatch.setattr(FailingConnection, name, 0)
    return FailingConnection


@pytest.mark.parametrize("many", [1, 3, 40])
def test_whichever_statement_of_the_start_fails_it_starts_and_loses_nothing(
    tmp_path: Path, failing: type[FailingConnection], many: int
) -> None:
    """Before: an error that came once the file was open ended the daemon."""
    first = last = 0
    while last >= first:
        first += 1
        folder = tmp_path / str(first)
        failing.many = 0
        filled(folder, 5)._shelves.close()
        failing.first, failing.many, failing.count = first, many, 0
        outbox = open_outbox(folder, Clock())
        last = failing.count  # statements that a start takes
        outbox._ledger.put("{}", outbox._ledger._clock.monotonic_ns())
        failing.many = 0
        outbox._ledger.keep_up()
        assert outbox._shelves.on_disk, f"statement {first}"
        counters = outbox.answer("list", "", {}) and outbox._ledger.counters()
        assert counters.events == counters.queued == 6, f"statement {first}"
        outbox.close_unstarted()
        assert open_outbox(folder, Clock())._ledger.counters().queued == 6, f"statement {first}"
    assert first > 20


@pytest.mark.parametrize("do", ["list", "retry", "discard"])
def test_dead_letters_that_can_not_be_read_now_are_an_error_for_who_asked(
    tmp_path: Path, failing: type[FailingConnection], do: str
) -> None:
    """Before: the outbox's thread died of it, and the daemon with it."""
    outbox = filled(tmp_path, 3)
    failing.first, failing.many = failing.count + 1, 1
    with pytest.raises(UnavailableError, match="disk I/O error"):
        outbox.answer(do, "all", {})
    assert not outbox._shelves.on_disk
    outbox._ledger.keep_up()
    assert outbox._shelves.on_disk
    assert outbox._ledger.counters().queued == 3
    assert outbox.answer("list", "", {})["waiting"] == 3


@pytest.mark.parametrize("room", ["", "none"])
def test_a_dead_letter_is_sent_again_once_also_while_the_disk_takes_nothing(tmp_path: Path, room: str) -> None:
    """Before: with less free disk than `outbox.min_free_mb` it stayed in the list, counted anew each time, and nothing balanced."""
    outbox = filled(tmp_path, 6)
    ledger, shelves = outbox._ledger, outbox._shelves
    handed = ledger.hand_out(16, 16)
    for one in handed[:4]:
        ledger.bury(one.row.n, "refused")
    shelves.commit()
    if room:
        shelves._min_free_bytes = 1 << 60
        ledger.keep_up()
        assert not shelves.on_disk
    ledger.bury(handed[4].row.n, "refused")
    assert outbox.answer("list", "", {})["dead_count"] == 5
    first = outbox.answer("list", "", {})["dead"][0]["id"]
    assert outbox.answer("discard", first, {}) == {"count": 1}
    assert outbox.answer("retry", "all", {}) == {"count": 4}
    assert outbox.answer("retry", "all", {}) == {"count": 0}
    ledger.bury(ledger.hand_out(1, 0)[0].row.n, "refused again")
    assert [one["reason"] for one in outbox.answer("list", "", {})["dead"]] == ["refused again"]

    def balance(opened: Outbox) -> tuple[int, int]:
        found = opened._ledger.counters()
        assert found.events == found.delivered + found.queued + sum(found.dropped.values())
        return found.queued, opened.answer("list", "", {})["dead_count"]

    assert balance(outbox) == (4, 1)
    shelves._min_free_bytes = 0
    ledger._heal_ns = 0
    ledger.keep_up()
    assert shelves.on_disk
    assert balance(outbox) == (4, 1)
    shelves.close()
    assert balance(open_outbox(tmp_path, Clock())) == (4, 1)


def gaps(outbox: Outbox) -> list[tuple[int, int, str]]:
    handed = outbox._ledger.hand_out(1000, 1000)
    told = [json.loads(one.row.body) for one in handed if one.row.kind == GAP]
    return sorted((one["from_seq"], one["dropped"], one["reason"]) for one in told)


@pytest.mark.parametrize("damage", ["log emptied", "both removed", "row gone", "row spoilt", "an older one is found"])
def test_what_is_lost_with_the_file_is_told_also_where_a_gap_told_of_it(tmp_path: Path, damage: str) -> None:
    """Before: events that were dropped were counted, and the gap that was to tell of them went with the file."""
    outbox = filled(tmp_path, 20)
    ledger, shelves = outbox._ledger, outbox._shelves
    assert shelves._disk is not None
    for n in (1, 2):
        assert ledger.discard(n)
    shelves.commit()
    older = next(iter(ledger._waiting.gap_rows.values()))
    assert ledger.discard(3)
    shelves.commit()
    statements = {
        "row gone": f"DELETE FROM rows WHERE n = {older.n}",
        "row spoilt": f"UPDATE rows SET body = 'x' WHERE n = {older.n}",
    }
    if damage in statements:
        shelves._disk._db.execute(statements[damage])
        gaps(outbox)
        ledger.release()
    elif damage == "an older one is found":
        shelves._disk.put(older)
        ledger._compare()
    else:
        DAMAGES[damage](tmp_path / FILE)
    ledger.keep_up()
    counts = ledger.counters().dropped
    assert counts["discarded"] == 3
    assert (1, 3, "discarded") in gaps(outbox)
    assert sum(dropped for _from, dropped, _reason in gaps(reopened(outbox, tmp_path))) == sum(counts.values())


def reopened(outbox: Outbox, folder: Path) -> Outbox:
    outbox._ledger.release()
    outbox.close_unstarted()
    return open_outbox(folder, Clock())


def test_a_kill_right_after_the_file_was_mended_costs_no_gap(tmp_path: Path) -> None:
    """Before: what was written again waited for the next commit, and the next start took it for what had long been deleted."""
    outbox = filled(tmp_path, 20)
    ledger = outbox._ledger
    assert ledger.discard(1)
    outbox._shelves.commit()
    ledger.put("{}", ledger._clock.monotonic_ns())
    outbox._shelves.commit()
    assert outbox._shelves._disk is not None
    outbox._shelves._disk._db.execute("DELETE FROM rows WHERE kind = ?", (GAP,))
    gaps(outbox)
    ledger.keep_up()
    outbox._shelves._disk._db.close()  # as SIGKILL: what was not committed is rolled back
    assert (1, 1, "discarded") in gaps(open_outbox(tmp_path, Clock()))
