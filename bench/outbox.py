"""What the outbox costs with ten rows and with a million, in turn, in one run: insert, hand out and answer, timers, upkeep.

    python bench/outbox.py [--rows 1000000] [--rounds 300] [--folder build]

Prints medians of processor time in µs for one event (timers: for one round of them) and the ratio; only the ratio is worth
quoting, for machines differ. A million rows take 300 MB in --folder and are removed at the end.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from edged.delivery.outbox.database import Database
from edged.delivery.outbox.drops import OutboxLimits
from edged.delivery.outbox.failover import Shelves
from edged.delivery.outbox.queue import OutboxQueue
from edged.delivery.outbox.rows import DELIVERED, EVENT, WAITING, Row, Session, to_body
from edged.system.clock import Clock

BATCH = 32
EARLIER = Session("0badcafe", "an earlier run", 1e9, True)
BODY = to_body(
    {
        "event_type": "entered", "label": "person", "score": 0.8731, "since": "2026-11-23T21:00:00.000Z", "duration_s": 0,
        "reason": "3 of the last 3 at 0.60 or more", "model": "home_0.25_128",
    }
)  # fmt: skip


def open_with(folder: Path, rows: int) -> tuple[OutboxQueue, Shelves]:
    """An outbox in which so many rows lie: nine of ten wait, and the others are kept."""
    folder.mkdir()
    store = Database(folder / "outbox.db")
    store._db.execute("PRAGMA synchronous = OFF")  # while it is filled
    kept = rows // 10
    for first in range(1, rows + 1, 50_000):
        store.begin()
        store.put_session(EARLIER)
        for n in range(first, min(first + 50_000, rows + 1)):
            state = DELIVERED if n <= kept else WAITING
            store.put(Row(n, EVENT, state, EARLIER.boot, n, n, 1e9, True, n, BODY))
        store.commit()
    store._db.execute("PRAGMA synchronous = FULL")
    shelves = Shelves(store, "", None, folder)
    queue = OutboxQueue(shelves, Clock(), OutboxLimits(max_rows=10**7, max_bytes=10**10, keep_rows=kept))
    queue.load(store)
    queue.begin()
    shelves.commit()
    return queue, shelves


def rounds_of(queue: OutboxQueue, shelves: Shelves) -> dict[str, Callable[[], int]]:
    """One round of each; what it returns is for how many events."""

    def insert() -> int:
        for _ in range(BATCH):
            queue.put(BODY, time.monotonic_ns())
        shelves.commit()
        return BATCH

    def hand_out() -> int:
        """The young ones that were just put: as many leave as came."""
        handed = queue.hand_out(BATCH, 0)
        for one in handed:
            queue.acknowledged(one.row.n)
        shelves.commit()
        return len(handed)

    def timers() -> int:
        queue.keep_up()
        shelves.commit()
        return 1

    def late() -> int:
        """What lies at the other end."""
        handed = queue.hand_out(8, 8)
        queue.release()
        return len(handed)

    return {"insert": insert, "hand out, acknowledged": hand_out, "hand out a late one": late, "timers": timers}


def took_us(step: Callable[[], int]) -> float:
    began = time.thread_time_ns()
    count = step()
    return (time.thread_time_ns() - began) / 1e3 / max(1, count)


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--rows", type=int, default=1_000_000)
    ask.add_argument("--rounds", type=int, default=300)
    ask.add_argument("--folder", type=Path, default=Path("build"))
    asked = ask.parse_args()
    asked.folder.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=asked.folder) as place:
        opened = [open_with(Path(place, str(rows)), rows) for rows in (10, asked.rows)]
        both = [rounds_of(queue, shelves) for queue, shelves in opened]
        took: dict[str, tuple[list[float], list[float]]] = {what: ([], []) for what in both[0]}
        for number in range(asked.rounds):
            for what in both[0]:
                for which in (0, 1) if number % 2 else (1, 0):
                    took[what][which].append(took_us(both[which][what]))
        print(f"{'':>24} {'10 rows':>12} {f'{asked.rows:,} rows':>16} {'ratio':>8}")
        for what, (few, many) in took.items():
            ratio = statistics.median(many) / statistics.median(few)
            print(f"{what:>24} {statistics.median(few):>9.1f} µs {statistics.median(many):>13.1f} µs {ratio:>8.2f}")
        for _queue, shelves in opened:
            shelves.close()


if __name__ == "__main__":
    main()
