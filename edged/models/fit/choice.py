"""Choosing the most accurate model that really meets a budget: predict, then prove by measuring. Pure but for `measure`.

From the most accurate downwards, whatever the prediction does not rule out is measured, and the first that holds is it.
A prediction alone never chooses; it only spares measuring what is far out of reach, and is made anew after each one.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from edged.errors import ModelError
from edged.models.fit.cost import Point, to_cost
from edged.models.measurements import Measured
from edged.models.tflite.graph import Macs

MOST_MEASURED = 6
_SLACK = (1.2, 1.1, 1.0, 0.9)  # of the budget: a prediction above it rules out; stricter after each one that did not hold
_DOUBT = 1.5  # what is left of the measurements goes to those that were ruled out by less than this
_CHEAP = 9.0  # the two that are measured first cost at most so many times the cheapest


@dataclass(frozen=True, slots=True)
class Budget:
    """None = no limit. latency_ms: warm p95, frame in memory → scores; min_top1: 0..1."""

    latency_ms: float | None = None
    memory_mb: float | None = None
    size_mb: float | None = None
    fps: float | None = None
    min_top1: float | None = None

    @property
    def limit_ms(self) -> float:
        """What a p95 may be: the latency, and no longer than a frame lasts."""
        return min(self.latency_ms or float("inf"), 1000 / self.fps if self.fps else float("inf"))

    def to_dict(self) -> dict[str, float]:
        """The limits that are set."""
        limits = {"latency_ms": self.latency_ms, "memory_mb": self.memory_mb, "size_mb": self.size_mb}
        limits |= {"fps": self.fps, "min_top1": self.min_top1}
        return {name: limit for name, limit in limits.items() if limit is not None}


@dataclass(slots=True)
class Candidate:
    """One model of the family; `why_not` is empty only for those that fit, and those that were not needed say so.

    recast: what was measured is its int8 sibling, which is faster. named: share of photographs that its card's thresholds let it
    name rightly; it decides between those of a family of which all cards say it, for that is what one gets.
    """

    name: str
    top1: float | None
    macs: Macs
    dtype: str
    size_mb: float
    predicted_ms: float | None = None
    measured: Measured | None = None
    fits: bool = False
    why_not: str = ""
    refused: bool = False
    recast: bool = False
    named: float | None = None

    @property
    def worth(self) -> float | None:
        """What is compared; None where nobody knows it."""
        return None if self.top1 is None else self.top1 if self.named is None else self.named


@dataclass(slots=True)
class Choice:
    """What came of it; candidates from the most accurate downwards."""

    budget: Budget
    candidates: list[Candidate]
    chosen: Candidate | None = None
    nearest: str = ""
    order: list[str] = field(default_factory=list)


Measure = Callable[[Candidate], Measured]


def choose(candidates: Sequence[Candidate], budget: Budget, measure: Measure) -> Choice:
    """`measure` raises ModelError for a model that is refused; that one is passed over. Those that come measured cost nothing."""
    if any(c.top1 is not None and c.named is None for c in candidates):
        for candidate in candidates:
            candidate.named = None  # one measure for all, or they can not be compared
    choice = Choice(budget, sorted(candidates, key=lambda c: (-(c.worth or -1), c.macs.total)))
    open_ = []
    for candidate in choice.candidates:
        candidate.why_not = _ruled_out(candidate, budget)
        if not candidate.why_not:
            open_.append(candidate)
    for candidate in (c for c in open_ if c.measured):
        _judge(candidate, budget)
    if sum(c.measured is not None for c in open_) < 2:
        for candidate in (c for c in _first_two(open_) if not c.measured):
            _try(candidate, choice, measure)
    while len(choice.order) < MOST_MEASURED and (following := _next(open_, choice) or _doubtful(open_, choice)):
        _try(following, choice, measure)
    _predict(open_)
    fitting = [c for c in open_ if c.fits]
    choice.chosen = fitting[0] if fitting else None
    for candidate in open_:
        if candidate.measured is None and not candidate.refused:
            candidate.why_not = _why_unmeasured(candidate, choice)
    choice.nearest = "" if choice.chosen else _nearest(choice.candidates, budget)
    return choice


def _first_two(open_: list[Candidate]) -> list[Candidate]:
    """The cheapest, and of the cheap ones that whose mix of MACs differs most; none where so few are left that all are tried."""
    if len(open_) < 3:
        return []
    cheapest = min(open_, key=lambda c: c.macs.total)
    cheap = [c for c in open_ if c is not cheapest and c.dtype == cheapest.dtype and c.macs.total <= _CHEAP * cheapest.macs.total]
    if not cheap:
        return [cheapest]
    share = cheapest.macs.thin / max(1, cheapest.macs.total)
    return [cheapest, max(cheap, key=lambda c: abs(c.macs.thin / max(1, c.macs.total) - share))]


def _next(open_: list[Candidate], choice: Choice) -> Candidate | None:
    """The most accurate one that may still be the answer."""
    _predict(open_)
    # the first two were cheap, and say nothing about the search
    missed = sum(c.measured is not None and not c.fits for c in open_ if c.name in choice.order[2:])
    slack = _SLACK[min(missed, len(_SLACK) - 1)]
    for candidate in open_:
        if candidate.fits:
            return None  # everything above it was measured or is out of reach
        if _is_open(candidate, open_, choice) and _expected_ms(candidate, open_) <= choice.budget.limit_ms * slack:
            return candidate
    return None


def _doubtful(open_: list[Candidate], choice: Choice) -> Candidate | None:
    """Of those above the answer the one that is least out of reach."""
    best = next((c for c in open_ if c.fits), None)
    above = [c for c in open_ if _is_open(c, open_, choice) and (best is None or (c.worth or 0) > (best.worth or 0))]
    near = [c for c in above if _expected_ms(c, open_) <= choice.budget.limit_ms * _DOUBT]
    return min(near, key=lambda c: _expected_ms(c, open_), default=None)


def _is_open(candidate: Candidate, open_: list[Candidate], choice: Choice) -> bool:
    """Nobody knows yet whether it fits."""
    if candidate.measured or candidate.refused:
        return False
    return _memory_at_least(candidate, open_) <= (choice.budget.memory_mb or float("inf"))


def _expected_ms(candidate: Candidate, open_: list[Candidate]) -> float:
    """Its p95 if it is as steady as the steadiest: what others took from the board meanwhile must not rule anything out."""
    steadiest = min((c.measured.p95_ms / c.measured.p50_ms for c in open_ if c.measured), default=1.0)
    return 0.0 if candidate.predicted_ms is None else candidate.predicted_ms * steadiest


def _try(candidate: Candidate, choice: Choice, measure: Measure) -> None:
    choice.order.append(candidate.name)
    try:
        candidate.measured = measure(candidate)
    except ModelError as error:
        candidate.refused, candidate.why_not = True, str(error)
        return
    _judge(candidate, choice.budget)


def _judge(candidate: Candidate, budget: Budget) -> None:
    candidate.why_not = _over(candidate, budget)
    candidate.fits = not candidate.why_not


def _predict(open_: list[Candidate]) -> None:
    cost = to_cost([Point(c.macs, c.dtype, c.measured.p50_ms) for c in open_ if c.measured])
    for candidate in open_:
        predicted = cost.predict_ms(candidate.macs, candidate.dtype) if cost else None
        candidate.predicted_ms = None if predicted is None else round(predicted, 2)


def _memory_at_least(candidate: Candidate, open_: list[Candidate]) -> float:
    """Nobody who is larger than a measured one of the same dtype needs less memory than it."""
    smaller = [c.measured.memory_mb for c in open_ if c.measured and c.dtype == candidate.dtype and c.size_mb <= candidate.size_mb]
    return max(smaller, default=0.0)


def _ruled_out(candidate: Candidate, budget: Budget) -> str:
    """What the card alone says."""
    if candidate.top1 is None:
        return "its accuracy is unknown"
    if budget.min_top1 is not None and candidate.top1 < budget.min_top1:
        return f"top-1 {candidate.top1:.3f} of {budget.min_top1:g}"
    if budget.size_mb is not None and candidate.size_mb > budget.size_mb:
        return f"{candidate.size_mb:.2f} MB of {budget.size_mb:g} MB"
    return ""


def _over(candidate: Candidate, budget: Budget) -> str:
    measured = candidate.measured
    assert measured is not None
    if measured.p95_ms > budget.limit_ms:
        return f"p95 {measured.p95_ms:.1f} ms of {budget.limit_ms:g} ms"
    if budget.memory_mb is not None and measured.memory_mb > budget.memory_mb:
        return f"{measured.memory_mb:.0f} MB of memory of {budget.memory_mb:g} MB"
    return ""


def _why_unmeasured(candidate: Candidate, choice: Choice) -> str:
    chosen = choice.chosen
    if chosen is not None and (chosen.worth or 0) >= (candidate.worth or 0):
        better = "is at least as accurate" if candidate.named is None else "names as many for certain"
        return f"not needed: {chosen.name} {better} and fits"
    if candidate.predicted_ms is not None and candidate.predicted_ms > choice.budget.limit_ms * _SLACK[-1]:
        return f"predicted {candidate.predicted_ms:.1f} ms of {choice.budget.limit_ms:g} ms; not measured"
    return "not measured"


def _nearest(candidates: list[Candidate], budget: Budget) -> str:
    """The one that misses by the least, and what it would need."""
    known = [c for c in candidates if c.top1 is not None and not c.refused]
    best = min(known, key=lambda c: _excess(c, budget), default=None)
    if best is None:
        return ""
    needs = []
    if budget.min_top1 is not None and (best.top1 or 0) < budget.min_top1:
        needs.append(f"min_top1 = {best.top1:g}")
    if budget.size_mb is not None and best.size_mb > budget.size_mb:
        needs.append(f"size_mb = {best.size_mb:.2f}")
    if best.measured and best.measured.p95_ms > budget.limit_ms:
        needs.append(
            f"latency_ms = {best.measured.p95_ms:.1f}" if budget.latency_ms else f"fps = {1000 / best.measured.p95_ms:.1f}"
        )
    if best.measured and budget.memory_mb is not None and best.measured.memory_mb > budget.memory_mb:
        needs.append(f"memory_mb = {best.measured.memory_mb:.0f}")
    return f"{best.name} would fit with {' and '.join(needs)}" if needs else ""


def _excess(candidate: Candidate, budget: Budget) -> float:
    """The largest of the ratios by which it misses."""
    ratios = [1.0]
    if budget.min_top1 is not None:
        ratios.append(budget.min_top1 / max(candidate.top1 or 0, 0.001))
    if budget.size_mb is not None:
        ratios.append(candidate.size_mb / budget.size_mb)
    if candidate.measured:
        ratios.append(candidate.measured.p95_ms / budget.limit_ms)
        ratios.append(candidate.measured.memory_mb / (budget.memory_mb or float("inf")))
    elif len(ratios) == 1 or max(ratios) <= 1:
        return float("inf")  # it was not measured, so nobody knows what it would need
    return max(ratios)
