"""The last hour as the page shows it: as it was, and what it would have been. Pure."""

import re
from collections.abc import Sequence
from typing import Any

from edged.page.replay import Span, as_it_was, replay, to_rules
from edged.page.strip import to_colour, to_svg
from edged.system.hour import read_rows

_NUMBER = re.compile(r"-?(\d{1,9}(\.\d{0,18})?|\.\d{1,18})([eE][+-]?\d{1,2})?", re.ASCII)


def to_hour(told: dict[str, Any]) -> dict[str, Any]:
    """told: the courier's answer to `hour`, with or without other thresholds. Raises ValueError for what can't be meant.

    {"svg", "rows", "kept", "rules", "now": how often each label was entered}, and with something tried: "would" in the same way
    and "same": the share of the time in which both say the same label. "labels": those that are in it, with their colours' classes.
    """
    rows, now_s = read_rows(told), int(told["now"])
    base = replay(rows, to_rules(told["rules"]))
    strips: list[tuple[str, Sequence[Span]]] = [("it said", as_it_was(rows))]
    answer: dict[str, Any] = {"kept": told["kept"], "rules": told["rules"], "rows": len(rows), "now": base.entered}
    if "would" in told:
        would = replay(rows, to_rules(told["would"]))
        strips.append(("it would", would.spans))
        answer |= {"would": would.entered, "same": round(to_agreement(base.spans, would.spans), 4)}
    names = sorted(map(str, told["labels"]))
    shown = sorted({span.label for _, spans in strips for span in spans})
    answer["labels"] = [(label or "not looked", to_colour(label, names)) for label in shown]
    return answer | {"svg": to_svg(rows, now_s, strips, names)}


def to_agreement(one: Sequence[Span], other: Sequence[Span]) -> float:
    """The share of the time in which both say the same: 0..1; 1 where there is no time."""
    whole = same = i = j = 0
    while i < len(one) and j < len(other):
        a, b = one[i], other[j]
        overlap = max(0, min(a.end_s, b.end_s) - max(a.begin_s, b.begin_s))
        whole += overlap
        same += overlap if a.label == b.label else 0
        i, j = (i + 1, j) if a.end_s <= b.end_s else (i, j + 1)
    return same / whole if whole else 1.0


def to_number(key: str, text: str) -> float:
    """As HTML writes it. Raises ValueError, in a sentence. Pure."""
    if _NUMBER.fullmatch(text) is None:
        raise ValueError(f"{key} must be a number")
    value = float(text)
    if key in ("k", "n") and value != int(value):
        raise ValueError(f"{key} must be a whole number")
    return int(value) if key in ("k", "n") else value
