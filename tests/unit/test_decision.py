"""The decision's promises, for any scores at any pace."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from edged.decision import NONE, UNKNOWN, Decision, Rules

LABELS = ("background", "cat", "dog", "car")
SECOND_NS = 1_000_000_000

scores = st.fixed_dictionaries({label: st.floats(0, 1) for label in LABELS})
film = st.lists(st.tuples(st.integers(1, 3 * SECOND_NS), scores), max_size=60)


@st.composite
def rules(draw: st.DrawFn) -> Rules:
    n = draw(st.integers(1, 5))
    leave = draw(st.floats(0.05, 0.9))
    return Rules(
        enter=draw(st.floats(leave, 1)),
        leave=leave,
        k=draw(st.integers(1, n)),
        n=n,
        margin=draw(st.floats(0, 0.5)),
        hold_s=draw(st.floats(0, 4)),
        ignore=frozenset(draw(st.sets(st.sampled_from(LABELS)))),
        groups={"pet": ("cat", "dog")},
    )


def played(decision: Decision, frames: list[tuple[int, dict[str, float]]]):
    at_ns = 0
    for step_ns, seen in frames:
        at_ns += step_ns
        yield at_ns, seen, decision.decide(at_ns, seen)


@given(rules(), film)
def test_one_label_at_a_time_left_before_entered(rules, frames):
    current = None
    for _, _, decided in played(Decision(rules), frames):
        for change in decided.changes:
            if change.event_type == "left":
                assert change.label == current
                current = None
            else:
                assert current is None
                current = change.label
        if current is not None:
            assert decided.label == current


@given(rules(), film)
def test_a_label_is_held_for_hold_s(rules, frames):
    entered = [c.at_ns for _, _, d in played(Decision(rules), frames) for c in d.changes if c.event_type == "entered"]
    assert all(b - a >= rules.hold_s * 1e9 for a, b in itertools.pairwise(entered))


@given(rules(), film)
def test_an_ignored_label_is_never_said(rules, frames):
    assert all(d.label not in rules.ignore for _, _, d in played(Decision(rules), frames))


@given(rules(), film)
def test_what_is_entered_was_at_enter_k_times_of_the_last_n(rules, frames):
    seen_before: list[dict[str, float]] = []
    for _, seen, decided in played(Decision(rules), frames):
        seen_before.append(seen)
        for change in decided.changes:
            if change.event_type == "entered" and change.label not in (NONE, UNKNOWN):
                high = [s for s in seen_before[-rules.n :] if s[change.label] >= rules.enter]
                assert len(high) >= rules.k


def test_a_score_that_was_only_enough_to_stay_does_not_help_in_again():
    """Half sure just before it left, sure once afterwards: that is one of the last three, and not two."""
    decision = Decision(Rules(hold_s=0.0, margin=0.0, ignore=frozenset()))
    scores = (0.9, 0.9, 0.0, 0.5, 0.0, 0.9, 0.9)
    said = [decision.decide(n, {"dog": score}).label for n, score in enumerate(scores)]
    assert said == [UNKNOWN, "dog", "dog", "dog", UNKNOWN, UNKNOWN, "dog"]


def test_a_group_is_on_by_what_is_at_enter_and_off_by_what_is_below_leave():
    """What only kept it on does not help it on again, nor what did not yet turn it on off."""
    decision = Decision(Rules(hold_s=0.0, groups={"pet": ("cat", "dog")}))
    scores = (0.5, 0.9, 0.9, 0.0, 0.5, 0.0, 0.9, 0.9)
    said = [decision.decide(n, {"dog": score}).groups["pet"] for n, score in enumerate(scores)]
    assert said == [False, False, True, True, True, False, False, True]


def test_new_rules_do_not_judge_what_was_seen_before_them():
    """It may be another model's by now, or the sum of other members."""
    before, after = (Rules(enter=enter, hold_s=0.0, groups={"pet": ("cat", "dog")}) for enter in (0.9, 0.6))
    decision = Decision(before)
    assert not any(decision.decide(n, {"dog": 0.7}).groups["pet"] for n in range(3))
    decision.follow(after)
    assert [decision.decide(n, {"dog": 0.7}).groups["pet"] for n in (3, 4)] == [False, True]


@given(rules(), film)
def test_duration_is_from_entered_to_left(rules, frames):
    changes = [c for _, _, d in played(Decision(rules), frames) for c in d.changes]
    for entered, left in zip(changes[::2], changes[1::2], strict=False):
        assert (entered.event_type, left.event_type) == ("entered", "left")
        assert left.since_ns == entered.at_ns


@given(rules(), film, film)
def test_same_scores_same_words(rules, frames, more):
    once = [d for _, _, d in played(Decision(rules), frames + more)]
    again = [d for _, _, d in played(Decision(rules), frames + more)]
    assert once == again


def test_scores_of_a_group_add_up():
    decision = Decision(Rules(k=1, n=1, hold_s=0, groups={"pet": ("cat", "dog")}))
    decided = decision.decide(1, {"cat": 0.45, "dog": 0.35, "car": 0.2})
    assert decided.label == UNKNOWN
    assert decided.groups == {"pet": True}


def test_a_label_stays_between_leave_and_enter():
    decision = Decision(Rules(k=1, n=1, hold_s=0))
    decision.decide(1, {"cat": 0.9})
    assert decision.decide(2, {"cat": 0.5, "dog": 0.45}).label == "cat"
    assert decision.decide(3, {"cat": 0.39, "dog": 0.45}).label == UNKNOWN


def test_two_that_are_too_close_are_unknown():
    assert Decision(Rules(k=1, n=1, margin=0.2)).decide(1, {"cat": 0.7, "dog": 0.6}).label == UNKNOWN


def test_the_ignored_becomes_none():
    assert Decision(Rules(k=1, n=1)).decide(1, {"background": 0.9, "cat": 0.1}).label == NONE


def test_a_lost_camera_leaves_the_label():
    decision = Decision(Rules(k=1, n=1))
    decision.decide(1, {"cat": 0.9})
    decided = decision.forget(2 * SECOND_NS, "camera lost: hang")
    assert [c.event_type for c in decided.changes] == ["left", "entered"]
    assert decided.changes[0].reason == "camera lost: hang"
    assert decided.label == UNKNOWN
    assert decision.forget(3 * SECOND_NS, "again").changes == ()
