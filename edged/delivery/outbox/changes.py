"""What can happen to the outbox: each change can be made on any store, and written down, in lines with checksums that may be cut
anywhere.
"""

import contextlib
import errno
import json
import logging
import os
import threading
import zlib
from collections.abc import Iterator
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

from edged.delivery.outbox.database import Database
from edged.delivery.outbox.rows import Row, Session
from edged.errors import ReadError
from edged.system.files import read_file

log = logging.getLogger("edged")

LARGEST_BYTES = 32 * 1024 * 1024  # of a file of lines
_HEAD_BYTES = 96  # a line of fixed length at the beginning, which is written over


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
    if not (change.session.is_sound if isinstance(change, PutSession) else change.row.is_sound) or not all(
        type(one) in (int, str, bool, type(None)) for one in more
    ):
        raise ValueError("no row of an outbox")
    return change


class CheckedLines:
    """A head and lines, each with its checksum. What can not be written is told once, and nothing else happens.

    Thread: any; see `Tail`.
    """

    def __init__(self, path: Path | None, head: object) -> None:
        self._path, self._file, self._end = path, -1, _HEAD_BYTES
        self._lock = threading.RLock()
        if path is not None:
            try:
                self._file = _open(path)
            except OSError as error:
                self._fail(error)
        self.clear(head)

    def add(self, value: object) -> None:
        line = _to_line(value)
        with self._lock:
            if self._file >= 0 and self._end < LARGEST_BYTES:
                self._write(line, self._end)
                self._end += len(line)

    def clear(self, head: object) -> None:
        """Another head, and no lines. Killed in between, it has the new head and the old lines."""
        with self._lock:
            if self._file < 0:
                return
            self._write(_to_line(head).rstrip().ljust(_HEAD_BYTES - 1) + b"\n", 0)
            try:
                if self._file >= 0:
                    os.ftruncate(self._file, _HEAD_BYTES)
            except OSError as error:
                self._fail(error)
            self._end = _HEAD_BYTES

    def remove(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
        self.unlink()

    @property
    def is_open(self) -> bool:
        return self._file >= 0

    @property
    def is_gone(self) -> bool:
        """Whether somebody removed or replaced the file while it was written."""
        try:
            return self._path is not None and self._file >= 0 and not os.path.samestat(os.fstat(self._file), self._path.lstat())
        except OSError:
            return True

    def move(self, path: Path) -> None:
        """Go on in a new file, with all that was written."""
        with self._lock:
            if self._file < 0:
                return
            old, self._path = self._file, path
            try:
                raw = os.pread(old, self._end, 0)
                self._file = _open(path)
            except OSError as error:
                self._fail(error)
                return
            os.close(old)
            self._write(raw, 0)

    def unlink(self) -> None:
        """Nobody finds it any more; it may go on being written."""
        if self._path is not None:
            with contextlib.suppress(OSError):
                self._path.unlink()

    def _write(self, raw: bytes, at: int) -> None:
        try:
            if os.pwrite(self._file, raw, at) < len(raw):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            self._fail(error)

    def _fail(self, error: OSError) -> None:
        log.warning("what is not yet on the disk is not safe from SIGKILL: %s: %s", self._path, error.strerror or error)
        if self._file >= 0:
            os.close(self._file)
        self._file = -1


def _open(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)


def _to_line(value: object) -> bytes:
    raw = json.dumps(value, separators=(",", ":")).encode()  # ASCII only: no line can end too soon
    return b"%08x %s\n" % (zlib.crc32(raw), raw)


def read_lines(path: Path) -> Iterator[list[Any]]:
    """Those whose checksum is right, up to the first that is not: a line may have been cut. The head is the first."""
    try:
        raw = read_file(path, LARGEST_BYTES * 2, follow=False)
    except ReadError:
        return
    for line in raw.split(b"\n"):
        checksum, _, text = line.rstrip().partition(b" ")
        if f"{zlib.crc32(text):08x}".encode() != checksum:
            return
        yield list(json.loads(text))
