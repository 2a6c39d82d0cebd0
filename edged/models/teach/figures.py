"""What the process that teaches says of its work, before it is believed. Pure."""

from typing import Any


def is_consistent(figures: dict[str, Any], labels: int, pictures: int) -> bool:
    """Whether the figures of the word "taught" can be true of so many labels and pictures, and be a card's. Pure."""
    rows, named, best, different = (figures[key] for key in ("confusion", "named", "best", "different"))
    if any(len(one) != labels for one in (rows, named, different, *rows)):
        return False
    if len(best) != pictures or len(figures["scores"]) != pictures or any(one >= labels for one in best):
        return False
    counts = [sum(row) for row in rows]
    is_counted = sum(counts) == pictures and all(max(few) <= all_ for *few, all_ in zip(named, different, counts, strict=True))
    is_card = 0 < figures["leave"] <= figures["enter"] and figures["margin"] < 1
    return is_counted and is_card and figures["others_named"] <= figures["others"]
