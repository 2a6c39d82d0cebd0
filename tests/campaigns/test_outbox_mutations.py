"""2,000 damaged outbox files through the outbox's own opening: it opens each time, and saves what the damage left whole."""

import logging
import os
import random
import shutil
import sqlite3
import time
from pathlib import Path

import pytest

from edged.delivery.outbox.database import Database
from edged.delivery.outbox.repair import FILE, open_disk, open_outbox
from edged.delivery.outbox.rows import DELIVERED, EVENT, WAITING, Row, Session, to_message
from edged.system.clock import Clock
from tests.campaigns.mutations import mutated
from tests.campaigns.size import SEED, count, report

SHORT, FULL = 100, 2000
_BOOT = "0badcafe"
_NEAR = 48  # bytes before a row's body that belong to it: its key, header and numbers


def test_every_damaged_outbox_opens_and_whole_rows_are_saved(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL)
    wanted = count(SHORT, FULL)
    whole = tmp_path / "whole"
    rows = fill(whole, rows=400)
    files = [whole / FILE, whole / f"{FILE}-wal"]
    assert all(path.stat().st_size > 20_000 for path in files)
    originals = [path.read_bytes() for path in files]
    streams = [mutated(original, seed=SEED + i, count=wanted) for i, original in enumerate(originals)]
    untouched = saved = opened = mended = 0
    slowest_s = 0.0
    for i in range(wanted):
        which = i % 2
        _what, damaged = next(streams[which])
        folder = tmp_path / "damaged"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        for path, original in zip(files, originals, strict=True):
            (folder / path.name).write_bytes(original)
        (folder / files[which].name).write_bytes(damaged)
        left = [damaged if n == which else original for n, original in enumerate(originals)]
        expected = {n for n, row in rows.items() if row.state == WAITING and is_whole(row, originals, left)}
        began = time.monotonic()
        result = open_disk(folder / FILE)
        slowest_s = max(slowest_s, time.monotonic() - began)
        assert result.store is not None, result.reason
        got = {row.n for row in result.store.waiting()}
        result.store.begin()
        result.store.put(a_row(10_000, WAITING))
        result.store.commit()
        result.store.close()
        opened += 1
        mended += bool(result.told)
        untouched += len(expected)
        saved += len(expected & got)
    share = saved / untouched
    report(
        "outbox_mutations",
        {
            "files": wanted,
            "seed": SEED,
            "opened": opened,
            "mended": mended,
            "untouched_rows": untouched,
            "saved_rows": saved,
            "saved_share": round(share, 5),
            "slowest_s": round(slowest_s, 2),
        },
    )
    assert share >= 0.99


@pytest.mark.parametrize("kind", ["foreign", "newer", "locked", "text", "empty", "folder"])
def test_what_is_no_outbox_is_put_aside_and_two_copies_are_kept(tmp_path: Path, kind: str) -> None:
    for _ in range(4):
        lock = spoil(tmp_path, kind)
        outbox = open_outbox(tmp_path, Clock())
        if kind != "empty":
            assert any("kept as" in sentence for sentence in outbox.degraded), outbox.degraded
        expected = 30 if kind in ("newer", "locked") else 0
        assert outbox.counters.queued == expected
        assert outbox.counters.events == expected
        outbox.close(1)
        if lock is not None:
            lock.close()
    assert len(list(tmp_path.glob(f"{FILE}.quarantine-?"))) == (0 if kind == "empty" else 2)


def spoil(folder: Path, kind: str) -> Database | None:
    path = folder / FILE
    for suffix in ("", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    if kind == "foreign":
        db = sqlite3.connect(path)
        db.executescript("CREATE TABLE shopping(item TEXT); INSERT INTO shopping VALUES('milk');")
        db.close()
    elif kind in ("newer", "locked"):
        store = Database(path)
        store.begin()
        for n in range(1, 31):
            store.put(a_row(n, WAITING))
        store.commit()
        if kind == "locked":
            store.begin()
            return store
        store._ask("PRAGMA user_version = 9")
        store.close()
    elif kind == "folder":
        path.mkdir()
    else:
        path.write_bytes(b"" if kind == "empty" else b"dear diary\n" * 500)
    return None


def fill(folder: Path, rows: int) -> dict[int, Row]:
    """An outbox as a courier leaves it that was killed: half of it checkpointed, half in the log."""
    folder.mkdir()
    path = folder / "live.db"
    store = Database(path)
    written = {n: a_row(n, WAITING) for n in range(1, rows + 1)}
    for n, row in written.items():
        store.begin()
        if n == 1:
            store.put_session(Session(_BOOT, "kernel", 1_700_000_000.25, True))
        store.put(row)
        store.commit()
        if n > 100 and n % 3 == 0:
            store.begin()
            store.set_state(n - 90, DELIVERED)
            store.commit()
            written[n - 90] = written[n - 90].with_state(DELIVERED)
        if n == rows // 2:
            store._ask("PRAGMA wal_checkpoint(TRUNCATE)")
    shutil.copyfile(path, folder / FILE)
    shutil.copyfile(f"{path}-wal", folder / f"{FILE}-wal")
    store.close()
    return written


def a_row(n: int, state: int) -> Row:
    body = f'{{"event_type":"entered","label":"cat","note":"{random.Random(n).randbytes(80).hex()}","n":"<{n:06d}>"}}'
    return Row(n, EVENT, state, _BOOT, n, n * 10**9, 1_700_000_000.25, True, n * 10**9, body)


def is_whole(row: Row, originals: list[bytes], left: list[bytes]) -> bool:
    """Whether the last written copy of the row is still somewhere, byte by byte."""
    body = row.body.encode()
    for original, now in zip(reversed(originals), reversed(left), strict=True):
        at = original.rfind(body)
        if at >= 0:
            return original[at - _NEAR : at + len(body) + 6] in now
    return False


def test_a_disk_that_takes_nothing_is_read_past_sqlite(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("mounts a file system of its own")
    mounted = tmp_path / "small"
    mounted.mkdir()
    if os.system(f"mount -t tmpfs -o size=1m tmpfs {mounted}") != 0:
        pytest.skip("no mounts here")
    try:
        store = Database(mounted / FILE)
        store.begin()
        for n in range(1, 31):
            store.put(a_row(n, WAITING))
        store.commit()
        store.close()
        os.system(f"mount -o remount,ro {mounted}")
        outbox = open_outbox(mounted, Clock())
        assert outbox.counters.queued == 30
        assert "in memory" in outbox.degraded[0]
        outbox.close(1)
    finally:
        os.system(f"umount -l {mounted}")


_VALUES = ("NULL", "'abc'", "x'ff00'", "1e300", "-5", "9223372036854775807", "0.5", "-9223372036854775808", "9e999")
_COLUMNS = {
    "rows": ("n", "kind", "state", "boot", "seq", "happened_ns", "offset_s", "synced", "lived_ns", "body", "checksum"),
    "sessions": ("boot", "kernel_boot", "offset_s", "synced", "last_seq"),
    "dead": ("n", "boot", "seq", "body", "reason"),
}


@pytest.mark.parametrize(("table", "column"), [(table, column) for table, columns in _COLUMNS.items() for column in columns])
def test_no_value_in_any_column_hurts(tmp_path: Path, table: str, column: str) -> None:
    """A valid database with one absurd value: it opens, and the other nine waiting rows are handed out."""
    for number, value in enumerate(_VALUES):
        folder = tmp_path / str(number)
        folder.mkdir()
        store = Database(folder / FILE)
        store.begin()
        store.put_session(Session(_BOOT, "kernel", 1_700_000_000.25, True))
        for n in range(1, 21):
            store.put(a_row(n, n % 2))
        store.bury(a_row(30, WAITING), "poison")
        store.commit()
        store.close()
        if not spoil_value(folder / FILE, table, column, value):
            continue
        outbox = open_outbox(folder, Clock())
        ledger = outbox._ledger
        assert ledger.waiting >= 9, value
        ledger.put("{}", 0)
        for one in ledger.hand_out(50, 50):
            to_message(one.row, one.session, late=one.late)
            ledger.acknowledged(one.row.n)
        ledger.replay(1e9)
        ledger.keep_up()
        counters = ledger.counters()
        assert counters.events == counters.delivered + counters.queued + sum(counters.dropped.values())
        outbox._shelves.close()


def spoil_value(path: Path, table: str, column: str, value: str) -> bool:
    """Whether SQLite lets it be."""
    db = sqlite3.connect(path)
    try:
        db.execute("PRAGMA writable_schema = 1")
        db.execute("UPDATE sqlite_master SET sql = replace(sql, 'NOT NULL', '')")
        db.commit()
        db.close()
        db = sqlite3.connect(path)
        first = {"rows": " WHERE n = 1", "sessions": "", "dead": ""}[table]
        db.execute(f"UPDATE {table} SET {column} = {value}{first}")
        db.commit()
    except sqlite3.Error:
        return False
    finally:
        db.close()
    return True
