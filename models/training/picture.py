"""The confusion of one model as an SVG: rows are what it was, columns what was said, darker is more.

python picture.py WORK/home_0.25_128.json docs/home_confusion.svg
"""

import json
import sys
from pathlib import Path

from labels import CLASSES

_CELL, _LEFT, _TOP = 56, 110, 70


def to_svg(found: dict) -> str:
    """`found` as convert.py writes it."""
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
            x, y = _LEFT + column * _CELL, _TOP + row * _CELL
            fill, side = f"rgba({hue}, {0.06 + 0.9 * share:.2f})", _CELL - 2
            parts.append(f'<rect x="{x + 1}" y="{y + 1}" width="{side}" height="{side}" rx="4" fill="{fill}"/>')
            ink = "#fff" if share > 0.5 else "#222"
            parts.append(f'<text x="{x + _CELL / 2}" y="{y + _CELL / 2 + 4}" text-anchor="middle" fill="{ink}">{share:.0%}</text>')
    pictures = sum(map(sum, found["confusion"]))
    foot = f"{pictures} photographs of the test split; mean of the classes {found['mean']:.3f}, grouped {found['grouped']:.3f}"
    parts.append(f'<text x="{_LEFT}" y="{_TOP + size + 30}">{foot}</text></svg>')
    return "\n".join(parts) + "\n"


if __name__ == "__main__":
    Path(sys.argv[2]).write_text(to_svg(json.loads(Path(sys.argv[1]).read_text())))
