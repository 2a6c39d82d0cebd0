"""An outbox that somebody wrote who is not edged: each row that is none is counted, and the others are delivered."""

import asyncio
import json
import sqlite3
import time
from pathlib import Path
from typing import Any

import pytest

from edged.delivery.messages import CameraState
from edged.delivery.outbox.database import Database
from edged.delivery.outbox.letters import Letters
from edged.delivery.outbox.repair import FILE, open_outbox
from edged.delivery.outbox.rows import EVENT, WAITING, Row, Session, checksum
from edged.system.clock import Clock, kernel_boot
from tests.contract.delivery.test_broker import AN_EVENT, dispatching, until
from tests.e2e.fake_broker import FakeBroker

BODY = json.dumps({"event_type": "entered", "label": "cat"})
ODD: dict[str, dict[str, Any]] = {
    "body is bytes": {"body": b"\xff\xfe"},
    "body is nothing": {"body": ""},
    "body is a list": {"body": "[]"},
    "body is deep": {"body": "[" * 60_000},
    "body has a number for a time": {"body": '{"event_type": "entered", "since": 7}', "synced": 0},
    "body has no time": {"body": '{"event_type": "entered", "since": "yesterday"}', "synced": 0},
    "seq is text": {"seq": "abc"},
    "seq is huge": {"seq": (1 << 63) - 1},
    "boot is bytes": {"boot": b"\x00\xff"},
    "offset is in a far year": {"offset_s": 1e12},
    "happened is huge": {"happened_ns": (1 << 63) - 1},
    "offset is infinite": {"offset_s": float("inf")},
    "offset is text": {"offset_s": "x"},
    "kind is text": {"kind": "x"},
    "lived is text": {"lived_ns": "x"},
}


def plant(path: Path, changed: dict[str, Any]) -> None:
    """Three rows, and the second is odd, with a checksum that is right."""
    store = Database(path)
    store.begin()
    store.put_session(Session("0badcafe", kernel_boot(), 2e9, True))
    for n in (1, 2, 3):
        store.put(Row(n, EVENT, WAITING, "0badcafe", n, n, 1e9, True, n, BODY))
    store.commit()
    store.close()
    fields = {
        "kind": EVENT,
        "boot": "0badcafe",
        "seq": 2,
        "happened_ns": 2,
        "offset_s": 1e9,
        "synced": 1,
        "lived_ns": 2,
        "body": BODY,
    }
    fields |= changed
    right = checksum(2, *(fields[name] for name in ("kind", "boot", "seq", "happened_ns", "offset_s")), bool(fields["synced"]),
                     fields["lived_ns"], fields["body"])  # fmt: skip
    with sqlite3.connect(path) as db:
        names = ", ".join(f"{name} = ?" for name in fields)
        db.execute(f"UPDATE rows SET {names}, checksum = ? WHERE n = 2", (*fields.values(), right))
    db.close()


@pytest.mark.parametrize("what", ODD)
def test_a_row_that_is_none_stops_nobody(tmp_path: Path, what: str) -> None:
    """Before: some ended the daemon at each start."""
    (tmp_path / "state").mkdir()
    plant(tmp_path / "state" / FILE, ODD[what])
    broker = FakeBroker()

    async def live() -> None:
        async with dispatching(tmp_path, port=broker.port) as dispatch:
            await until(lambda: dispatch.counters().queued == 0, 10, "all are dealt with")
            counters = dispatch.counters()
            dropped = sum(counters.dropped.values())
            assert (counters.events, counters.delivered, dropped) == (3, 2, 1), counters

    asyncio.run(live())
    broker.close()
    again = open_outbox(tmp_path / "state", Clock())
    Letters(again._ledger, again._shelves).all()
    assert again._ledger.counters().queued == 0
    again.close_unstarted()


def test_a_name_that_can_not_be_written_stops_nobody(tmp_path: Path) -> None:
    """Before: half of a character ended the daemon."""
    broker = FakeBroker()
    names = ["a\0b", "\ud800", "\n\r", "x" * 100_000, "\u202e\U0001f600"]

    async def live() -> None:
        async with dispatching(tmp_path, port=broker.port) as dispatch:
            for name in names:
                dispatch.retain("label", name)
                dispatch.retain("camera", CameraState(state="lost", since="2026-01-01T00:00:00.000Z", reason=name))
                dispatch.event(AN_EVENT.model_copy(update={"label": name}), time.monotonic_ns())
            await until(lambda: dispatch.counters().delivered == len(names), 10, "all are delivered")
            await until(lambda: broker.seen.retained.get("edged/door/label") == names[-1].encode(), 5, "the last name")

    asyncio.run(live())
    broker.close()
    told = [json.loads(m.payload)["label"] for m in broker.seen.messages if m.topic.endswith("/event")]
    assert told == [name.replace("\ud800", "?") for name in names]


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TRIGGER one AFTER INSERT ON rows BEGIN DELETE FROM rows; END",
        "CREATE VIEW one AS SELECT * FROM rows",
    ],
)
def test_what_is_done_behind_our_back_is_undone(tmp_path: Path, statement: str) -> None:
    """Before: what was stored vanished without a word."""
    plant(tmp_path / FILE, {})
    with sqlite3.connect(tmp_path / FILE) as db:
        db.execute(statement)
    db.close()
    outbox = open_outbox(tmp_path, Clock())
    assert "no table of an outbox" in outbox.degraded[0]
    outbox._ledger.put(BODY, 1)
    outbox._shelves.commit()
    assert len(outbox._ledger.hand_out(10, 10)) == 4
    outbox.close_unstarted()


def test_rows_that_are_gone_are_counted(tmp_path: Path) -> None:
    """Before: they waited for ever."""
    plant(tmp_path / FILE, {})
    outbox = open_outbox(tmp_path, Clock())
    assert outbox._shelves._disk is not None
    outbox._shelves._disk._db.execute("DELETE FROM rows WHERE n = 2")
    assert len(outbox._ledger.hand_out(10, 10)) == 2
    outbox._ledger.keep_up()
    counters = outbox._ledger.counters()
    assert (counters.queued, counters.dropped) == (2, {"damaged": 1})
    outbox.close_unstarted()


@pytest.mark.parametrize("values", ["'x', 0, 1, 5", "1e300, 0, 1, 5", "1e9, 0, 1, 9223372036854775807", "1e9, 0, 1, 'x'"])
def test_a_session_that_is_none_stops_nobody(tmp_path: Path, values: str) -> None:
    plant(tmp_path / FILE, {})
    offset_s, _, synced, last_seq = values.split(", ")
    with sqlite3.connect(tmp_path / FILE) as db:
        db.execute(f"UPDATE sessions SET offset_s = {offset_s}, synced = {synced}, last_seq = {last_seq}")
        db.execute("INSERT INTO unsafe_tails VALUES('0badcafe')")
    db.close()
    outbox = open_outbox(tmp_path, Clock())
    assert outbox._ledger.counters().queued == 3
    outbox.close_unstarted()
