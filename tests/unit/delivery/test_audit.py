"""Missing, repeated and announced events, as a subscriber counts them."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from edged.delivery.audit import Account

ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner)
    | st.dictionaries(st.text() | st.sampled_from(["boot", "seq", "time", "schema", "event_type"]), inner),
    max_leaves=12,
)


def an_event(seq: int, boot: str = "0badcafe", **more: Any) -> dict[str, Any]:
    fields = {"schema": "edged/1", "boot": boot, "seq": seq, "time": "2026-01-01T00:00:00.000Z", "clock_synced": True}
    return fields | {"event_type": "entered"} | more


def a_gap(seq: int, low: int, high: int, dropped: int) -> dict[str, Any]:
    return an_event(seq, event_type="gap", from_seq=low, to_seq=high, dropped=dropped, reason="oldest")


@given(st.sets(st.integers(1, 60), min_size=1), st.lists(st.tuples(st.integers(1, 60), st.integers(0, 20)), max_size=4))
def test_missing_is_what_is_neither_seen_nor_told_of(seen: set[int], gaps: list[tuple[int, int]]) -> None:
    account = Account(from_start=True)
    told = set()
    for seq in seen:
        account.take("edged/door/event", an_event(seq), 0.0)
    for number, (low, length) in enumerate(gaps):
        account.take("edged/door/backlog", a_gap(100 + number, low, low + length, 1), 0.0)
        told |= set(range(low, low + length + 1))
    arrived = seen | {100 + number for number in range(len(gaps))}
    entry = account.report()[0]
    assert entry["missing_seqs"] == sorted(set(range(1, max(arrived) + 1)) - arrived - told)
    assert entry["missing"] == len(entry["missing_seqs"])


def test_what_came_twice_is_counted_once_more() -> None:
    account = Account()
    for seq in (5, 6, 6, 7):
        assert account.take("edged/door/event", an_event(seq), 1.0)
    entry = account.report()[0]
    assert (entry["received"], entry["duplicates"], entry["missing"], entry["first_seq"]) == (3, 1, 0, 5)


def test_a_gap_without_an_end_says_from_where_on_nobody_knows_and_hides_nothing_before() -> None:
    """After a power cut. Its own number lies beyond all that may have been sent."""
    account = Account(from_start=True)
    for seq in (1, 3, 4):
        account.take("edged/door/event", an_event(seq), 0.0)
    open_end = an_event(1004, event_type="gap", from_seq=5, to_seq=None, dropped=None, reason="power")
    assert account.take("edged/door/backlog", open_end, 0.0) and account.foreign == 0
    entry = account.report()[0]
    assert (entry["missing_seqs"], entry["announced"], entry["unknown_from_seq"]) == ([2], {}, 5)


def test_absurd_numbers_cost_no_time() -> None:
    account = Account()
    account.take("edged/door/event", an_event(1), None)
    account.take("edged/door/event", an_event(10**18), None)
    entry = account.report()[0]
    assert entry["missing"] == 10**18 - 2
    assert len(entry["missing_seqs"]) == 1000


@given(st.text(), ANY_JSON)
def test_anything_may_stand_on_the_topic(topic: str, payload: Any) -> None:
    account = Account()
    account.take(topic, payload, 0.0)
    account.take("edged/door/event", payload, 0.0)
    account.report()


def test_what_came_while_we_were_cut_off_is_unheard_and_not_missing() -> None:
    """Before: events that others received counted as lost, because the connection of `edged audit` itself was broken."""
    account = Account()
    for seq in (1, 2, 4):
        account.take("edged/door/event", an_event(seq), None)
    account.cut_off()
    account.cut_off()
    account.take("edged/door/backlog", an_event(3), None)
    for seq in (9, 10, 12):
        account.take("edged/door/event", an_event(seq), None)
    entry = account.report()[0]
    assert (entry["unheard"], entry["missing_seqs"]) == (4, [11])
