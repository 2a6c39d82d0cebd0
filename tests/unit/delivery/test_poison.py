"""Who made the broker hang up: nobody without proof, and nobody blocks the others."""

import random
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edged.delivery.broker.inflight import Became, InFlight
from edged.delivery.broker.poison import Sent, Suspects
from edged.delivery.broker.readback import Echoes


class Now:
    def __init__(self) -> None:
        self.s = 0.0

    def __call__(self) -> float:
        return self.s


def an_event(n: int, now: Now, size: int = 100) -> Sent:
    return Sent(n, "event", size, at_s=now.s)


class Line:
    """Messages in order over a simulated line, as the sender sends them: `kills(sent)` says whether the broker hangs up."""

    def __init__(self, sizes: list[int], kills: Callable[[Sent], bool]) -> None:
        self.now = Now()
        self.suspects, self.kills = Suspects(self.now), kills
        self.waiting = list(range(len(sizes)))
        self.sizes = sizes
        self.given_up: list[int] = []
        self.acknowledged: list[int] = []
        self.connections = 0

    def step(self) -> None:
        """One connection: messages one at a time until one ends it, or none may be sent."""
        self.connections += 1
        self.suspects.begin()
        for _ in range(200):
            free = [n for n in self.waiting if not self.suspects.is_aside(n)]
            trial = self.suspects.due(idle=not free)
            if trial is None and not free:
                break
            sent = an_event(trial.name if trial else free[0], self.now, 0)  # type: ignore[arg-type]
            sent = an_event(int(sent.name), self.now, self.sizes[int(sent.name)])
            if trial:
                self.suspects.tried()
            if self.kills(sent):
                for guilty in self.suspects.accuse([sent]):
                    self.given_up.append(int(guilty.name))
                    self.waiting.remove(int(guilty.name))
                break
            self.suspects.acknowledged(sent)
            self.waiting.remove(int(sent.name))
            self.acknowledged.append(int(sent.name))
        self.now.s += 1.0


def test_a_path_that_breaks_on_every_event_costs_none() -> None:
    """Before: two or three of some hundred were given up."""
    line = Line([100 + n % 7 for n in range(300)], lambda _sent: line.now.s < 60)
    while line.waiting and line.now.s < 200:
        line.step()
    assert line.given_up == []
    assert sorted(line.acknowledged) == list(range(300))
    assert line.now.s < 75, "what was set aside comes soon after the path works"


@pytest.mark.parametrize("chance", [0.3, 0.5, 0.7])
def test_a_path_that_breaks_often_costs_none(chance: float) -> None:
    rng = random.Random(1)
    line = Line([100] * 500, lambda _sent: rng.random() < chance)
    while line.waiting and line.now.s < 20_000:
        line.step()
    assert line.given_up == []
    assert not line.waiting


def test_one_that_kills_where_others_of_its_size_pass_is_given_up() -> None:
    line = Line([100] * 400, lambda sent: sent.name == 3)
    while line.waiting and line.now.s < 600:
        line.step()
        line.waiting.append(line.waiting[-1] + 1 if line.waiting else len(line.sizes))
        line.sizes.append(100)
    assert line.given_up == [3]


@pytest.mark.parametrize(
    ("topic", "size", "is_witness"), [("event", 5000, True), ("event", 9000, True), ("event", 4999, False), ("label", 5000, False)]
)
def test_a_witness_is_of_its_topic_and_at_least_of_its_size(topic: str, size: int, is_witness: bool) -> None:
    now = Now()
    suspects = Suspects(now)
    given_up = False
    for number in range(100, 160):
        suspects.begin()
        given_up = given_up or bool(suspects.accuse([Sent(1, "event", 5000, at_s=now.s)]))
        suspects.acknowledged(Sent(number, topic, size, at_s=now.s))
        now.s += 601
    assert given_up is is_witness


def test_one_without_witnesses_is_set_aside_and_the_others_go_past_it() -> None:
    limit = [1000]
    line = Line([100, 5000, *[100] * 40], lambda sent: sent.size > limit[0])
    for _ in range(8):
        line.step()
    assert line.waiting == [1]
    assert [(one.sent.name, one.sent.size) for one in line.suspects.aside] == [(1, 5000)]
    connections = line.connections
    while line.now.s < 4000:
        line.step()
    assert line.given_up == []
    kills = line.suspects.aside[0].strikes
    assert kills < 25, "the pause grows"
    assert line.connections - connections > 1000
    limit[0] = 10_000
    line.now.s += 600
    line.step()
    assert line.acknowledged[-1] == 1, "within the longest pause"


def test_many_large_ones_in_a_row_do_not_block_the_small_ones() -> None:
    line = Line([*[5000] * 20, *[100] * 20], lambda sent: sent.size > 1000)
    for _ in range(40):
        line.step()
    assert sorted(line.acknowledged) == list(range(20, 40))
    assert line.given_up == []


def test_a_connection_that_breaks_later_accuses_nobody() -> None:
    now = Now()
    suspects = Suspects(now)
    for _ in range(50):
        sent = an_event(1, now)
        now.s += 5
        assert suspects.accuse([sent]) == []
    assert suspects.aside == []


def test_a_retained_topic_is_never_given_up_and_soon_tried_again() -> None:
    now = Now()
    suspects = Suspects(now)
    for number in range(29):
        for topic in ("status", "camera"):
            assert suspects.accuse([Sent(topic, topic, 50, at_s=now.s)]) == []
        assert all(one.due_s - now.s <= 3.3 for one in suspects.aside), number
    lone = Suspects(now)
    pauses = []
    for _ in range(60):
        assert lone.accuse([Sent("status", "status", 50, at_s=now.s)]) == []
        pauses.append(lone.aside[0].due_s - now.s if lone.aside else 0.0)
    assert max(pauses[:30]) <= 3.3, "right within 5 s of a broker that works"
    assert pauses[-1] == 600, "and a value that really ends the connection does so ever more rarely"


def test_after_a_long_time_a_topic_is_tried_soon_on_a_connection_that_it_did_not_end() -> None:
    """Before: after 30 hang-ups it waited up to 10 minutes, also for a broker that was mended and started again."""
    now = Now()
    suspects = Suspects(now)
    for _ in range(60):
        suspects.begin()
        assert suspects.accuse([Sent("status", "status", 50, at_s=now.s)]) == []
    (one,) = suspects.aside
    suspects.begin()
    assert one.due_s == now.s + 600, "it ended this one itself"
    suspects.accuse([an_event(1, now), an_event(2, now)])  # the broker is started again
    suspects.begin()
    assert one.due_s <= now.s + 0.5


def test_topics_that_end_connections_do_not_take_turns_in_it() -> None:
    now = Now()
    suspects = Suspects(now)
    for number in range(100):
        topic = ("status", "camera")[number % 2]
        suspects.begin()
        suspects.accuse([Sent(topic, topic, 50, at_s=now.s)])
    suspects.begin()
    assert all(one.due_s >= now.s + 3 for one in suspects.aside)


def test_a_value_that_changes_all_the_time_puts_nothing_off() -> None:
    now = Now()
    suspects = Suspects(now)
    for strikes, soon_s in ((29, 4.0), (60, 60.0)):
        while not suspects.aside or suspects.aside[0].strikes < strikes:
            suspects.accuse([Sent("status", "status", 50, at_s=now.s)])
        (one,) = suspects.aside
        one.due_s, began_s = now.s + 500, now.s
        while one.due_s > now.s:
            suspects.hurry("status")
            now.s += 0.1
        assert soon_s <= now.s - began_s <= soon_s + 0.2


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from([50, 100, 5000]), min_size=1, max_size=30), st.integers(0, 2**16), st.floats(0, 0.9))
def test_whatever_breaks_nothing_is_given_up_without_two_witnesses(sizes: list[int], seed: int, chance: float) -> None:
    rng = random.Random(seed)
    killed_by: dict[int, int] = {}

    def kills(sent: Sent) -> bool:
        dead = rng.random() < chance
        killed_by[int(sent.name)] = killed_by.get(int(sent.name), 0) + dead
        return dead

    line = Line(sizes, kills)
    for _ in range(300):
        line.step()
    for n in line.given_up:
        assert killed_by[n] >= 8
        assert sum(line.sizes[other] >= line.sizes[n] for other in line.acknowledged) >= 2
    assert len(line.waiting) + len(line.acknowledged) + len(line.given_up) == len(sizes)


@pytest.mark.parametrize("code", [0x01, 0x7F, 0x80, 0x97, 0xFF])
def test_a_code_that_is_no_refusal_loses_nothing(code: int) -> None:
    """Before: 0x7f counted as delivered."""
    now = Now()
    flight = InFlight(now)
    flight.begin(16, reads_back=False)
    for mid in range(1, 10):
        flight.add(mid, an_event(7, now))
        (verdict,) = flight.acknowledged(mid, code)
        assert verdict.became is Became.AGAIN
        now.s += 60
    assert flight.put_off == 9
    assert flight.suspects.is_aside(7)
    flight.add(10, an_event(8, now))
    assert flight.acknowledged(10, 0)[0].became is Became.DELIVERED
    assert flight.put_off == 0


def test_silence_for_20_s_is_overdue() -> None:
    now = Now()
    flight = InFlight(now)
    flight.begin(16, reads_back=False)
    flight.add(1, an_event(1, now))
    now.s = 19.9
    assert not flight.overdue()
    now.s = 20.0
    assert flight.overdue()
    assert flight.silent == 1


def test_one_after_which_nothing_comes_any_more_does_not_block_the_others() -> None:
    """A path that loses large packets: the connection stays, and all that is behind it waits. Before: for ever."""
    now = Now()
    flight = InFlight(now)
    waiting, sizes, taken = [1, 2, 3, 4, 5, 6], {3: 5000}, list[int]()
    for _ in range(20):
        flight.begin(16, reads_back=False)
        ends_s, is_stalled = now.s + 8, False
        while now.s < ends_s:
            free = [n for n in waiting if not flight.suspects.is_aside(n) and not flight.has(n)]
            if free and flight.room > 0:
                flight.add(free[0], an_event(free[0], now, sizes.get(free[0], 100)))
                is_stalled = is_stalled or free[0] in sizes
                if not is_stalled:
                    flight.acknowledged(free[0], 0)
                    waiting.remove(free[0])
                    taken.append(free[0])
            else:
                now.s += 1
        assert flight.end(by_broker=False, is_silent=True) == []
        if taken == [1, 2, 4, 5, 6]:
            break
        assert flight.silent > 0 and flight.silent_s >= 7
    assert taken == [1, 2, 4, 5, 6]
    (one,) = flight.suspects.aside
    assert "nothing comes any more after it" in one.why
    assert now.s <= 60


def test_a_topic_that_is_acknowledged_says_nothing_of_events() -> None:
    """Before: a broker that answers retained topics and never an event was told of for an instant every 20 s."""
    now = Now()
    flight = InFlight(now)
    flight.begin(16, reads_back=False)
    flight.add(1, an_event(1, now))
    flight.add(2, Sent("status", "status", 20, "status"))
    flight.acknowledged(2, 0)
    now.s = 20.0
    assert flight.overdue()
    flight.end(by_broker=False)
    flight.begin(16, reads_back=False)
    flight.add(1, Sent("status", "status", 20, "status", at_s=now.s))
    flight.acknowledged(1, 0)
    assert flight.silent == 1
    flight.add(2, an_event(2, now))
    flight.acknowledged(2, 0)
    assert flight.silent == 0


def test_what_was_acknowledged_and_never_came_back_is_lost_when_others_did() -> None:
    now = Now()
    echoes = Echoes(now)
    echoes.sent(1, "event", b"small")
    echoes.heard(b"small")
    assert echoes.acknowledged(1)
    echoes.sent(2, "event", b"x" * 5000)
    assert not echoes.acknowledged(2)
    assert echoes.settled() == []
    now.s += 3
    assert echoes.settled() == [(2, False)]
    echoes.sent(3, "event", b"tiny")
    assert echoes.acknowledged(3)


def test_where_nothing_ever_comes_back_acknowledgements_are_believed() -> None:
    now = Now()
    echoes = Echoes(now)
    echoes.sent(1, "event", b"x" * 500)
    assert not echoes.acknowledged(1)
    now.s += 3
    assert echoes.settled() == [(1, True)]


def an_echoed(n: int, now: Now, size: int, *, place: str = "event", is_gap: bool = False) -> Sent:
    return Sent(n, "event", size, payload=bytes([n]) * size, place=place, is_gap=is_gap, at_s=now.s)


def became(flight: InFlight, now: Now, *sent: Sent, back: bool = False) -> list[Became]:
    """They are acknowledged together, and come back or do not; in the order of their numbers."""
    verdicts = []
    for one in sent:
        flight.add(int(one.name), one)
        verdicts += flight.acknowledged(int(one.name), 0)
        if back:
            verdicts += flight.heard(one.payload)
    now.s += 3
    verdicts += flight.settle()
    assert flight.empty
    return [verdict.became for verdict in sorted(verdicts, key=lambda verdict: int(verdict.sent.name))]


def reconnected(flight: InFlight) -> None:
    flight.end(by_broker=False)
    flight.begin(16, reads_back=True)


@pytest.mark.parametrize("connections", [1, 2])
def test_the_first_ones_of_a_new_connection_must_come_back_where_others_did_before(connections: int) -> None:
    """A broker that throws away what is too large. Before: what was sent first after each reconnect was believed, and lost."""
    now = Now()
    flight = InFlight(now)
    flight.begin(16, reads_back=True)
    assert became(flight, now, an_echoed(1, now, 300), back=True) == [Became.DELIVERED]
    large = [an_echoed(2, now, 310), an_echoed(3, now, 305)]
    reconnected(flight)
    assert became(flight, now, *large) == [Became.AGAIN] * 2
    if connections == 2:  # it may break in between
        reconnected(flight)
    assert became(flight, now, *large) == [Became.REFUSED] * 2
    assert became(flight, now, an_echoed(4, now, 290), back=True) == [Became.DELIVERED]


def test_where_messages_came_back_once_and_nothing_does_any_more_acknowledgements_are_believed_again() -> None:
    """An access list that changed while the broker was away: nothing is a dead letter for want of an echo."""
    now = Now()
    flight = InFlight(now)
    flight.begin(16, reads_back=True)
    assert became(flight, now, an_echoed(1, now, 300), back=True) == [Became.DELIVERED]
    reconnected(flight)
    waiting = [an_echoed(2, now, 310), an_echoed(3, now, 300), an_echoed(4, now, 310)]
    assert became(flight, now, *waiting) == [Became.AGAIN] * 3
    assert became(flight, now, *waiting) == [Became.DELIVERED] * 3
    assert became(flight, now, an_echoed(5, now, 900)) == [Became.DELIVERED]
    reconnected(flight)
    assert became(flight, now, an_echoed(6, now, 900)) == [Became.DELIVERED], "and also on the next connection"
    assert became(flight, now, an_echoed(7, now, 300), back=True) == [Became.DELIVERED], "it may read them again"
    assert became(flight, now, an_echoed(8, now, 900)) == [Became.AGAIN]


def test_what_comes_back_is_remembered_of_each_topic_by_itself() -> None:
    now = Now()
    flight = InFlight(now)
    flight.begin(16, reads_back=True)
    assert became(flight, now, an_echoed(1, now, 300), back=True) == [Became.DELIVERED]
    reconnected(flight)
    assert became(flight, now, an_echoed(2, now, 900, place="backlog")) == [Became.DELIVERED]
    assert became(flight, now, an_echoed(3, now, 900)) == [Became.AGAIN]


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.lists(st.integers(1, 40), min_size=1, max_size=16), min_size=1, max_size=8),
    st.integers(0, 40),
)
def test_what_a_broker_threw_away_for_its_size_is_never_delivered_after_one_came_back(batches: list[list[int]], limit: int) -> None:
    """Over connections to a broker with one limit: whatever was sent first."""
    now, n = Now(), 0
    flight, has_returned = InFlight(now), False
    for sizes in batches:
        flight.begin(16, reads_back=True)
        waiting = []
        for size in sizes:
            n += 1
            waiting.append(Sent(n, "event", size, payload=n.to_bytes(4) + bytes(size), place="event", at_s=now.s))
        for _ in range(2):
            verdicts = []
            for one in waiting:
                flight.add(int(one.name), one)
                if one.size <= limit:
                    verdicts += flight.heard(one.payload)
                    has_returned = True
                verdicts += flight.acknowledged(int(one.name), 0)
            now.s += 3
            verdicts += flight.settle()
            for verdict in verdicts:
                passed = verdict.sent.size <= limit
                assert (verdict.became is Became.DELIVERED) == (passed or not has_returned)
            waiting = [verdict.sent for verdict in verdicts if verdict.became is Became.AGAIN]
        assert not waiting, "and none is sent more than twice"
        flight.end(by_broker=False)


def test_a_gap_that_never_comes_back_is_no_dead_letter() -> None:
    """It tells of events that are lost. Before: they were lost without a word."""
    now = Now()
    flight = InFlight(now)
    flight.begin(16, reads_back=True)
    flight.add(1, Sent(1, "event", 10, payload=b"small", place="backlog", at_s=now.s))
    flight.heard(b"small")
    flight.acknowledged(1, 0)
    gap = Sent(2, "event", 100, payload=b"x" * 100, place="backlog", is_gap=True, at_s=now.s)
    for mid in (2, 3, 4):
        flight.add(mid, gap)
        flight.acknowledged(mid, 0)
        now.s += 3
        assert [verdict.became for verdict in flight.settle()] == [Became.AGAIN]
    assert flight.suspects.is_aside(2), "and it does not come again at once for ever"
