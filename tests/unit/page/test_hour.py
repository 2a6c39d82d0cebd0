"""The last hour replayed: the same rules give what was said; others what they would have; and it is drawn."""

import xml.etree.ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edged.decision import Decision, Rules
from edged.page.hour import to_agreement, to_hour, to_number
from edged.page.replay import Span, replay, to_rules
from edged.page.strip import to_colour
from edged.system.hour import Hour, HourRow

RULES = {"enter": 0.6, "leave": 0.4, "margin": 0.1, "k": 2, "n": 3, "hold_s": 1.0, "ignore": ["background"]}
labels = st.sampled_from(["cat", "dog", "background"])
looks = st.tuples(labels, st.floats(0, 1, width=16), st.integers(1, 10), st.sampled_from(["ok", "ok", "ok", "lost", "paused"]))


def to_rows(seen: list[tuple[str, float, int, str]]) -> list[HourRow]:
    return [
        HourRow(second, count if state == "ok" else 0, state, {label: score, "other": 1 - score}, "", 20.0, 50.0)
        for second, (label, score, count, state) in enumerate(seen)
    ]


@given(st.lists(looks, min_size=1, max_size=80))
def test_the_spans_have_no_hole_and_the_decision_is_edgeds_own(seen: list[tuple[str, float, int, str]]) -> None:
    rows, rules = to_rows(seen), to_rules(RULES)
    found = replay(rows, rules)
    assert [span.begin_s for span in found.spans] == [0, *(span.end_s for span in found.spans[:-1])]
    assert found.spans[-1].end_s == len(rows)
    decision, entered = Decision(rules), dict[str, int]()
    for row in rows:
        if row.state != "ok":
            changes = list(decision.forget(row.second * 10**9, row.state).changes)
        else:
            at = [row.second * 10**9 + n * 10**9 // min(row.looks, 6) for n in range(min(row.looks, 6))]
            changes = [change for one in at for change in decision.decide(one, row.scores).changes]
        for change in changes:
            if change.event_type == "entered" and change.label != "unknown":
                entered[change.label] = entered.get(change.label, 0) + 1
    assert found.entered == entered


@given(st.lists(looks, min_size=5, max_size=80), st.floats(0.4, 1))
def test_a_higher_threshold_never_sees_a_score_that_was_too_low(seen: list[tuple[str, float, int, str]], enter: float) -> None:
    rows = to_rows(seen)
    highest = max(max(row.scores.values()) for row in rows)
    found = replay(rows, to_rules(RULES | {"enter": enter}))
    if enter > highest:
        assert found.entered == {}


def test_what_the_hour_would_have_been() -> None:
    hour = Hour()
    for second in range(300):
        is_cat = second // 30 % 2
        scores = {"cat": 0.7, "dog": 0.2} if is_cat else {"dog": 0.95, "cat": 0.03}
        hour.add(HourRow(second, 5, "ok", scores, "cat" if is_cat else "dog", 12.0, None))
    told = hour.to_dict() | {"now": 300, "kept": True, "rules": RULES}
    plain = to_hour(told)
    assert plain["now"] == {"cat": 5, "dog": 5} and "would" not in plain
    tried = to_hour(told | {"would": RULES | {"enter": 0.8}})
    assert tried["would"] == {"dog": 5} and 0.45 < tried["same"] < 0.65
    drawn = ET.fromstring(tried["svg"])
    assert [one.text for one in drawn.iter("{http://www.w3.org/2000/svg}text") if one.text in ("it said", "it would")] == [
        "it said",
        "it would",
    ]
    assert ("cat", to_colour("cat", ["cat", "dog"])) in tried["labels"]
    same = to_hour(told | {"would": RULES})
    assert same["same"] == 1.0


def test_a_label_may_be_anything() -> None:
    hour = Hour()
    evil = '"><script>alert(1)</script>&'
    for second in range(20):
        hour.add(HourRow(second, 5, "ok", {evil: 0.9}, evil, 12.0, 40.0))
    svg = to_hour(hour.to_dict() | {"now": 20, "kept": True, "rules": RULES, "would": RULES})["svg"]
    assert "<script" not in svg and not list(ET.fromstring(svg).iter("script"))


@pytest.mark.parametrize("tried", [{"enter": 2}, {"enter": 0.3}, {"leave": 0.9}, {"k": 9}, {"n": 0}, {"n": 1000}, {"hold_s": -1}])
def test_what_can_not_be_meant_is_refused(tried: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="at most"):
        to_rules(RULES | tried)


def test_seconds_without_a_row_are_not_anybodys() -> None:
    rows = [HourRow(s, 5, "ok", {"cat": 0.9}, "cat", 1.0, None) for s in (*range(10), *range(100, 110))]
    spans = replay(rows, Rules()).spans
    assert [span.label for span in spans if span.label] == ["cat", "unknown", "cat"]  # what was true is not known to be true
    assert any(span.label == "" and span.end_s - span.begin_s >= 90 for span in spans)


def test_agreement() -> None:
    one = [Span(0, 10, "a"), Span(10, 20, "b")]
    assert to_agreement(one, one) == 1
    assert to_agreement(one, [Span(0, 20, "a")]) == 0.5
    assert to_agreement([], []) == 1


@pytest.mark.parametrize("text", ["0.5", ".5", "5.", "1e-1", "-1", "007"])
def test_a_number_as_browsers_send_it(text: str) -> None:
    assert to_number("enter", text) == float(text)


@pytest.mark.parametrize(
    ("key", "text"), [("enter", "abc"), ("enter", "1_0"), ("enter", "nan"), ("k", "2.7"), ("n", "9" * 400), ("k", "")]
)
def test_what_is_no_number_is_said_in_a_sentence(key: str, text: str) -> None:
    with pytest.raises(ValueError, match=rf"^{key} must be a (whole )?number$"):
        to_number(key, text)
