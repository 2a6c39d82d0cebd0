"""What side_by_side.py found, as documents: docs/bench.json, docs/bench.svg, and the tables of docs/bench.md."""

import json
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

_BEGIN, _END = "<!-- begin of what `make bench` writes -->", "<!-- end of what `make bench` writes -->"
_COLOURS = ("#9aa5b1", "#1f6feb", "#7fb0f7", "#e3a008", "#c2410c", "#15803d", "#7c3aed")
_SIZE = "640x480"


def write_documents(told: dict[str, Any], docs: Path) -> None:
    (docs / "bench.json").write_text(json.dumps(told, indent=1) + "\n")
    (docs / "bench.svg").write_text(to_svg(told))
    page = docs / "bench.md"
    before, rest = page.read_text().split(_BEGIN)
    page.write_text(before + _BEGIN + "\n" + to_tables(told) + _END + rest.split(_END)[1])


def to_tables(told: dict[str, Any]) -> str:
    """One table for each size: milliseconds of processor time, and in brackets the ratio to the bare network, round by round."""
    networks = told["networks"]
    lines = [
        f"{told['machine']}; {told['rounds']} rounds, one thread; median of the rounds, in brackets its ratio to `bare` in the"
    ]
    lines += [
        "same round, with quartiles. " + ("" if told["published"] else "The networks are stand-ins of the published shapes."),
        "",
    ]
    for size in next(iter(networks.values())):
        names = list(next(iter(networks.values()))[size])
        lines += [f"Frames of {size}:", "", "| | " + " | ".join(networks) + " |", "|---" * (len(networks) + 1) + "|"]
        for name in names:
            cells = []
            for sizes in networks.values():
                one = sizes[size].get(name)
                cells.append("" if one is None else "{} ms ({:.2f}; {:.2f}–{:.2f})".format(_ms(one), *_ratio(one)))
            lines.append(f"| {name} | " + " | ".join(cells) + " |")
        lines.append("")
    more = told["more_ms"]
    lines += [f"edged alone, processes with frames of each size in turn: milliseconds more than with {_SIZE} (quartiles).", ""]
    lines += ["| | " + " | ".join(more) + " |", "|---" * (len(more) + 1) + "|"]
    for size in next(iter(more.values())):
        spreads = [found[size] for found in more.values()]
        lines.append(
            f"| {size} | " + " | ".join(f"{middle:+.2f} ({low:+.2f} to {high:+.2f})" for low, middle, high in spreads) + " |"
        )
    lines.append("")
    lines += [f"Not to be had: {name} ({why})." for name, why in told["missing"].items()]
    return "\n".join(lines).rstrip() + "\n"


def _ms(one: dict[str, Any]) -> str:
    return f"{one['cpu_ms'][1]:.2f}"


def _ratio(one: dict[str, Any]) -> tuple[float, float, float]:
    low, middle, high = one["ratio"]
    return middle, low, high


def to_svg(told: dict[str, Any]) -> str:
    """Bars of the ratio to the bare network, a group for each network."""
    networks = {name: sizes[_SIZE] for name, sizes in told["networks"].items() if _SIZE in sizes}
    peers = list(next(iter(networks.values()), {}))
    high, bar, gap, left, bottom = 260, 16, 34, 50, 40
    group = bar * len(peers) + gap
    wide, most = left + group * len(networks), 3.0
    box = f"0 0 {wide + 10} {high + bottom + 18 * len(peers)}"
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{box}" font-family="sans-serif" font-size="11">']
    for line in (0.5, 1.0, 1.5, 2.0, 2.5, 3.0):
        y = high - line / most * (high - 20)
        out.append(f'<line x1="{left}" x2="{wide}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>')
        out.append(f'<text x="{left - 6}" y="{y + 4:.1f}" text-anchor="end">{line:g}</text>')
    for column, (network, figures) in enumerate(networks.items()):
        for row, peer in enumerate(peers):
            if peer not in figures:
                continue
            ratio = figures[peer]["ratio"][1]
            tall, x = min(ratio, most) / most * (high - 20), left + column * group + row * bar + gap / 2
            out.append(f'<rect x="{x}" y="{high - tall:.1f}" width="{bar - 3}" height="{tall:.1f}" fill="{_COLOURS[row]}"/>')
            out.append(
                f'<text x="{x + bar / 2 - 1}" y="{high - tall - 3:.1f}" font-size="8" text-anchor="middle">{ratio:.2f}</text>'
            )
        out.append(f'<text x="{left + column * group + group / 2}" y="{high + 16}" text-anchor="middle">{escape(network)}</text>')
    for row, peer in enumerate(peers):
        y = high + bottom + 18 * row
        out.append(f'<rect x="{left}" y="{y - 10}" width="12" height="12" fill="{_COLOURS[row]}"/>')
        out.append(f'<text x="{left + 18}" y="{y}">{escape(peer)}</text>')
    return "\n".join([*out, "</svg>"]) + "\n"
