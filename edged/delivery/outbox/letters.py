"""Dead letters and events that are set aside, for the operator: listed, tried again, given up."""

import json
from typing import Any

from edged.delivery.outbox.changes import Discard, Revive
from edged.delivery.outbox.database import DeadLetter
from edged.delivery.outbox.failover import Shelves
from edged.delivery.outbox.queue import OutboxQueue
from edged.delivery.outbox.rows import WAITING, Row
from edged.errors import EdgedError

ALL = "all"
MOST_LISTED = 100  # the newest: an answer of the control socket has a largest size
_LONGEST = 80


class Letters:
    """Thread: the outbox's."""

    def __init__(self, ledger: OutboxQueue, shelves: Shelves) -> None:
        self._ledger, self._shelves = ledger, shelves

    def all(self) -> list[dict[str, Any]]:
        """The newest of them, the oldest first. Each: id, size_bytes, reason, what (entered cat), retriable."""
        return [
            {
                "id": _id_of(letter),
                "size_bytes": len(letter.row.body),
                "reason": letter.reason,
                "what": _what(letter.row.body),
                "retriable": letter.is_whole,
            }
            for letter in self._shelves.dead()[-MOST_LISTED:]
        ]

    def count(self) -> int:
        return len(self._shelves.dead())

    def retry(self, name: str) -> int:
        """Send them once more; how many. Raises EdgedError where there is no such one."""
        rows = self._chosen(name, whole=True)
        for row in rows:
            again = row.with_state(WAITING)
            self._shelves.do(Revive(again))
            self._ledger.wait_again(again)
        return len(rows)

    def discard(self, name: str, aside: dict[str, int]) -> int:
        """Forget them; how many. `aside`: the n of the events that are set aside, by id: one of these is told as a gap.

        Raises EdgedError where there is no such one. `all` means the dead letters, and no event that still may be delivered.
        """
        if name in aside:
            return int(self._ledger.discard(aside[name]))
        rows = self._chosen(name, whole=False)
        for row in rows:
            self._shelves.do(Discard(row))
        return len(rows)

    def _chosen(self, name: str, *, whole: bool) -> list[Row]:
        letters = [letter for letter in self._shelves.dead() if name in (ALL, _id_of(letter))]
        if not letters and name != ALL:
            raise EdgedError(f"{name} is no dead letter; edged outbox list shows them")
        if whole and name != ALL and not letters[0].is_whole:
            raise EdgedError(f"{name} was put there by an older edged, which kept only its text; it can only be read")
        return [letter.row for letter in letters if letter.is_whole or not whole]


def _id_of(letter: DeadLetter) -> str:
    return f"{letter.row.boot}-{letter.row.seq}"


def _what(body: str) -> str:
    try:
        fields = json.loads(body)
        return f"{fields['event_type']} {fields['label']}"[:_LONGEST]
    except (ValueError, LookupError, TypeError, RecursionError):
        return body[:_LONGEST]


def to_line(letter: dict[str, Any]) -> str:
    """For people."""
    return f"{letter['id']}  {letter['size_bytes']} bytes  {letter['what']}  ({letter['reason'][:_LONGEST]})"
