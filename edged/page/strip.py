"""The last hour as SVG: a strip of labels, and latency, speed and temperature below it. Its colours are the page's. Pure."""

from collections.abc import Callable, Sequence
from xml.sax.saxutils import escape, quoteattr

from edged.page.replay import Span
from edged.system.hour import HourRow

_WIDE, _LEFT, _RIGHT = 720, 78, 8
_STRIP_HIGH, _LINE_HIGH, _GAP = 26, 44, 12
_HOUR_S = 3600
_COLOURS = 8  # classes l0 … l7 of page.css
_POINTS = 240
_LETTER_PX = 6.4


def to_svg(rows: Sequence[HourRow], now_s: int, strips: Sequence[tuple[str, Sequence[Span]]], names: Sequence[str]) -> str:
    """strips: (title, spans) below one another; names: the labels in the order of their colours."""
    first_s = max(now_s - _HOUR_S, rows[0].second if rows else 0)
    span_s = max(60, now_s + 1 - first_s)

    def to_x(second: float) -> float:
        return _LEFT + (second - first_s) / span_s * (_WIDE - _LEFT - _RIGHT)

    drawn, top = list[str](), 4
    for title, spans in strips:
        drawn.append(_text(_LEFT - 6, top + 17, title, "end"))
        drawn += [_span(span, to_x, top, names) for span in spans if span.end_s > first_s]
        top += _STRIP_HIGH + 6
    top += _GAP - 6
    for title, unit, value in _LINES:
        drawn += _line(rows, to_x, top, title, unit, value)
        top += _LINE_HIGH + _GAP
    drawn += _axis(first_s, span_s, now_s, to_x, top)
    high = top + 18
    said = f"The last {'hour' if span_s >= _HOUR_S else f'{max(2, round(span_s / 60))} minutes'}"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDE} {high}" role="img" class="strip">'
        f"<title>{said}: labels, latency, speed and temperature</title>{''.join(drawn)}</svg>"
    )


_LINES: tuple[tuple[str, str, Callable[[HourRow], float | None]], ...] = (
    ("latency", "ms", lambda row: row.latency_ms),
    ("speed", "fps", lambda row: float(row.looks)),
    ("heat", "°C", lambda row: row.temperature_c),
)


def to_colour(label: str, names: Sequence[str]) -> str:
    """The class of a label: known names in their order, what is not seen in grey."""
    if label in ("", "none", "unknown"):
        return {"": "blind", "none": "none", "unknown": "unknown"}[label]
    return f"l{(list(names).index(label) if label in names else len(label)) % _COLOURS}"


def _span(span: Span, to_x: Callable[[float], float], top: int, names: Sequence[str]) -> str:
    x = max(to_x(span.begin_s), _LEFT)
    wide = max(to_x(span.end_s) - x, 0.6)
    label = span.label or "not looked"
    rect = (
        f'<rect x="{x:.1f}" y="{top}" width="{wide:.1f}" height="{_STRIP_HIGH}" class="{to_colour(span.label, names)}">'
        f"<title>{escape(label)}, {span.end_s - span.begin_s} s</title></rect>"
    )
    if span.label and wide > len(label) * _LETTER_PX + 8:
        rect += _text(x + wide / 2, top + 17, label, "middle", "on")
    return rect


def _line(
    rows: Sequence[HourRow],
    to_x: Callable[[float], float],
    top: int,
    title: str,
    unit: str,
    value: Callable[[HourRow], float | None],
) -> list[str]:
    points = _thinned([(row.second, found) for row in rows if (found := value(row)) is not None])
    drawn = [f'<path d="M{_LEFT} {top + _LINE_HIGH}H{_WIDE - _RIGHT}" class="base"/>']
    if not points:
        return [*drawn, _text(_LEFT - 6, top + 26, title, "end"), _text(_LEFT + 6, top + 26, "nobody knows", "start")]
    low, high = min(y for _, y in points), max(y for _, y in points)
    span = max(high - low, 0.05 * max(abs(high), 1))

    def to_y(value: float) -> float:
        return top + _LINE_HIGH - 3 - (value - low) / span * (_LINE_HIGH - 8)

    path = " ".join(f"{to_x(x):.1f},{to_y(y):.1f}" for x, y in points)
    drawn.append(f'<polyline points="{path}" class="line"/>')
    drawn.append(_text(_LEFT - 6, top + 14, f"{title}", "end"))
    drawn.append(_text(_LEFT - 6, top + 29, f"{_figure(low)}–{_figure(high)} {unit}", "end", "small"))
    drawn.append(f"<title>{title}: {_figure(low)} to {_figure(high)} {unit}</title>")
    return drawn


def _thinned(points: Sequence[tuple[int, float]]) -> list[tuple[float, float]]:
    """At most `_POINTS`, each the largest of its share: a short peak stays."""
    size = -(-len(points) // _POINTS)
    return [max(points[at : at + size], key=lambda one: one[1]) for at in range(0, len(points), size)] if points else []


def _axis(first_s: int, span_s: int, now_s: int, to_x: Callable[[float], float], top: int) -> list[str]:
    step_s = next(one for one in (15, 60, 300, 600, 900) if span_s / one <= 6 or one == 900)
    drawn = []
    for ago_s in range(0, span_s, step_s):
        said = "now" if not ago_s else f"−{ago_s} s" if step_s < 60 else f"−{ago_s // 60} min"
        if now_s - ago_s >= first_s:
            drawn.append(_text(to_x(now_s - ago_s), top + 10, said, "end" if not ago_s else "middle", "small"))
    return drawn


def _figure(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 10 or value == 0 else f"{value:.1f}"


def _text(x: float, y: float, text: str, anchor: str, kind: str = "") -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{f" class={quoteattr(kind)}" if kind else ""}>{escape(text)}</text>'
    )
