"""Scores over time → what we say. Pure: time comes with the frames, nothing is read, nothing is sent.

Exactly one label is current. Besides the model's labels there are two words of ours: `none`, when what is seen is to be
ignored, and `unknown`, when no score is high enough or two are too close.
"""

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

NONE, UNKNOWN = "none", "unknown"
_ABSTAINED = ""


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Scores 0..1; None: nobody has said."""

    enter: float | None = None
    leave: float | None = None
    margin: float | None = None


def to_thresholds(wanted: Thresholds, model: Thresholds) -> tuple[float, float, float]:
    """enter, leave and margin that hold: what the operator set, else what the model's card says, else 0.6, 0.4 and 0.1.

    What is set always wins: of `enter` and `leave` the one that is not set gives way, so that `leave` is never above `enter`.
    """
    enter, leave, margin = (
        next(value for value in values if value is not None)
        for values in (
            (wanted.enter, model.enter, 0.6),
            (wanted.leave, model.leave, 0.4),
            (wanted.margin, model.margin, 0.1),
        )
    )
    if leave > enter:
        enter, leave = (enter, enter) if wanted.leave is None else (leave, leave)
    return enter, leave, margin


@dataclass(frozen=True, slots=True)
class Rules:
    """The thresholds are scores 0..1; a change needs k of the last n classifications and hold_s since the last change."""

    enter: float = 0.6
    leave: float = 0.4
    k: int = 2
    n: int = 3
    margin: float = 0.1
    hold_s: float = 1.0
    ignore: frozenset[str] = frozenset({"background"})
    groups: Mapping[str, Sequence[str]] = field(default_factory=dict)


def to_watched(groups: Mapping[str, Sequence[str]], labels: Sequence[str]) -> list[int]:
    """The indices whose scores are needed however low they are: of members of groups. Pure."""
    members = {label for group in groups.values() for label in group}
    return [index for index, label in enumerate(labels) if label in members]


@dataclass(frozen=True, slots=True)
class LabelChange:
    """One label was left or entered. since_ns and at_ns are the frames' monotonic times."""

    event_type: str
    label: str
    score: float
    since_ns: int
    at_ns: int
    reason: str


@dataclass(frozen=True, slots=True)
class Decided:
    label: str
    score: float
    groups: dict[str, bool]
    changes: tuple[LabelChange, ...]


class Decision:
    """Remembers the last n votes; one instance for one camera."""

    def __init__(self, rules: Rules) -> None:
        self.label: str | None = None
        self._score = 0.0
        self._since_ns = 0
        self._groups: dict[str, _Group] = {}
        self.follow(rules)

    @property
    def since_ns(self) -> int:
        """When the current label entered, monotonic; 0 before anything was decided."""
        return self._since_ns

    def follow(self, rules: Rules) -> None:
        """Take new rules; the current label, and what is on, stays until the next classifications vote it out."""
        self.rules = rules
        self._votes: deque[str] = deque(maxlen=rules.n)
        self._groups = {name: self._groups.get(name, _Group()) for name in rules.groups}
        for group in self._groups.values():
            group.scores.clear()

    def decide(self, at_ns: int, scores: Mapping[str, float]) -> Decided:
        """One classification, `scores` by label; labels that are missing count as 0."""
        vote, score, is_sure = self._vote(scores)
        self._votes.append(vote if is_sure else _ABSTAINED)
        changes: tuple[LabelChange, ...] = ()
        if vote == self.label:
            self._score = score
        elif self._votes.count(vote) >= self.rules.k and self._held(at_ns):
            changes = self._change(at_ns, vote, score, self._why(vote))
        for name, members in self.rules.groups.items():
            self._groups[name].decide(at_ns, min(1.0, sum(scores.get(m, 0.0) for m in members)), self.rules)
        return self._decided(changes)

    def forget(self, at_ns: int, reason: str) -> Decided:
        """Nothing is seen any more (camera lost, paused): what was true is not known to be true now."""
        self._votes.clear()
        self._groups = {name: _Group() for name in self.rules.groups}
        changes = self._change(at_ns, UNKNOWN, 0.0, reason) if self.label not in (None, UNKNOWN) else ()
        return self._decided(changes)

    def current(self) -> Decided:
        """What is said now, once more."""
        return self._decided(())

    def _vote(self, scores: Mapping[str, float]) -> tuple[str, float, bool]:
        """Label, score, and whether it would do to enter: what only does not leave must not help the same label in again."""
        ranked = sorted(scores.items(), key=lambda item: -item[1])[:2]
        top, best = ranked[0] if ranked else (UNKNOWN, 0.0)
        second = ranked[1][1] if len(ranked) > 1 else 0.0
        clear = best >= self.rules.enter and best - second >= self.rules.margin
        if clear and top not in self.rules.ignore:
            return top, best, True
        if not clear and self.label is not None and scores.get(self.label, 0.0) >= self.rules.leave:
            return self.label, scores[self.label], False  # not sure enough to enter, but not so unsure as to leave
        if clear:
            return NONE, best, True
        if self.label == NONE and top in self.rules.ignore and best >= self.rules.leave:
            return NONE, best, False
        return UNKNOWN, best, True

    def _held(self, at_ns: int) -> bool:
        return self.label is None or at_ns - self._since_ns >= self.rules.hold_s * 1e9

    def _change(self, at_ns: int, label: str, score: float, reason: str) -> tuple[LabelChange, ...]:
        changes = [LabelChange("entered", label, score, at_ns, at_ns, reason)]
        if self.label is not None:
            changes.insert(0, LabelChange("left", self.label, self._score, self._since_ns, at_ns, reason))
        self.label, self._score, self._since_ns = label, score, at_ns
        return tuple(changes)

    def _why(self, vote: str) -> str:
        said = f"in {self._votes.count(vote)} of the last {len(self._votes)}"
        if vote == UNKNOWN:
            return f"nothing at {self.rules.enter:g} with a margin of {self.rules.margin:g} {said}"
        if vote == NONE:
            return f"only what is ignored {said}"
        return f"{vote} at {self.rules.enter:g} or more {said}"

    def _decided(self, changes: tuple[LabelChange, ...]) -> Decided:
        return Decided(self.label or UNKNOWN, self._score, {name: g.on for name, g in self._groups.items()}, changes)


class _Group:
    """On or off by the same thresholds, k of n and dwell, but of a sum of scores."""

    def __init__(self) -> None:
        self.on = False
        self._since_ns: int | None = None
        self.scores: deque[float] = deque()

    def decide(self, at_ns: int, score: float, rules: Rules) -> None:
        self.scores.append(score)
        while len(self.scores) > rules.n:
            self.scores.popleft()
        against = sum(one < rules.leave if self.on else one >= rules.enter for one in self.scores)
        held = self._since_ns is None or at_ns - self._since_ns >= rules.hold_s * 1e9
        if held and against >= rules.k:
            self.on, self._since_ns = not self.on, at_ns
