"""An hour of 60 events a second, with the broker there and with it away for as long: on a clock of the test's and a real disk,
and as many events 15 times as fast through a real courier and a real broker.
"""

import json
import signal
from pathlib import Path

import pytest

from edged.delivery.outbox.database import Database
from edged.delivery.outbox.drops import OutboxLimits
from edged.delivery.outbox.failover import Shelves
from edged.delivery.outbox.queue import OutboxQueue
from edged.delivery.outbox.rows import EVENT, GAP
from tests.campaigns.size import SEED, count, report
from tests.campaigns.test_chaos import _LOSSLESS
from tests.e2e.fault_proxy import FaultProxy
from tests.e2e.running import Broker, wait_for
from tests.e2e.source import Arrivals, Source
from tests.unit.delivery.test_outbox_files import Steps
from tests.unit.system.test_clock import Times

_PER_S = 60
_TIMES_AS_FAST = 15


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


@pytest.mark.parametrize("there", [True, False], ids=["broker there", "broker away"])
def test_an_hour_of_events_through_a_real_courier(tmp_path: Path, there: bool) -> None:
    """216,000 events in full, 900 a second. What waits is limited to 100,000: of the rest is told."""
    events = count(2700, 3600 * _PER_S)
    most = events if there else events // 2
    (tmp_path / "broker").mkdir()
    broker = Broker(tmp_path, *_LOSSLESS[:1], *_LOSSLESS[3:], f"persistence_location {tmp_path}/broker/")
    proxy = FaultProxy(broker.port, SEED).start()
    arrivals = Arrivals(broker.port)
    proxy.become("" if there else "refuse")
    source = Source(
        port=proxy.port, state_folder=str(tmp_path / "state"), events=events, per_s=float(_PER_S * _TIMES_AS_FAST),
        outbox={"min_free_mb": 0.0, "max_rows": most, "max_mb": 1000.0, "backlog_per_s": 5000.0},
    )  # fmt: skip
    wait_for(lambda: source.said.get("counters", {}).get("events", 0) >= events // 3, events / 100 + 60, "well under way")
    early_mb = source.said["peak_mb"]
    wait_for(lambda: source.said["counters"]["events"] == events, events / 100 + 60, "all were made")
    late_mb = source.said["peak_mb"]
    proxy.become("")
    done = source.wait_done(events / 100 + 120)
    dropped = sum(done["dropped"].values())

    def announced() -> int:
        return sum({gap["id"]: gap["dropped"] for gap in arrivals.gaps()}.values())

    wait_for(lambda: len(arrivals.labels()) + announced() >= events, 120, "every event arrived or was told of")
    assert source.end() == 0
    report(
        f"hour_{'there' if there else 'away'}",
        {"events": events, "arrived": len(arrivals.labels()), "announced": announced(), "dropped": done["dropped"],
         "grown_mb": round(late_mb - early_mb, 1), "grown_while_sending_mb": round(source.said["peak_mb"] - late_mb, 1)},
    )  # fmt: skip
    assert dropped == announced() == (0 if there else events - most)
    assert len(arrivals.labels()) == done["delivered"] == events - dropped
    assert late_mb - early_mb <= 4
    arrivals.close()
    proxy.close()
    broker.end(signal.SIGKILL)
