"""What the outbox costs a memory card: bytes written for each event, alone and in batches, and in an idle hour."""

import asyncio
import os
import time
from pathlib import Path

import pytest

from edged.delivery.outbox.database import PAGE_BYTES, Database
from edged.delivery.outbox.drops import OutboxLimits
from edged.delivery.outbox.failover import Shelves
from edged.delivery.outbox.queue import OutboxQueue
from edged.delivery.outbox.rows import to_body
from edged.delivery.outbox.tail import Tail
from edged.delivery.outbox.writer import Outbox
from edged.system.clock import Clock
from tests.campaigns.size import count, report
from tests.e2e.running import wait_for

BODY = to_body(
    {
        "event_type": "entered",
        "label": "person",
        "score": 0.8731,
        "since": "2026-11-23T21:00:00.000Z",
        "duration_s": 0,
        "reason": "3 of the last 3 at 0.60 or more",
        "model": "home_0.25_128",
    }
)
_HERE = Path(__file__).parents[2] / "build"


class _NoOther:
    """There is meant to be a disk, and so a tail; no other one is needed."""

    def reopen(self) -> Database:
        raise OSError

    def rebuild(self, old: Database, why: str) -> Database:
        raise OSError


def written() -> tuple[int, int]:
    """Bytes of this process: handed to write calls, and sent towards a disk but for what was cut off before it went there."""
    words = Path("/proc/self/io").read_text().split()
    calls, disk, cancelled = (int(words[words.index(f"{word}:") + 1]) for word in ("wchar", "write_bytes", "cancelled_write_bytes"))
    return calls, disk - cancelled


def events(folder: Path, number: int, at_once: int, page_bytes: int, tail: Path | None = None) -> dict[str, int]:
    """Database, deliver and acknowledge; a commit after each `at_once` events, and another one for the acknowledgements.

    `tail`: the folder of what is not yet committed.
    """
    clock = Clock()
    store = Database(folder / f"outbox-{page_bytes}-{at_once}.db", page_bytes=page_bytes)
    shelves = Shelves(store, "", _NoOther(), folder, tail=Tail(tail, "outbox-0badcafe-", clock.boot) if tail else None)
    ledger = OutboxQueue(shelves, clock, OutboxLimits(keep_rows=number // 2))
    ledger.begin()
    shelves.commit()
    before = written()
    for _ in range(number // at_once):
        for _ in range(at_once):
            shelves.tail.number(shelves.tail.accept(BODY, clock.monotonic_ns()))
            ledger.put(BODY, clock.monotonic_ns())
        shelves.commit()
        for handed in ledger.hand_out(at_once, 0):
            ledger.acknowledged(handed.row.n)
        if at_once > 1:
            shelves.commit()
    shelves.commit()
    shelves.close()
    calls, disk = (after - start for after, start in zip(written(), before, strict=True))
    return {"written": calls // number, "to_disk": disk // number}


def test_bytes_for_an_event() -> None:
    """The acknowledgement of a lone event travels with the commit of the next, at most 0.25 s later when nothing else comes."""
    _HERE.mkdir(exist_ok=True)
    number = count(640, 6400)
    figures: dict[str, dict[str, int]] = {}
    import tempfile

    for page_bytes in (1024, 2048, 4096, 8192):
        with tempfile.TemporaryDirectory(dir=_HERE) as folder:
            figures[f"one_{page_bytes}"] = events(Path(folder), number, 1, page_bytes)
            figures[f"batch32_{page_bytes}"] = events(Path(folder), number, 32, page_bytes)
    with tempfile.TemporaryDirectory(dir=_HERE) as folder:
        figures["batch32_tail"] = events(Path(folder), number, 32, PAGE_BYTES, Path(folder))
    report("outbox_bytes", {"events": number, "body_bytes": len(BODY)} | figures)
    for where in ("written", "to_disk"):
        assert figures[f"one_{PAGE_BYTES}"][where] <= 12_000
        assert figures[f"batch32_{PAGE_BYTES}"][where] <= 1_600
    assert figures["batch32_tail"]["to_disk"] <= 1_600, "also where the tail lies in the state folder"


def test_one_event_a_second_through_the_outbox(tmp_path: Path) -> None:
    """As it really is: the outbox's thread, its timer, an acknowledgement 20 ms later; and then nothing for a while."""
    seconds, idle_s = count(10, 120), count(10, 120)
    _HERE.mkdir(exist_ok=True)
    import shutil
    import tempfile

    folder = Path(tempfile.mkdtemp(dir=_HERE))
    store = Database(folder / "outbox.db")
    shelves = Shelves(store, "", None, folder)
    ledger = OutboxQueue(shelves, Clock(), OutboxLimits())
    ledger.begin()
    outbox = Outbox(ledger, shelves, "balanced", [])

    async def live() -> tuple[tuple[int, int], tuple[int, int], tuple[int, int]]:
        outbox.start(
            lambda: outbox.hand_out(
                16, 16, frozenset(), lambda handed, _left: [outbox.acknowledged(one.row.n) for one in handed] and None
            )
        )
        await asyncio.sleep(0.5)
        before = written()
        for _ in range(seconds):
            outbox.put(BODY, time.monotonic_ns())
            await asyncio.sleep(1)
        between = written()
        await asyncio.sleep(idle_s)
        return before, between, written()

    before, between, after = asyncio.run(live())
    outbox.close(2)
    wait_for(lambda: outbox.counters.delivered == seconds, 5, "all acknowledged")
    shutil.rmtree(folder)
    report(
        "outbox_one_a_second",
        {
            "events": seconds,
            "written_per_event": (between[0] - before[0]) // seconds,
            "to_disk_per_event": (between[1] - before[1]) // seconds,
            "idle_s": idle_s,
            "written_per_idle_hour": (after[0] - between[0]) * 3600 // idle_s,
            "to_disk_per_idle_hour": (after[1] - between[1]) * 3600 // idle_s,
        },
    )
    assert (between[1] - before[1]) / seconds <= 12_000
    assert (after[1] - between[1]) * 3600 / idle_s < 1_000_000


if os.environ.get("PYTEST_XDIST_WORKER"):
    pytest.skip("counts what the whole process writes", allow_module_level=True)
