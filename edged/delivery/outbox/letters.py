"""Dead letters and events that are set aside, for the operator: listed, tried again, given up."""

import json
from typing import Any

from edged.delivery.outbox.changes import Discard, Revive
from edged.delivery.outbox.failover import Shelves
from edged.delivery.outbox.queue import OutboxQueue
from edged.delivery.outbox.rows import WAITING, Row
from edged.errors import EdgedError

ALL = "all"
_LONGEST_BODY = 200


class Letters:
    """Thread: the outbox's."""

    def __init__(self, ledger: OutboxQueue, shelves: Shelves) -> None:
        self._ledger, self._shelves = ledger, shelves

    def all(self) -> list[dict[str, Any]]:
        """Each: id, size_bytes, reason, what (the beginning of its body), retriable."""
        return [
            {"id": name, "size_bytes": len(body), "reason": reason, "what": body[:_LONGEST_BODY], "retriable": row is not None}
            for row, name, body, reason in self._shelves.dead()
        ]

    def retry(self, name: str) -> int:
        """Send them once more; how many. Raises EdgedError where there is no such one."""
        rows = self._chosen(name)
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
        rows = self._chosen(name)
        for row in rows:
            self._shelves.do(Discard(row))
        return len(rows)

    def _chosen(self, name: str) -> list[Row]:
        letters = [(row, its) for row, its, _body, _reason in self._shelves.dead() if name in (ALL, its)]
        if not letters and name != ALL:
            raise EdgedError(f"{name} is no dead letter; edged outbox list shows them")
        if name != ALL and letters[0][0] is None:
            raise EdgedError(f"{name} was put there by an older edged, which kept only its text; it can only be read")
        return [row for row, _its in letters if row is not None]


def to_line(letter: dict[str, Any]) -> str:
    """For people."""
    try:
        fields = json.loads(letter["what"])
        what = f"{fields['event_type']} {fields['label']}"
    except (ValueError, LookupError, TypeError):
        what = letter["what"][:40]
    return f"{letter['id']}  {letter['size_bytes']} bytes  {what}  ({letter['reason']})"
