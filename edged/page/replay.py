"""What the last hour would have been with other thresholds: the courier's rows through its own decision. Pure.

Approximate: a row holds the best three scores of the last look of its second, and stands for every look of that second.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from edged.decision import UNKNOWN, Decision, Rules
from edged.system.hour import HourRow

_GAP_S = 5  # seconds without a row: edged was not there, or the board slept
_NS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Span:
    """One label from one second to another; empty where nobody looked."""

    begin_s: int
    end_s: int
    label: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """spans: without a hole; entered: how often each label was entered."""

    spans: tuple[Span, ...]
    entered: dict[str, int]

    @property
    def changes(self) -> int:
        return sum(self.entered.values())

    def share_of(self, label: str) -> float:
        """Of the time: 0..1."""
        whole = sum(one.end_s - one.begin_s for one in self.spans)
        return sum(one.end_s - one.begin_s for one in self.spans if one.label == label) / whole if whole else 0.0


def to_rules(told: Mapping[str, Any]) -> Rules:
    """The courier's rules: those that hold, or would with what is tried. Raises ValueError for what can't be meant."""
    rules = Rules(
        enter=float(told["enter"]),
        leave=float(told["leave"]),
        margin=float(told["margin"]),
        k=int(told["k"]),
        n=int(told["n"]),
        hold_s=float(told["hold_s"]),
        ignore=frozenset(map(str, told["ignore"])),
    )
    if not (0 <= rules.leave <= rules.enter <= 1 and 0 <= rules.margin <= 1):
        raise ValueError("enter, leave and margin are 0 to 1, and leave is at most enter")
    if not (1 <= rules.k <= rules.n <= 100 and 0 <= rules.hold_s <= 3600):
        raise ValueError("k is at most n, n at most 100, and hold_s at most 3600")
    return rules


def replay(rows: Sequence[HourRow], rules: Rules) -> Outcome:
    """The hour as these rules would have decided it."""
    decision = Decision(rules)
    spans: list[Span] = []
    entered: dict[str, int] = {}
    last_s: int | None = None
    for row in rows:
        if last_s is not None and row.second - last_s > _GAP_S:
            decision.forget(row.second * _NS, "gap")
            _extend(spans, last_s + 1, row.second, "")
        last_s = row.second
        if row.state in ("lost", "frozen", "paused"):
            changes = list(decision.forget(row.second * _NS, row.state).changes)
        else:
            changes = []
            times = min(row.looks, 2 * rules.n)  # more of the same votes decide nothing else
            for number in range(times):
                changes += decision.decide(row.second * _NS + number * _NS // times, row.scores).changes
        for change in changes:
            if change.event_type == "entered" and change.label != UNKNOWN:
                entered[change.label] = entered.get(change.label, 0) + 1
        is_blind = row.state in ("lost", "frozen", "paused", "starting")
        _extend(spans, row.second, row.second + 1, "" if is_blind else decision.label or UNKNOWN)
    return Outcome(tuple(spans), entered)


def as_it_was(rows: Sequence[HourRow]) -> tuple[Span, ...]:
    """What was said."""
    spans: list[Span] = []
    for row in rows:
        if spans and row.second - spans[-1].end_s > _GAP_S:
            _extend(spans, spans[-1].end_s, row.second, "")
        _extend(spans, row.second, row.second + 1, "" if row.state in ("lost", "frozen", "paused", "starting") else row.said)
    return tuple(spans)


def _extend(spans: list[Span], begin_s: int, end_s: int, label: str) -> None:
    if spans and spans[-1].label == label:
        spans[-1] = replace(spans[-1], end_s=end_s)
    else:
        begin_s = spans[-1].end_s if spans else begin_s
        if end_s > begin_s:
            spans.append(Span(begin_s, end_s, label))
