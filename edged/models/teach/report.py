"""What a taught model is worth, on one page: plain SVG, so that it needs no library. Pure."""

import math
from dataclasses import dataclass
from html import escape

from edged.models.teach.teach import Taught

WIDTH = 890
_BAR, _ROW, _LEFT = 360, 26, 190
_LEAST_SURE = 12
_MOST_CONFUSED = 12  # labels that the table of confusions has room for
_SHORT = 22  # characters of a label, and twice that of a file's name
_FONT = 'font-family="sans-serif" font-size="13"'


def to_interval(right: float, count: float) -> tuple[float, float]:
    """Wilson's 95 % interval of a share."""
    if not count:
        return 0.0, 1.0
    z, share = 1.96, right / count
    middle = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z / (1 + z * z / count) * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    return max(0.0, middle - half), min(1.0, middle + half)


@dataclass(frozen=True, slots=True)
class LabelShare:
    """One label: the share of its pictures that were told rightly, its 95 % interval, and what the two are of."""

    label: str
    share: float
    low: float
    high: float
    of: str


def to_rows(taught: Taught) -> list[LabelShare]:
    """Near copies count once in the interval: twenty frames of one moment tell no more than one does."""
    made = []
    for (label, count, right), different in zip(taught.counts(), taught.figures["different"], strict=True):
        share = right / max(1, count)
        copies = f", near copies of {different}" if different < count else ""
        made.append(LabelShare(label, share, *to_interval(share * different, different), f"{right} of {count}{copies}"))
    return made


def to_svg(taught: Taught) -> str:
    """Accuracy by label with its interval, confusions, and the pictures that the model is least sure of."""
    parts, y = _heading(taught)
    for part in (_accuracies, _confusions, _least_sure, _left_out):
        more, y = part(taught, y + 24)
        parts += more
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{y + 16}" viewBox="0 0 {WIDTH} {y + 16}" {_FONT}>\n'
        f'<rect width="100%" height="100%" fill="white"/>\n{body}\n</svg>\n'
    )


def _heading(taught: Taught) -> tuple[list[str], int]:
    figures, plan = taught.figures, taught.plan
    bank = f"{figures['bank']} of the bank" + (f", {taught.others} given" if taught.others else "")
    lines = [
        f"{_cut(plan.name, 36)}, taught to {_cut(plan.base.card.name, 30)}",
        f"{len(taught.pictures)} pictures of {len(plan.labels)} labels; other things: {bank}.",
        "All figures are of pictures that were held out, near copies together (cross-validation).",
        f"accuracy {taught.accuracy:.2f} · named rightly {taught.named:.0%} · other things that get a name "
        f"{taught.others_named:.0%} · enter {figures['enter']:.2f}, margin {figures['margin']:.2f}",
    ]
    parts = [f'<text x="20" y="34" font-size="18" font-weight="bold">{escape(lines[0])}</text>']
    parts += [_text(20, 56 + 20 * n, line) for n, line in enumerate(lines[1:])]
    return parts, 96


def _accuracies(taught: Taught, y: int) -> tuple[list[str], int]:
    parts = [_title(y, "Right, by label (the line is the 95 % interval)")]
    for row in to_rows(taught):
        y += _ROW
        parts += [
            _text(20, y + 4, _cut(row.label)),
            f'<rect x="{_LEFT}" y="{y - 8}" width="{_BAR}" height="16" fill="#eee"/>',
            f'<rect x="{_LEFT}" y="{y - 8}" width="{_BAR * row.share:.1f}" height="16" fill="#4477aa"/>',
            _line(row.low, y, row.high, y),
            *(_line(end, y - 5, end, y + 5) for end in (row.low, row.high)),
            _text(_LEFT + _BAR + 14, y + 4, f"{row.share:.2f} ({row.low:.2f}–{row.high:.2f}), {row.of}"),
        ]
    return parts, y + 12


def _confusions(taught: Taught, y: int) -> tuple[list[str], int]:
    labels, rows = taught.plan.labels, taught.figures["confusion"]
    if len(labels) > _MOST_CONFUSED:
        pairs = sorted(
            ((rows[a][b], labels[a], labels[b]) for a in range(len(labels)) for b in range(len(labels)) if a != b), reverse=True
        )
        parts = [_title(y, "Taken for another label, most often first")]
        for count, truth, said in pairs[:_MOST_CONFUSED]:
            y += 20
            parts.append(_text(20, y, f"{count} × {_cut(truth)} taken for {_cut(said)}"))
        return parts, y
    parts = [_title(y, "What it was (rows), and what it was taken for")]
    cell = min(90, (WIDTH - _LEFT - 20) // len(labels))
    y += 22
    parts += [_text(_LEFT + cell * n + cell // 2, y, _cut(label, cell // 8), "middle") for n, label in enumerate(labels)]
    for n, label in enumerate(labels):
        y += _ROW
        parts.append(_text(20, y - 4, _cut(label)))
        total = max(1, sum(rows[n]))
        for other, count in enumerate(rows[n]):
            colour = "68,119,170" if n == other else "204,102,51"
            x, strength = _LEFT + cell * other, 0.08 + 0.6 * count / total
            place = f'x="{x}" y="{y - 21}" width="{cell - 2}" height="{_ROW - 2}"'
            parts.append(f'<rect {place} fill="rgb({colour})" fill-opacity="{strength:.2f}"/>')
            parts.append(_text(x + cell // 2, y - 4, str(count), "middle"))
    return parts, y


def _least_sure(taught: Taught, y: int) -> tuple[list[str], int]:
    parts = [_title(y, "The pictures that it is least sure of: are they clear, and in the right folder?")]
    found = sorted(zip(taught.figures["scores"], taught.figures["best"], taught.pictures, strict=True), key=lambda one: one[0])
    for score, best, picture in found[:_LEAST_SURE]:
        y += 20
        said = taught.plan.labels[best]
        taken = f", taken for {_cut(said)}" if said != picture.label else ""
        parts.append(_text(20, y, f"{score:.2f}  {_cut(picture.label)}: {_cut(picture.path.name, 2 * _SHORT)}{taken}"))
    return parts, y


def _left_out(taught: Taught, y: int) -> tuple[list[str], int]:
    if not taught.lost:
        return [], y - 24
    parts = [_title(y, f"Left out: {len(taught.lost)}")]
    for one in taught.lost[:_LEAST_SURE]:
        y += 20
        parts.append(_text(20, y, f"{_cut(one.picture.path.name, 2 * _SHORT)} {_cut(one.why, 60)}"))
    return parts, y


def _line(share: float, y: int, other_share: float, other_y: int) -> str:
    x, other_x = (_LEFT + _BAR * one for one in (share, other_share))
    return f'<line x1="{x:.1f}" x2="{other_x:.1f}" y1="{y}" y2="{other_y}" stroke="#222" stroke-width="2"/>'


def _title(y: int, text: str) -> str:
    return f'<text x="20" y="{y}" font-weight="bold">{escape(text)}</text>'


def _text(x: int, y: int, text: str, anchor: str = "start") -> str:
    return f'<text x="{x}" y="{y}" text-anchor="{anchor}">{escape(text)}</text>'


def _cut(text: str, longest: int = _SHORT) -> str:
    """Short enough, and without what an SVG may not hold."""
    shown = "".join(c if c.isprintable() and not 0xD800 <= ord(c) <= 0xDFFF else "�" for c in text)
    return shown if len(shown) <= longest else f"{shown[: max(1, longest - 1)]}…"
