"""What the cards measured, as SVG.

python plot.py curve ../home.toml ../../docs/home_silence.svg          recall against certain wrong names, a line a card
python plot.py confusion WORK/home_0.5_128.json ../../docs/home_confusion.svg
"""

import json
import sys
import tomllib
from pathlib import Path

from labels import CLASSES

_CELL, _LEFT, _TOP = 56, 110, 70
_COLOURS = ("#6b7280", "#b45309", "#15803d", "#0e7490", "#1d4ed8", "#7c3aed", "#be123c", "#111827")
_WIDE, _HIGH, _MOST = 520, 320, 0.3


def to_confusion(found: dict) -> str:
    """`found` as ship.py writes it with --test: rows are what it was, columns what was said, darker is more."""
    size = _CELL * len(CLASSES)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_LEFT + size + 40} {_TOP + size + 50}" '
        'font-family="system-ui, sans-serif" font-size="12" fill="#222">',
        '<rect width="100%" height="100%" fill="#fff"/>',
        f'<text x="20" y="24" font-size="15" font-weight="600">{found["name"]}: rows are what it was, columns what was said</text>',
    ]
    for n, label in enumerate(CLASSES):
        middle = n * _CELL + _CELL / 2
        parts.append(f'<text x="{_LEFT + middle}" y="{_TOP - 10}" text-anchor="middle" font-size="9">{label}</text>')
        parts.append(f'<text x="{_LEFT - 8}" y="{_TOP + middle + 4}" text-anchor="end">{label}</text>')
    for row, counts in enumerate(found["confusion"]):
        for column, count in enumerate(counts):
            share = count / max(1, sum(counts))
            hue = "34, 110, 80" if row == column else "190, 60, 40"
            x, y, side = _LEFT + column * _CELL, _TOP + row * _CELL, _CELL - 2
            parts.append(
                f'<rect x="{x + 1}" y="{y + 1}" width="{side}" height="{side}" rx="4" '
                f'fill="rgba({hue}, {0.06 + 0.9 * share:.2f})"/>'
            )
            ink = "#fff" if share > 0.5 else "#222"
            parts.append(f'<text x="{x + _CELL / 2}" y="{y + _CELL / 2 + 4}" text-anchor="middle" fill="{ink}">{share:.0%}</text>')
    test = found["test"]
    pictures = sum(map(sum, found["confusion"]))
    foot = f"{pictures} photographs of `test`; mean of the classes {test['mean']:.3f}, grouped {test['grouped']:.3f}"
    parts.append(f'<text x="{_LEFT}" y="{_TOP + size + 30}">{foot}</text></svg>')
    return "\n".join(parts) + "\n"


def to_curve(cards: list[dict]) -> str:
    """Each card's `measured.curve`; the ring is its own `enter`."""
    x = lambda wrong: 70 + min(wrong, _MOST) / _MOST * _WIDE  # noqa: E731
    y = lambda recall: 50 + (1 - recall) * _HIGH  # noqa: E731
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDE + 260} {_HIGH + 120}" font-family="system-ui, sans-serif" '
        'font-size="12" fill="#222">',
        '<rect width="100%" height="100%" fill="#fff"/>',
        '<text x="20" y="26" font-size="15" font-weight="600">How much is named, and how often a stranger gets a name</text>',
    ]
    for n in range(7):
        wrong = n * 0.05
        parts.append(f'<line x1="{x(wrong)}" y1="50" x2="{x(wrong)}" y2="{50 + _HIGH}" stroke="#e5e7eb"/>')
        parts.append(f'<text x="{x(wrong)}" y="{_HIGH + 68}" text-anchor="middle">{wrong:.0%}</text>')
    for n in range(6):
        recall = n * 0.2
        parts.append(f'<line x1="70" y1="{y(recall)}" x2="{70 + _WIDE}" y2="{y(recall)}" stroke="#e5e7eb"/>')
        parts.append(f'<text x="62" y="{y(recall) + 4}" text-anchor="end">{recall:.0%}</text>')
    parts.append(
        f'<text x="{70 + _WIDE / 2}" y="{_HIGH + 92}" text-anchor="middle">'
        "photographs of unrelated things with a certain wrong name</text>"
    )
    parts.append(
        f'<text x="20" y="{50 + _HIGH / 2}" text-anchor="middle" transform="rotate(-90 20 {50 + _HIGH / 2})">'
        "`test` named rightly and with certainty</text>"
    )
    for n, card in enumerate(cards):
        colour, measured = _COLOURS[n % len(_COLOURS)], card["measured"]
        points = " ".join(f"{x(wrong):.1f},{y(recall):.1f}" for _, recall, wrong in measured["curve"] if wrong <= _MOST)
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts.append(
            f'<circle cx="{x(measured["certain_wrong"]):.1f}" cy="{y(measured["recall"]):.1f}" r="5" '
            f'fill="#fff" stroke="{colour}" stroke-width="2"/>'
        )
        parts.append(f'<text x="{_WIDE + 85}" y="{64 + 20 * n}" fill="{colour}">{card["name"]}, enter {card["enter"]:.2f}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


if __name__ == "__main__":
    what, source, to = sys.argv[1:]
    if what == "curve":
        Path(to).write_text(to_curve(tomllib.loads(Path(source).read_text())["card"]))
    else:
        Path(to).write_text(to_confusion(json.loads(Path(source).read_text())))
