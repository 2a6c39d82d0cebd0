"""What costs.py found, as documents: docs/costs.json, three plots, and the tables of docs/costs.md."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

_BEGIN, _END = "<!-- begin of what `make costs` writes -->", "<!-- end of what `make costs` writes -->"
_COLOUR = {"courier": "#1f6feb", "vision": "#e3a008"}
_PALE = {"courier": "#7fb0f7", "vision": "#f2d28b"}
_WIDE, _LEFT, _ROW = 760, 150, 20


def write_costs(told: dict[str, Any], docs: Path) -> None:
    (docs / "costs.json").write_text(json.dumps(told, indent=1) + "\n")
    if "start" in told:
        (docs / "costs_start.svg").write_text(to_timeline(told["start"]["phases"]))
    if "models" in told:
        (docs / "costs_memory.svg").write_text(to_bars(told["models"]))
    (docs / "costs_growth.svg").write_text(to_growth(told))
    page = docs / "costs.md"
    before, rest = page.read_text().split(_BEGIN)
    page.write_text(before + _BEGIN + "\n" + to_tables(told) + _END + rest.split(_END)[1])


def to_tables(told: dict[str, Any]) -> str:
    lines = [f"{told['machine']}.", ""]
    if start := told.get("start"):
        lines += [
            f"**First result**: {start['edged_s']:.2f} s after exec, the bare script {start['bare_s']:.2f} s: "
            f"{start['ratio']:.2f} × (median of {start['pairs']} pairs; {start['ratios'][0]:.2f} to {start['ratios'][-1]:.2f}).",
            "",
            "| process | phase | ms | until, ms after exec |",
            "|---|---|---|---|",
        ]
        lines += [f"| {one['process']} | {one['name']} | {one['took_ms']:.0f} | {one['at_ms']:.0f} |" for one in start["phases"]]
        lines.append("")
    for part, heading in (("models", "model"), ("labels", "labels"), ("rates", "frames a second")):
        if part in told:
            lines += to_table(heading, told[part])
    if soak := told.get("frames"):
        lines += to_soak(soak)
    return "\n".join(lines).rstrip() + "\n"


def to_table(heading: str, rows: dict[str, Any]) -> list[str]:
    columns = "courier, % of a core | vision, % of a core | both | courier, MB (PSS) | vision, MB (PSS)"
    lines = [f"| {heading} | {columns} |", "|---" * 6 + "|"]
    for name, one in rows.items():
        cpu = [one[process]["cpu_percent"] for process in ("courier", "vision")]
        memory = [f"{one[process]['rss']:.1f} ({one[process]['pss']:.1f})" for process in ("courier", "vision")]
        lines.append(f"| {name} | {cpu[0]:.2f} | {cpu[1]:.2f} | {sum(cpu):.2f} | {memory[0]} | {memory[1]} |")
    return [*lines, ""]


def to_soak(soak: dict[str, Any]) -> list[str]:
    frames, grown = soak["frames"], soak["grown_since_warm"]
    said = ", ".join(
        f"{process} {one['rss_kb']:+d} kB, {one['files']:+d} files, {one['threads']:+d} threads" for process, one in grown.items()
    )
    return [
        f"**Frames**: {frames['inferred']:,} classified of {frames['captured']:,} that the camera gave, "
        f"{soak['frames_a_second']:.0f} a second, {soak['events']['events']:,} events. From warm to the end: {said}.",
        "",
    ]


def to_timeline(phases: Sequence[dict[str, Any]]) -> str:
    """A bar for each phase of both processes, over the time since exec."""
    end_ms = max(one["at_ms"] for one in phases)
    high = _ROW * len(phases) + 50
    to_x = lambda ms: _LEFT + ms / end_ms * (_WIDE - _LEFT - 70)  # noqa: E731
    out = _head(high)
    for ms in range(0, int(end_ms) + 1, 100):
        out.append(f'<line x1="{to_x(ms):.1f}" x2="{to_x(ms):.1f}" y1="10" y2="{high - 30}" stroke="#ddd"/>')
        out.append(f'<text x="{to_x(ms):.1f}" y="{high - 14}" text-anchor="middle">{ms} ms</text>')
    for row, one in enumerate(phases):
        y, begin_ms = 14 + row * _ROW, max(0.0, one["at_ms"] - one["took_ms"])
        wide = max(1.0, to_x(one["at_ms"]) - to_x(begin_ms))
        colour = _COLOUR[one["process"]]
        out.append(f'<text x="{_LEFT - 6}" y="{y + 10}" text-anchor="end">{escape(one["process"])}: {escape(one["name"])}</text>')
        out.append(f'<rect x="{to_x(begin_ms):.1f}" y="{y}" width="{wide:.1f}" height="{_ROW - 6}" fill="{colour}"/>')
        out.append(f'<text x="{to_x(one["at_ms"]) + 4:.1f}" y="{y + 10}">{one["took_ms"]:.0f}</text>')
    return "\n".join([*out, "</svg>"]) + "\n"


def to_bars(models: dict[str, Any]) -> str:
    """Resident memory of both processes by model; the paler part is shared with others."""
    high, most = 2 * _ROW * len(models) + 40, max(one["vision"]["rss"] for one in models.values())
    out = _head(high)
    for row, (name, one) in enumerate(models.items()):
        for below, process in enumerate(("courier", "vision")):
            y, told = 12 + (2 * row + below) * _ROW, one[process]
            for colour, mb in ((_PALE[process], told["rss"]), (_COLOUR[process], told["pss"])):
                wide = mb / most * (_WIDE - _LEFT - 90)
                out.append(f'<rect x="{_LEFT}" y="{y}" width="{wide:.1f}" height="{_ROW - 6}" fill="{colour}"/>')
            x = _LEFT + told["rss"] / most * (_WIDE - _LEFT - 90)
            out.append(f'<text x="{x + 4:.1f}" y="{y + 10}">{told["rss"]:.1f} MB {process}</text>')
        out.append(f'<text x="{_LEFT - 6}" y="{12 + 2 * row * _ROW + 20}" text-anchor="end">{escape(name)}</text>')
    return "\n".join([*out, "</svg>"]) + "\n"


def to_growth(told: dict[str, Any]) -> str:
    """Memory over labels and frames, processor time over the rate: a panel for each."""
    panels = []
    if labels := told.get("labels"):
        points = {p: [(math.log10(float(n)), one[p]["rss"]) for n, one in labels.items()] for p in _COLOUR}
        panels.append(("memory, MB", "labels", points, [(math.log10(float(n)), n) for n in labels]))
    if rates := told.get("rates"):
        points = {p: [(float(n), one[p]["cpu_percent"]) for n, one in rates.items()] for p in _COLOUR}
        panels.append(("% of a core", "frames a second", points, [(float(n), n) for n in rates]))
    if soak := told.get("frames"):
        points = {p: [(one["frames"], one[p]["rss_kb"] / 1024) for one in soak["series"]] for p in _COLOUR}
        last = soak["series"][-1]["frames"]
        panels.append(("memory, MB", "frames", points, [(0, "0"), (last / 2, f"{last // 2:,}"), (last, f"{last:,}")]))
    out = _head(260)
    for column, panel in enumerate(panels):
        out += to_panel(20 + column * 250, *panel)
    return "\n".join([*out, "</svg>"]) + "\n"


def to_panel(
    left: int, what: str, over: str, lines: dict[str, list[tuple[float, float]]], ticks: Sequence[tuple[float, str]]
) -> list[str]:
    base, top, x0, x1 = 210, 40, left + 36, left + 226
    all_x, most = [x for x, _ in ticks], max(y for points in lines.values() for _, y in points) * 1.15
    low, high = min(all_x), max(all_x)
    to_x = lambda x: x0 + (x - low) / ((high - low) or 1) * (x1 - x0)  # noqa: E731
    to_y = lambda y: base - y / most * (base - top)  # noqa: E731
    out = [
        f'<path d="M{x0} {top}V{base}H{x1}" fill="none" stroke="#222"/>',
        f'<text x="{left + 20}" y="{top - 16}">{escape(what)}</text>',
    ]
    for share in (0.5, 1.0):
        y = most * share / 1.15
        out.append(f'<text x="{x0 - 4}" y="{to_y(y) + 4:.1f}" text-anchor="end">{y:.3g}</text>')
        out.append(f'<line x1="{x0}" x2="{x1}" y1="{to_y(y):.1f}" y2="{to_y(y):.1f}" stroke="#ddd"/>')
    for x, name in ticks:  # the last one ends with its panel
        anchor = "end" if x == high and len(name) > 5 else "middle"
        out.append(f'<text x="{to_x(x):.1f}" y="{base + 16}" text-anchor="{anchor}">{escape(name)}</text>')
    out.append(f'<text x="{(x0 + x1) / 2:.0f}" y="{base + 34}" text-anchor="middle">{escape(over)}</text>')
    for process, points in lines.items():
        path = " ".join(f"{to_x(x):.1f},{to_y(y):.1f}" for x, y in points)
        out.append(f'<polyline points="{path}" fill="none" stroke="{_COLOUR[process]}" stroke-width="2"/>')
        out.append(f'<text x="{x1}" y="{to_y(points[-1][1]) - 5:.1f}" text-anchor="end" fill="{_COLOUR[process]}">{process}</text>')
    return out


def _head(high: int) -> list[str]:
    return [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDE} {high}" font-family="sans-serif" font-size="11">',
        f'<rect width="{_WIDE}" height="{high}" fill="white"/>',
    ]
