"""How subscribers learn of what was dropped: gap messages, which grow until they are sent."""

from collections.abc import Callable
from dataclasses import replace

from edged.delivery.messages import Gap
from edged.delivery.outbox.rows import Row, to_body


class Gaps:
    """Those that are not yet handed out still grow. Thread: the outbox's."""

    def __init__(self, new_row: Callable[[str, str], Row]) -> None:
        """`new_row(boot, body)`: a gap's row, numbered."""
        self._new_row = new_row
        self._growing: dict[tuple[str, str], Row] = {}  # by boot and reason

    def tell(self, boot: str, seqs: list[int], reason: str) -> tuple[Row | None, Row]:
        """The row that is to be replaced, if there is one, and the one that tells of these too."""
        dropped, old = len(seqs), self._growing.get((boot, reason))
        if old is not None:
            told = Gap.model_validate_json(old.body)
            assert told.to_seq is not None
            assert told.dropped is not None
            seqs, dropped = [told.from_seq, told.to_seq, *seqs], told.dropped + dropped
        gap = Gap(from_seq=min(seqs), to_seq=max(seqs), dropped=dropped, reason=reason)
        body = to_body(gap.model_dump())
        row = replace(old, body=body) if old is not None else self._new_row(boot, body)
        self._growing[boot, reason] = row
        return old, row

    def open_end(self, boot: str, from_seq: int, reason: str) -> Row:
        """What came after may be missing, and nobody can know how much."""
        return self._new_row(boot, to_body(Gap(from_seq=from_seq, to_seq=None, dropped=None, reason=reason).model_dump()))

    def handed(self, row: Row) -> None:
        """It is on its way, and must not change any more."""
        self._growing = {key: gap for key, gap in self._growing.items() if gap.n != row.n}
