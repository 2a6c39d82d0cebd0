"""Predicting the latency of a family from two or more measured members. Pure.

t = a·(depthwise and first convolution MACs) + c·(pointwise MACs): a depthwise layer waits for memory where a pointwise one
computes, so multiply-adds alone err by up to 93 % over the 16 MobileNet V1 shapes, and these two terms by about 8 %.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from edged.models.tflite.graph import Macs


@dataclass(frozen=True, slots=True)
class Point:
    """One measured member: its MACs, its input's dtype, and the middle of its latencies."""

    macs: Macs
    dtype: str
    ms: float


@dataclass(frozen=True, slots=True)
class Cost:
    """ns per MAC of each kind, and for each dtype that was measured how much it deviates from them."""

    thin_ns: float
    pointwise_ns: float
    factors: dict[str, float]

    def predict_ms(self, macs: Macs, dtype: str) -> float | None:
        """None for a dtype of which nothing was measured: float32 and int8 differ by factors that depend on the board."""
        factor = self.factors.get(dtype)
        return None if factor is None else factor * self._plain_ms(macs)

    def _plain_ms(self, macs: Macs) -> float:
        return (self.thin_ns * macs.thin + self.pointwise_ns * macs.pointwise) / 1e6


def to_cost(points: Sequence[Point]) -> Cost | None:
    """The least relative error over the dtype with most points; None for no points at all."""
    if not points:
        return None
    dtypes = [p.dtype for p in points]
    main = max(sorted(set(dtypes)), key=dtypes.count)
    thin_ns, pointwise_ns = _least_squares([p for p in points if p.dtype == main])
    plain = Cost(thin_ns, pointwise_ns, {})
    factors = {d: _median([p.ms / plain._plain_ms(p.macs) for p in points if p.dtype == d]) for d in set(dtypes) - {main}}
    return Cost(thin_ns, pointwise_ns, {main: 1.0, **factors})


def _median(values: Sequence[float]) -> float:
    """As `statistics` has it, which the courier would pay 2 MB for."""
    ordered, half = sorted(values), len(values) // 2
    return ordered[half] if len(values) % 2 else (ordered[half - 1] + ordered[half]) / 2


def _least_squares(points: Sequence[Point]) -> tuple[float, float]:
    """Non-negative; each point weighs the same, whatever its latency. ns per MAC."""
    rows = [(p.macs.thin / p.ms / 1e6, p.macs.pointwise / p.ms / 1e6) for p in points]
    xx, yy, xy = sum(x * x for x, _ in rows), sum(y * y for _, y in rows), sum(x * y for x, y in rows)
    sx, sy = sum(x for x, _ in rows), sum(y for _, y in rows)
    determinant = xx * yy - xy * xy
    if determinant > 1e-9 * xx * yy:
        a, c = (sx * yy - sy * xy) / determinant, (sy * xx - sx * xy) / determinant
        if a >= 0 and c >= 0:
            return a, c
    # one kind alone explains it better than a negative time for the other; or the points don't tell them apart
    both = sum(x + y for x, y in rows) / sum((x + y) ** 2 for x, y in rows)
    alone = [(both, both)]
    if xx > 0:
        alone.append((sx / xx, 0.0))
    if yy > 0:
        alone.append((0.0, sy / yy))
    return min(alone, key=lambda ac: sum((ac[0] * x + ac[1] * y - 1) ** 2 for x, y in rows))
