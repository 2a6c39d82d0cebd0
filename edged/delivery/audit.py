"""Keeping account of what a subscriber received: which events are missing, which came twice, and how old they were."""

import itertools
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from edged.delivery.messages import SCHEMA

_MOST_MISSING = 1000  # sequence numbers that are named


@dataclass
class OfBoot:
    """The durable messages of one start of one daemon."""

    seen: Counter[int] = field(default_factory=Counter)
    told: list[tuple[int, int, int, str]] = field(default_factory=list)  # gaps: from, to, dropped, reason
    open_ends: list[tuple[int, str]] = field(default_factory=list)  # gaps without an end: from, reason
    ages_s: list[float] = field(default_factory=list)
    broken_at: int | None = None  # the highest number that was seen when we were cut off, until one is seen again
    unheard: int = 0
    late: int = 0
    unsynced: int = 0


class Account:
    """Feed it messages in order of arrival. `from_start`: whether events before the first one seen count as missing."""

    def __init__(self, *, from_start: bool = False) -> None:
        self._from_start = from_start
        self._boots: dict[tuple[str, str], OfBoot] = {}
        self.foreign = 0

    def cut_off(self) -> None:
        """The way from the broker to us broke: what comes next on `event` ends a hole that says nothing."""
        for found in self._boots.values():
            if found.broken_at is None:
                found.broken_at = max(found.seen)

    def take(self, topic: str, payload: Any, received_s: float | None) -> bool:
        """Whether it was a durable message. What is no message of ours is only counted."""
        device, _, lane = topic.rpartition("/")
        if lane not in ("event", "backlog"):
            return False
        try:
            boot, seq, happened = str(payload["boot"]), payload["seq"], datetime.fromisoformat(payload["time"])
            right = payload["schema"] == SCHEMA and type(seq) is int and seq > 0
            gap = payload["event_type"] == "gap"
            told, open_end = None, None
            if gap and payload["to_seq"] is None and payload["dropped"] is None:
                open_end = (int(payload["from_seq"]), str(payload["reason"]))
            elif gap:
                told = (int(payload["from_seq"]), int(payload["to_seq"]), int(payload["dropped"]), str(payload["reason"]))
        except (KeyError, TypeError, ValueError, OverflowError):
            right = False
        if not right:
            self.foreign += 1
            return False
        found = self._boots.setdefault((device, boot), OfBoot())
        if found.broken_at is not None and lane == "event" and seq > found.broken_at:
            found.told.append((found.broken_at + 1, seq - 1, 0, "unheard"))
            found.unheard += seq - 1 - found.broken_at
            found.broken_at = None
        found.seen[seq] += 1
        found.late += lane == "backlog" and not gap
        found.unsynced += payload.get("clock_synced") is False
        if open_end:
            found.open_ends.append(open_end)
            found.told.append((open_end[0], max(seq - 1, open_end[0]), 0, open_end[1]))  # up to its own number: unknown
        elif told:
            found.told.append(told)
        elif received_s is not None:
            found.ages_s.append(received_s - happened.timestamp())
        return True

    def report(self) -> list[dict[str, Any]]:
        """One entry for each boot: received, missing (and not announced), announced, duplicates, ages."""
        return [self._entry(device, boot, found) for (device, boot), found in self._boots.items()]

    def _entry(self, device: str, boot: str, found: OfBoot) -> dict[str, Any]:
        first = 1 if self._from_start else min(found.seen)
        missing, named = _missing([first - 1, *sorted(found.seen)], sorted((low, high) for low, high, _n, _why in found.told))
        announced: Counter[str] = Counter()
        for _low, _high, dropped, why in set(found.told):
            if dropped:
                announced[why] += dropped
        ages_s = sorted(found.ages_s)
        return {
            "device": device,
            "boot": boot,
            "received": len(found.seen),
            "first_seq": min(found.seen),
            "last_seq": max(found.seen),
            "missing": missing,
            "missing_seqs": named,
            "announced": dict(announced),
            "unknown_from_seq": min((low for low, _why in found.open_ends), default=None),
            "duplicates": sum(found.seen.values()) - len(found.seen),
            "unheard": found.unheard,
            "late": found.late,
            "clock_not_synced": found.unsynced,
            "age_p50_s": round(ages_s[len(ages_s) // 2], 3) if ages_s else None,
            "age_max_s": round(ages_s[-1], 3) if ages_s else None,
        }


def _missing(seen: list[int], told: list[tuple[int, int]]) -> tuple[int, list[int]]:
    """How many numbers between those seen are neither seen nor told of, and the first of them."""
    count, named = 0, list[int]()
    for before, after in itertools.pairwise(seen):
        next_seq = before + 1
        for low, high in [*((low, high) for low, high in told if high > before and low < after), (after, after)]:
            if next_seq < min(low, after):
                hole = range(next_seq, min(low, after))
                count += len(hole)
                named.extend(hole[: _MOST_MISSING - len(named)])
            next_seq = max(next_seq, high + 1)
    return count, named
