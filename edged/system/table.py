"""Rows for a terminal of any width: lined up where they fit, else one below the other, and never cut. Pure."""

import textwrap
from collections.abc import Sequence

_GAP = "  "
_LEAST_LAST = 24  # the last column may be told in several lines, and then has so many characters at least
_LEAST_WIDTH = 20


def to_table(headings: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> list[str]:
    """Lines of at most `width` characters, but for a word that is longer. headings: with a line break where one may stand.

    The first is the name of a row; where the columns don't fit beside each other, it stands above the rest.
    """
    wide = [max([*map(len, heading.split("\n")), *(len(row[number]) for row in rows)]) for number, heading in enumerate(headings)]
    before = sum(wide[:-1]) + len(_GAP) * (len(wide) - 1)
    if before + wide[-1] > width:
        wide[-1] = max((len(word) for word in headings[-1].split()), default=0)
        wide[-1] = max(wide[-1], _LEAST_LAST, width - before)
    return _side_by_side(headings, rows, wide) if before + wide[-1] <= width else _one_below_the_other(headings, rows, width)


def _side_by_side(headings: Sequence[str], rows: Sequence[Sequence[str]], wide: Sequence[int]) -> list[str]:
    tallest = max(heading.count("\n") for heading in headings) + 1
    tall = [[""] * (tallest - 1 - heading.count("\n")) + heading.split("\n") for heading in headings]
    lines = [_line([cell[number] for cell in tall], wide) for number in range(tallest)]
    for *first, last in rows:
        parts = textwrap.wrap(last, wide[-1]) or [""]
        lines.append(_line([*first, parts[0]], wide))
        lines += [_line([*([""] * len(first)), part], wide) for part in parts[1:]]
    return lines


def _line(cells: Sequence[str], wide: Sequence[int]) -> str:
    return _GAP.join(cell.ljust(space) for cell, space in zip(cells, wide, strict=True)).rstrip()


def _one_below_the_other(headings: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> list[str]:
    """`name`, and below it `heading: value, heading: value`; what is empty is not told."""
    lines: list[str] = []
    for first, *others in rows:
        said = [f"{' '.join(heading.split())}: {cell}" for heading, cell in zip(headings[1:], others, strict=True) if cell]
        lines += [first, *textwrap.wrap(", ".join(said), max(_LEAST_WIDTH, width), initial_indent=_GAP, subsequent_indent=_GAP)]
    return lines


def to_cell(value: object) -> str:
    """What is not known or not so is empty."""
    if value is None or value is False:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
