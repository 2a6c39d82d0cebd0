"""What can happen to the outbox: each change can be made on any store, and written down."""

from dataclasses import astuple, dataclass
from typing import Any

from edged.delivery.outbox.database import Database
from edged.delivery.outbox.rows import Row, Session


@dataclass(frozen=True, slots=True)
class Put:
    row: Row

    def apply(self, store: Database) -> None:
        store.put(self.row)


@dataclass(frozen=True, slots=True)
class SetState:
    row: Row
    state: int

    def apply(self, store: Database) -> None:
        store.set_state(self.row.n, self.state)


@dataclass(frozen=True, slots=True)
class Delete:
    row: Row

    def apply(self, store: Database) -> None:
        store.delete([self.row])


@dataclass(frozen=True, slots=True)
class Bury:
    """A dead letter."""

    row: Row
    reason: str

    def apply(self, store: Database) -> None:
        store.bury(self.row, self.reason)


@dataclass(frozen=True, slots=True)
class Revive:
    """A dead letter waits again."""

    row: Row

    def apply(self, store: Database) -> None:
        store.discard(self.row.n)
        store.put(self.row)


@dataclass(frozen=True, slots=True)
class Discard:
    """A dead letter is forgotten."""

    row: Row

    def apply(self, store: Database) -> None:
        store.discard(self.row.n)


@dataclass(frozen=True, slots=True)
class PutSession:
    """`unsafe_tail`: a power cut can cost this session what it decided last; None leaves it as it is."""

    session: Session
    last_seq: int = 0
    unsafe_tail: bool | None = None

    def apply(self, store: Database) -> None:
        store.put_session(self.session, self.last_seq)
        if self.unsafe_tail is not None:
            store.set_unsafe_tail(self.session.boot, self.unsafe_tail)


StoredChange = Put | SetState | Delete | Bury | Revive | Discard | PutSession
_LARGEST = 1 << 60
_KINDS: dict[str, Any] = {kind.__name__: kind for kind in (Put, SetState, Delete, Bury, Revive, Discard, PutSession)}


def to_fields(change: StoredChange) -> list[Any]:
    """What JSON can hold."""
    return [type(change).__name__, *astuple(change)]


def from_fields(fields: list[Any]) -> StoredChange:
    """Raises ValueError for anything that `to_fields` did not make."""
    try:
        name, first, *more = fields
        kind = _KINDS[name]
        change: StoredChange = kind(Session(*first) if kind is PutSession else Row(*first), *more)
    except (TypeError, KeyError) as error:
        raise ValueError(f"no change of an outbox: {error!r}") from None
    if not (isinstance(change, PutSession) or _is_row(change.row)) or not all(
        type(one) in (int, str, bool, type(None)) for one in more
    ):
        raise ValueError("no row of an outbox")
    return change


def _is_row(row: Row) -> bool:
    """Whether every field is what it must be, and a number that a database takes."""
    numbers = (row.n, row.kind, row.state, row.seq, row.happened_ns, row.lived_ns)
    texts = (row.boot, row.body)
    return (
        all(type(number) is int and abs(number) < _LARGEST for number in numbers)
        and row.n > 0
        and all(isinstance(text, str) for text in texts)
        and type(row.offset_s) in (int, float)
        and isinstance(row.synced, bool)
    )
