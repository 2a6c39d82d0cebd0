"""The ledger: numbers without gaps, two lanes, drops that are told, counters that balance, ages no clock can change."""

import json
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from edged.delivery.messages import Events
from edged.delivery.outbox.database import Database
from edged.delivery.outbox.drops import OutboxLimits
from edged.delivery.outbox.failover import Shelves
from edged.delivery.outbox.queue import Handed, OutboxQueue
from edged.delivery.outbox.rows import EVENT, GAP, Row, Session, to_message
from edged.system.clock import Clock
from tests.unit.system.test_clock import Times

YEAR_S = 365 * 86400.0


class Outbox:
    """A ledger in memory with clocks of the test's, and what was handed out."""

    def __init__(self, limits: OutboxLimits | None = None, times: Times | None = None) -> None:
        self.times = times or Times()
        self.clock: Clock = self.times.clock()
        self.shelves = Shelves(None, "", None, Path("/"))
        self.ledger = OutboxQueue(self.shelves, self.clock, limits or OutboxLimits())
        self.ledger.begin()
        self.handed: list[Handed] = []

    def put(self, number: int = 0) -> Row:
        return self.ledger.put(json.dumps({"event_type": "entered", "label": str(number)}), self.clock.monotonic_ns())

    def hand_out(self, most: int = 16, late: int = 16) -> list[Handed]:
        handed = self.ledger.hand_out(most, late)
        self.handed += handed
        return handed


def balanced(counters: Events) -> bool:
    return counters.events == counters.delivered + counters.queued + sum(counters.dropped.values())


def test_young_events_go_first_and_both_lanes_keep_their_order() -> None:
    outbox = Outbox()
    old = [outbox.put().seq for _ in range(5)]
    outbox.times.pass_s(61)
    young = [outbox.put().seq for _ in range(3)]
    handed = outbox.hand_out(6)
    assert [(one.row.seq, one.late) for one in handed] == [*((s, False) for s in young), *((s, True) for s in old[:3])]
    assert [one.row.seq for one in outbox.hand_out()] == old[3:]


def test_an_event_that_gets_old_while_it_waits_changes_lanes() -> None:
    outbox = Outbox()
    for _ in range(10):
        outbox.put()
    assert [one.row.seq for one in outbox.hand_out(2)] == [1, 2]
    outbox.times.pass_s(61)
    handed = outbox.hand_out()
    assert [(one.row.seq, one.late) for one in handed] == [(seq, True) for seq in range(3, 11)]


def test_what_is_released_is_handed_out_again_in_order() -> None:
    outbox = Outbox()
    for _ in range(6):
        outbox.put()
    first = outbox.hand_out(4)
    outbox.ledger.acknowledged(first[1].row.n)
    outbox.ledger.release()
    assert [one.row.seq for one in outbox.hand_out()] == [1, 3, 4, 5, 6]


def test_the_oldest_are_dropped_and_told() -> None:
    outbox = Outbox(OutboxLimits(max_rows=10, memory_rows=1000))
    for number in range(25):
        outbox.put(number)
    handed = outbox.hand_out(100, 100)
    assert [one.row.seq for one in handed if one.row.kind == EVENT] == list(range(17, 27))
    gaps = [json.loads(one.row.body) for one in handed if one.row.kind == GAP]
    assert [(gap["from_seq"], gap["dropped"], gap["reason"]) for gap in gaps] == [(1, 15, "oldest")]
    assert outbox.ledger.counters().dropped == {"oldest": 15}
    assert balanced(outbox.ledger.counters())


def test_ages_are_immune_to_jumps_of_ten_years() -> None:
    outbox = Outbox(OutboxLimits(ttl_s=3600.0))
    outbox.put(1)
    for jump_s in (10 * YEAR_S, -20 * YEAR_S, 10 * YEAR_S):
        outbox.times.wall_s += jump_s
        outbox.times.pass_s(600)
        outbox.ledger.keep_up()
        assert outbox.ledger.waiting == 1
    outbox.times.pass_s(1801)
    outbox.ledger.keep_up()
    assert outbox.ledger.counters().dropped == {"expired": 1}


def test_events_from_before_the_clock_was_right_get_their_times() -> None:
    outbox = Outbox()
    wrong_s = outbox.times.wall_s
    body = {"event_type": "left", "since": "1970-01-01T00:01:35.000Z"}
    outbox.ledger.put(json.dumps(body), outbox.clock.monotonic_ns())
    outbox.times.pass_s(5)
    outbox.times.wall_s += 1.7e9
    outbox.times.synced = True
    outbox.ledger.keep_up()
    one = outbox.hand_out()[0]
    message = json.loads(to_message(one.row, one.session, late=False))
    assert message["clock_synced"] is True
    assert message["time"] == "2023-11-14T22:15:00.000Z"  # 1.7e9 s + 100 s
    assert message["since"] == "2023-11-14T22:14:55.000Z"
    assert wrong_s == 100.0


def test_a_replay_counts_as_new_events_with_their_old_names() -> None:
    outbox = Outbox()
    for number in range(5):
        outbox.put(number)
    for one in outbox.hand_out():
        outbox.ledger.acknowledged(one.row.n)
    outbox.times.pass_s(100)
    assert outbox.ledger.replay(50) == 0
    assert outbox.ledger.replay(200) == 5
    assert [(one.row.seq, one.late) for one in outbox.hand_out()] == [(seq, True) for seq in range(1, 6)]
    assert balanced(outbox.ledger.counters())


def test_an_earlier_session_is_taken_over(tmp_path: Path) -> None:
    store = Database(tmp_path / "outbox.db")
    store.begin()
    store.put_session(Session("0badcafe", "another run", 1e9, True))
    store.put(Row(7, EVENT, 0, "0badcafe", 3, 10**9, 1e9, True, 77, "{}"))
    store.commit()
    times = Times()
    shelves = Shelves(store, "", None, tmp_path)
    ledger = OutboxQueue(shelves, times.clock(), OutboxLimits())
    ledger.load(store)
    ledger.begin()
    ledger.put("{}", times.monotonic_ns)
    handed = ledger.hand_out(10, 10)
    assert [(one.row.boot == "0badcafe", one.row.seq, one.late) for one in handed] == [(False, 1, False), (True, 3, True)]
    assert ledger.counters() == Events(events=2, queued=2)
    shelves.close()


ACTIONS = st.lists(
    st.sampled_from(["put", "put", "put", "hand out", "acknowledge", "release", "bury", "pass", "long", "replay", "keep up"]),
    max_size=120,
)


@settings(max_examples=150, deadline=None)
@given(ACTIONS, st.integers(3, 40))
def test_whatever_happens_counters_balance_and_no_number_is_missing(actions: list[str], most: int) -> None:
    outbox = Outbox(OutboxLimits(max_rows=most, keep_rows=20, ttl_s=200.0, memory_rows=1000))
    out: list[Handed] = []
    numbers: set[int] = set()
    ended: set[int] = set()
    for action in actions:
        if action == "put":
            numbers.add(outbox.put().seq)
        elif action == "hand out":
            out += outbox.hand_out(5, 3)
            assert len({one.row.n for one in out}) == len(out)
        elif action == "acknowledge" and out:
            ended.add(out[0].row.n)
            outbox.ledger.acknowledged(out.pop(0).row.n)
        elif action == "bury" and out:
            outbox.ledger.bury(out.pop().row.n, "poison")
        elif action == "release":
            outbox.ledger.release()
            out.clear()
        elif action == "replay":
            outbox.ledger.replay(60.0)
        elif action == "keep up":
            outbox.ledger.keep_up()
        else:
            outbox.times.pass_s(61 if action == "long" else 1)
        assert balanced(outbox.ledger.counters())
        assert outbox.ledger.waiting == sum(row.kind == EVENT for row in outbox.shelves.read(lambda store: store.waiting()))
    rows = list(outbox.shelves.read(lambda store: store.everything()))
    assert len({(row.boot, row.seq) for row in rows}) == len(rows)
