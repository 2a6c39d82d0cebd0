"""A fit as a picture: accuracy against latency, the frontier, and the budget. Plain SVG, so that it needs no library."""

import math
from collections.abc import Callable, Sequence
from typing import Any
from xml.sax.saxutils import escape

_WIDE, _HIGH = 860, 520
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 24, 44, 56
_LETTER_PX, _LABEL_PX, _BESIDE_PX = 6.4, 10, 9  # of a label's font, about
_SHIFTS_PX = tuple(sign * step for step in range(0, 72, 6) for sign in (1, -1))
_INK, _FAINT, _GOOD, _BUDGET = "#222", "#bbb", "#1a7f37", "#c2410c"

Box = tuple[float, float, float, float]  # left, top, right, bottom


def to_svg(fit: dict[str, Any]) -> str:
    """Pure. `fit` is what `edged fit --json` prints; models that nobody could place are left out."""
    placed = [c for c in fit["candidates"] if c["top1"] is not None and (c["p95_ms"] or c["predicted_ms"])]
    if not placed:
        return _page(fit, [_text(_WIDE / 2, _HIGH / 2, "nothing was measured", anchor="middle")])
    times_ms = [_ms(c) for c in placed]
    limit_ms = _limit_ms(fit["budget"])
    to_x = _log_scale([*times_ms, *([limit_ms] if limit_ms else [])])
    to_y = _scale([c["top1"] for c in placed])
    drawn = [*_axes(times_ms, limit_ms, to_x, [c["top1"] for c in placed], to_y)]
    if limit_ms:
        x = to_x(limit_ms)
        drawn.append(
            f'<line x1="{x:.1f}" y1="{_TOP}" x2="{x:.1f}" y2="{_HIGH - _BOTTOM}" stroke="{_BUDGET}" stroke-dasharray="5 4"/>'
        )
        drawn.append(_text(x + 5, _TOP + 12, f"budget {limit_ms:g} ms", colour=_BUDGET))
    frontier = " ".join(f"{to_x(ms):.1f},{to_y(top1):.1f}" for ms, top1 in to_frontier(placed))
    drawn.append(f'<polyline points="{frontier}" fill="none" stroke="{_FAINT}" stroke-width="2"/>')
    taken: list[Box] = []
    for candidate in placed:
        best = (_ms(candidate), candidate["top1"]) in to_frontier(placed)
        x, y = to_x(_ms(candidate)), to_y(candidate["top1"])
        box = to_place(x, y, _label(candidate), at_left=best, taken=taken)
        taken.append(box)
        drawn += _dot(candidate, x, y, box, chosen=candidate["name"] == fit["chosen"], best=best)
    return _page(fit, drawn)


def to_place(x: float, y: float, label: str, *, at_left: bool, taken: Sequence[Box]) -> Box:
    """Where the label of a dot at x, y stands: beside it, or as little above or below as leaves the others readable. Pure."""
    wide = len(label) * _LETTER_PX
    left = x - _BESIDE_PX - wide if at_left else x + _BESIDE_PX
    places = [(left, y + shift - _LABEL_PX / 2, left + wide, y + shift + _LABEL_PX / 2) for shift in _SHIFTS_PX]
    return next((place for place in places if not any(_overlap(place, other) for other in taken)), places[0])


def _overlap(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def to_frontier(placed: Sequence[dict[str, Any]]) -> list[tuple[float, float]]:
    """(ms, top1) of those that nobody faster equals, fastest first. Pure."""
    frontier: list[tuple[float, float]] = []
    for candidate in sorted(placed, key=lambda c: (_ms(c), -c["top1"])):
        if not frontier or candidate["top1"] > frontier[-1][1]:
            frontier.append((_ms(candidate), candidate["top1"]))
    return frontier


def _ms(candidate: dict[str, Any]) -> float:
    return float(candidate["p95_ms"] or candidate["predicted_ms"])


def _limit_ms(budget: dict[str, float]) -> float | None:
    limits = [budget["latency_ms"]] if "latency_ms" in budget else []
    limits += [1000 / budget["fps"]] if "fps" in budget else []
    return min(limits, default=None)


def _label(candidate: dict[str, Any]) -> str:
    return str(candidate["name"]).removeprefix("mobilenet_")


def _dot(candidate: dict[str, Any], x: float, y: float, box: Box, *, chosen: bool, best: bool) -> list[str]:
    """Names of the frontier stand at its left, where nothing is; the others at the right of their dots."""
    measured = candidate["p95_ms"] is not None
    colour = _GOOD if chosen else _INK
    fill = colour if measured else "white"
    radius = 7 if chosen else 4
    weight = ' font-weight="bold"' if chosen else ""
    return [
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius}" fill="{fill}" stroke="{colour}"/>',
        f'<text x="{x - 9 if best else x + 9:.1f}" y="{box[3] - 1:.1f}" font-size="11" text-anchor="{"end" if best else "start"}" '
        f'fill="{colour}"{weight}>{escape(_label(candidate))}</text>',
    ]


def _axes(
    times_ms: Sequence[float],
    limit_ms: float | None,
    to_x: Callable[[float], float],
    top1: Sequence[float],
    to_y: Callable[[float], float],
) -> list[str]:
    base = _HIGH - _BOTTOM
    drawn = [f'<path d="M{_LEFT} {_TOP}V{base}H{_WIDE - _RIGHT}" fill="none" stroke="{_INK}"/>']
    low, high = min([*times_ms, limit_ms or times_ms[0]]), max([*times_ms, limit_ms or times_ms[0]])
    marks = [step * 10.0**power for power in range(-1, 5) for step in (1, 2, 5)]
    drawn += [_text(to_x(ms), base + 18, f"{ms:g}", anchor="middle") for ms in marks if low * 0.8 <= ms <= high * 1.25]
    for tenth in range(21):
        share = tenth / 20
        if min(top1) - 0.03 <= share <= max(top1) + 0.03:
            drawn.append(_text(_LEFT - 8, to_y(share) + 4, f"{share:.2f}", anchor="end"))
            drawn.append(f'<path d="M{_LEFT} {to_y(share):.1f}H{_WIDE - _RIGHT}" stroke="{_FAINT}" stroke-width="0.5"/>')
    drawn.append(
        _text(
            (_LEFT + _WIDE) / 2,
            _HIGH - 14,
            "latency in ms, frame in memory to scores: p95 where filled, predicted where hollow",
            anchor="middle",
        )
    )
    drawn.append(_text(_LEFT - 50, _TOP - 12, "top-1"))
    return drawn


def _scale(values: Sequence[float]) -> Callable[[float], float]:
    low, high = min(values) - 0.03, max(values) + 0.03
    return lambda value: _HIGH - _BOTTOM - (value - low) / (high - low) * (_HIGH - _BOTTOM - _TOP)


def _log_scale(values: Sequence[float]) -> Callable[[float], float]:
    low, high = math.log(min(values) * 0.5), math.log(max(values) * 2)
    return lambda value: _LEFT + (math.log(value) - low) / (high - low) * (_WIDE - _LEFT - _RIGHT)


def _text(x: float, y: float, text: str, *, anchor: str = "start", colour: str = _INK) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="12" text-anchor="{anchor}" fill="{colour}">{escape(text)}</text>'


def _page(fit: dict[str, Any], drawn: Sequence[str]) -> str:
    title = f"{fit['chosen'] or 'nothing fits'} on {fit['board']}"
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDE} {_HIGH}" font-family="sans-serif">',
            f'<rect width="{_WIDE}" height="{_HIGH}" fill="white"/>',
            f'<text x="{_WIDE / 2:.0f}" y="22" font-size="14" text-anchor="middle">{escape(title)}</text>',
            *drawn,
            "</svg>",
            "",
        ]
    )
