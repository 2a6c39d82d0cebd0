"""Who made the broker hang up."""

from edged.delivery.broker.poison import Suspects
from edged.delivery.broker.readback import Echoes


class Now:
    def __init__(self) -> None:
        self.s = 0.0

    def __call__(self) -> float:
        return self.s


def test_the_guilty_one_is_found_alone_and_after_three_strikes() -> None:
    suspects = Suspects(Now())
    for n in (1, 2, 3):
        suspects.sent(n)
    assert suspects.accuse([1, 2, 3]) == []
    assert suspects.any
    for n in (1, 2):
        suspects.sent(n)
        suspects.acquit(n)
    for strike in range(3):
        suspects.sent(3)
        assert suspects.accuse([3]) == ([3] if strike == 2 else [])
    suspects.acquit(3)
    assert not suspects.any


def test_a_connection_that_breaks_later_accuses_nobody() -> None:
    now = Now()
    suspects = Suspects(now)
    for _ in range(10):
        suspects.sent(1)
        now.s += 5
        assert suspects.accuse([1]) == []


def test_an_answer_clears_the_strikes() -> None:
    suspects = Suspects(Now())
    for _ in range(2):
        suspects.sent(1)
        suspects.accuse([1])
    suspects.acquit(1)
    suspects.sent(1)
    assert suspects.accuse([1]) == []


def test_what_was_acknowledged_and_never_came_back_is_lost_when_others_did() -> None:
    now = Now()
    echoes = Echoes(now)
    echoes.sent(1, b"small")
    echoes.heard(b"small")
    assert echoes.acknowledged(1)
    echoes.sent(2, b"x" * 5000)
    assert not echoes.acknowledged(2)
    assert echoes.settled() == []
    now.s += 3
    assert echoes.settled() == [(2, False)]
    echoes.sent(3, b"tiny")
    assert echoes.acknowledged(3)


def test_where_nothing_ever_comes_back_acknowledgements_are_believed() -> None:
    now = Now()
    echoes = Echoes(now)
    echoes.sent(1, b"x" * 500)
    assert not echoes.acknowledged(1)
    now.s += 3
    assert echoes.settled() == [(1, True)]
