"""An hour of 60 events a second with the broker away, and as long to deliver it: on a clock of the test's, on a real disk."""

import json
from pathlib import Path

from edged.delivery.outbox.database import Database
from edged.delivery.outbox.drops import OutboxLimits
from edged.delivery.outbox.failover import Shelves
from edged.delivery.outbox.queue import OutboxQueue
from edged.delivery.outbox.rows import EVENT, GAP
from tests.campaigns.size import count, report
from tests.unit.delivery.test_outbox_files import Steps
from tests.unit.system.test_clock import Times

_PER_S = 60


def test_an_hour_at_60_a_second_without_a_broker(tmp_path: Path) -> None:
    seconds = count(60, 3600)
    times = Times()
    clock = times.clock()
    store = Database(tmp_path / "outbox.db")
    store._db.execute("PRAGMA synchronous = OFF")
    limits = OutboxLimits(max_rows=_PER_S * seconds // 2, max_bytes=10**10)
    shelves = Shelves(store, "", None, tmp_path)
    queue = OutboxQueue(shelves, clock, limits)
    queue.begin()
    steps = Steps(store)
    body = json.dumps({"event_type": "entered", "label": "person"})
    first = most = 0
    for second in range(seconds):
        before = steps.count
        for _ in range(_PER_S):
            queue.put(body, clock.monotonic_ns())
        queue.keep_up()
        shelves.commit()
        times.pass_s(1)
        if second == 10:
            first = steps.count - before
        elif 10 < second < seconds // 2 - 1:
            most = max(most, steps.count - before)
    assert queue.waiting == limits.max_rows
    delivered: set[int] = set()
    announced = 0
    while queue.waiting or queue.rows_left:
        for one in queue.hand_out(16, 16):
            if one.row.kind == EVENT:
                assert one.row.seq not in delivered
                delivered.add(one.row.seq)
            elif one.row.kind == GAP:
                announced += json.loads(one.row.body)["dropped"]
            queue.acknowledged(one.row.n)
        times.pass_s(0.2)
    counters = queue.counters()
    report(
        "long_outage",
        {"seconds": seconds, "events": counters.events, "delivered": len(delivered), "announced": announced,
         "steps_of_a_second": [first, most]},
    )  # fmt: skip
    shelves.close()
    assert counters.events == _PER_S * seconds == counters.delivered + sum(counters.dropped.values())
    assert len(delivered) == counters.delivered
    assert announced == sum(counters.dropped.values()) == _PER_S * seconds - limits.max_rows
    assert most <= first * 1.2
