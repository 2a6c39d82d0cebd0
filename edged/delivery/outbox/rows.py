"""What the outbox holds: one row for each durable message, and one session for each start of the courier."""

import json
import zlib
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from edged.delivery.messages import SCHEMA, Stamp, to_rfc3339

EVENT, GAP = 0, 1  # kinds of row
WAITING, DELIVERED, DEAD = 0, 1, 2  # states of a row; a dead letter is one that no broker takes
LATE_NS = 60 * 10**9  # an event that is older when it is sent must not look like "now"
_LARGEST, _LARGEST_S = 1 << 60, 1e11
_SAME_S = 1.0  # a wall clock that moved by less was corrected, not set


@dataclass(frozen=True, slots=True)
class Session:
    """One start of the courier: what its rows' monotonic times mean. `offset_s` + monotonic s = unix s."""

    boot: str
    kernel_boot: str
    offset_s: float
    synced: bool

    @property
    def is_sound(self) -> bool:
        """Whether every field is what it must be."""
        texts = isinstance(self.boot, str) and isinstance(self.kernel_boot, str)
        return texts and type(self.offset_s) in (int, float) and abs(self.offset_s) < _LARGEST_S


@dataclass(frozen=True, slots=True)
class Row:
    """One durable message. `n` orders all rows of an outbox; (`boot`, `seq`) is its public name."""

    n: int
    kind: int
    state: int
    boot: str
    seq: int
    happened_ns: int  # monotonic, of the machine's run in which it happened
    offset_s: float  # of the wall clock when it was stored
    synced: bool  # whether that was known to be right
    lived_ns: int  # the outbox's own age when it was stored; no clock can set it
    body: str  # JSON object

    def checksum(self) -> int:
        """Over everything that never changes; the state does."""
        return checksum(
            self.n, self.kind, self.boot, self.seq, self.happened_ns, self.offset_s, self.synced, self.lived_ns, self.body
        )

    @property
    def size(self) -> int:
        return len(self.body) + 64

    @property
    def is_sound(self) -> bool:
        """Whether every field is what it must be, and a number that a database and a date can hold."""
        numbers = (self.n, self.kind, self.state, self.seq, self.happened_ns, self.lived_ns)
        return (
            all(type(number) is int and abs(number) < _LARGEST for number in numbers)
            and self.n > 0
            and isinstance(self.boot, str)
            and isinstance(self.body, str)
            and type(self.offset_s) in (int, float)
            and abs(self.offset_s) < _LARGEST_S  # and no NaN
            and isinstance(self.synced, bool)
        )

    def readable(self) -> "Row":
        """What can be believed of a row that is damaged: its n, and who it says that it is, if that can be true."""
        named = isinstance(self.boot, str) and type(self.seq) is int and abs(self.seq) < _LARGEST
        return replace(unknown_row(self.n), boot=self.boot, seq=self.seq) if named else unknown_row(self.n)

    def with_state(self, state: int) -> "Row":
        return replace(self, state=state)


def unknown_row(n: int) -> Row:
    """One of which only its number is known."""
    return Row(n, EVENT, WAITING, "", 0, 0, 0.0, False, 0, "{}")


def checksum(*fields: object) -> int:
    return zlib.crc32("\x1f".join(map(_canonical, fields)).encode("utf-8", "surrogatepass"))


def _canonical(field: object) -> str:
    """One spelling for each value, however a database gives it back: 1.0 and 1, True and 1 are the same."""
    if isinstance(field, bool | int):
        return str(int(field))
    if isinstance(field, float):
        return str(int(field)) if field.is_integer() else repr(field)
    return str(field)


def to_body(fields: dict[str, Any]) -> str:
    """Text that can be written: half of a character that needs two (from a name in a file, say) becomes a question mark."""
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace").decode()


def is_late(row: Row, session: Session | None, kernel_boot: str, now_ns: int) -> bool:
    """Whether it must go to `backlog`. What happened before the machine's last start is late, however short that was."""
    if row.kind == GAP or session is None or session.kernel_boot != kernel_boot:
        return True
    return now_ns - row.happened_ns >= LATE_NS


NO_EVENT = (ValueError, TypeError, LookupError, AttributeError, OverflowError, OSError, RecursionError)


def to_message(row: Row, session: Session, *, late: bool) -> bytes:
    """The payload of a row, with the best time that is known for it now. Raises one of NO_EVENT for what is none.

    `session` is the one of row.boot with its offset as it is known now. An event that was stored before the clock was
    right gets its time, and its `since`, moved by as much as the clock was moved since.
    """
    moved = not row.synced and session.synced
    offset_s = session.offset_s if moved else row.offset_s
    fields = json.loads(row.body)
    if moved and abs(offset_s - row.offset_s) > _SAME_S and "since" in fields:
        since_s = datetime.fromisoformat(fields["since"]).timestamp()
        fields["since"] = to_rfc3339(since_s + offset_s - row.offset_s)
    if late and row.kind == EVENT:
        fields["late"] = True
    stamp = Stamp(
        schema_=SCHEMA,
        id=f"{row.boot}-{row.seq}",
        boot=row.boot,
        seq=row.seq,
        time=to_rfc3339(offset_s + row.happened_ns / 1e9),
        clock_synced=row.synced or moved,
    )
    return to_body(stamp.model_dump(by_alias=True) | fields).encode("utf-8", "replace")
