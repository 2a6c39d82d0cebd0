"""What is not yet on the disk, written down where only a power cut can take it: SIGKILL loses nothing that was decided.

Two small files, on tmpfs where there is one, never synced: `accepted` holds what the event loop took and the outbox's thread
has not yet numbered; `changes` what that thread did since the last commit. A courier that starts takes both in.
"""

import contextlib
import errno
import hashlib
import itertools
import json
import logging
import os
import sqlite3
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from edged.delivery.outbox.changes import Put, PutSession, StoredChange, from_fields, to_fields
from edged.delivery.outbox.database import Database
from edged.delivery.outbox.rows import DELIVERED, WAITING, Row
from edged.errors import ReadError
from edged.system.files import read_file

log = logging.getLogger("edged")

_LARGEST_BYTES = 32 * 1024 * 1024
_NO_SENSE = (ValueError, TypeError, LookupError, AttributeError, RecursionError)
_HEAD_BYTES = 96  # a line of fixed length at the beginning, which is written over


@dataclass(frozen=True, slots=True)
class Accepted:
    """An event that was decided and has no number yet. `index`: which of its boot, from 1 on."""

    index: int
    body: str
    happened_ns: int


@dataclass
class Left:
    """What an earlier courier left."""

    boot: str
    paths: list[Path]
    changes: list[StoredChange] = field(default_factory=list)
    accepted: list[Accepted] = field(default_factory=list)


class CheckedLines:
    """A head and lines, each with its checksum. What can not be written is told once, and nothing else happens.

    Thread: one at a time.
    """

    def __init__(self, path: Path | None, head: object) -> None:
        self._path, self._file, self._end = path, -1, _HEAD_BYTES
        if path is not None:
            try:
                self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            except OSError as error:
                self._fail(error)
        self.clear(head)

    def add(self, value: object) -> None:
        if self._file >= 0 and self._end < _LARGEST_BYTES:
            line = _to_line(value)
            self._write(line, self._end)
            self._end += len(line)

    def clear(self, head: object) -> None:
        """Another head, and no lines. Killed in between, it has the new head and the old lines."""
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
        if self._path is not None:
            with contextlib.suppress(OSError):
                self._path.unlink()

    @property
    def is_open(self) -> bool:
        return self._file >= 0

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


class Tail:
    """`folder` None: nothing is written. `accept` belongs to the event loop's thread, the rest to the outbox's."""

    def __init__(self, folder: Path | None, name: str = "", boot: str = "") -> None:
        base = folder / f"{name}{boot}" if folder else None
        self._boot = boot
        self._changes = CheckedLines(base.with_suffix(".changes") if base else None, [boot, 0])
        self._accepted = CheckedLines(base.with_suffix(".accepted") if base else None, [boot])
        self._accepted_count = 0
        self._index = 0  # of the accepted event that is being numbered, or was last
        self._ended = folder is None
        self._numbered = 0  # how many of the accepted are in `changes`, or were committed

    def accept(self, body: str, happened_ns: int) -> int:
        """An event was decided; its index, for `number`."""
        if 0 < self._accepted_count <= self._numbered:
            self._accepted.clear([self._boot])  # all of them are in the other file, or on the disk
        self._accepted_count += 1
        self._accepted.add([self._accepted_count, body, happened_ns])
        return self._accepted_count

    def number(self, index: int) -> None:
        """The next change puts this event."""
        self._index = index

    def add(self, change: StoredChange) -> None:
        self._changes.add([self._index, to_fields(change)])
        self._numbered = self._index
        if not self._changes.is_open and not self._ended:
            self._ended = True  # one file without the other would double events
            self._changes.unlink()
            self._accepted.unlink()

    def clear(self) -> None:
        """Everything that was added is on the disk."""
        self._changes.clear([self._boot, self._numbered])

    def remove(self) -> None:
        """A good end: nothing is left."""
        self._changes.remove()
        self._accepted.remove()


def name_of(state_folder: Path) -> str:
    """Of the files of the outbox in this folder."""
    return f"outbox-{hashlib.sha256(os.fsencode(os.path.realpath(state_folder))).hexdigest()[:16]}-"


def folders(state_folder: Path, environment: Mapping[str, str] = os.environ) -> list[Path]:
    """Where the tail may lie: the first that can be written is used, and all are looked at. The service's own folder
    (systemd.exec(5), RuntimeDirectory=), the user's (XDG_RUNTIME_DIR), or the state folder.
    """
    runtime = environment.get("RUNTIME_DIRECTORY", "").split(":")[0]
    found = [Path(place) for place in (runtime, environment.get("XDG_RUNTIME_DIR", "")) if place.startswith("/")]
    return [*found, state_folder]


def open_tail(state_folder: Path, boot: str) -> Tail:
    """A new one, empty; see `find_left` for what lies there."""
    for folder in folders(state_folder):
        if folder.is_dir() and os.access(folder, os.W_OK):
            return Tail(folder, name_of(state_folder), boot)
    return Tail(None)


def find_left(state_folder: Path) -> list[Left]:
    """What earlier couriers left, as far as it is whole. Raises nothing; the files stay until they are removed."""
    found: dict[str, Left] = {}
    for folder in folders(state_folder):
        for path in sorted(folder.glob(f"{name_of(state_folder)}????????.changes")):
            boot = path.stem[-8:]
            left = found.setdefault(boot, Left(boot, []))
            accepted = path.with_suffix(".accepted")
            left.paths += [path, accepted]
            numbered = 0
            with contextlib.suppress(*_NO_SENSE):  # from the first line on that makes no sense
                for number, (index, *more) in enumerate(_lines(path)):
                    if number:
                        left.changes.append(from_fields(more[0]))
                    numbered = max(numbered, index if number else more[0])
            with contextlib.suppress(*_NO_SENSE):
                for index, *more in itertools.islice(_lines(accepted), 1, None):
                    if index > numbered:
                        left.accepted.append(Accepted(index, str(more[0]), int(more[1])))
    return list(found.values())


def remove_left(left: list[Left]) -> None:
    """It was taken in, and is on the disk."""
    for one in left:
        for path in one.paths:
            with contextlib.suppress(OSError):
                path.unlink()


def _to_line(value: object) -> bytes:
    raw = json.dumps(value, separators=(",", ":")).encode()  # ASCII only: no line can end too soon
    return b"%08x %s\n" % (zlib.crc32(raw), raw)


def _lines(path: Path) -> Iterator[list[Any]]:
    """Those whose checksum is right, up to the first that is not: a line may have been cut. The head is the first."""
    try:
        raw = read_file(path, _LARGEST_BYTES * 2, follow=False)
    except ReadError:
        return
    for line in raw.split(b"\n"):
        checksum, _, text = line.rstrip().partition(b" ")
        if f"{zlib.crc32(text):08x}".encode() != checksum:
            return
        yield list(json.loads(text))


def take_in(store: Database, left: list[Left]) -> None:
    """Make the changes that were not committed, or not known to be. Raises sqlite3.Error.

    Each change is made at most once in effect: a tail may be older than the disk, and be taken in twice.
    """
    if not left:
        return
    committed = Counter({boot: last_seq for boot, (_session, last_seq) in store.sessions().items()})
    for row in store.everything():
        committed[row.boot] = max(committed[row.boot], row.seq)
    next_n = store.highest_n() + 1
    moved: dict[tuple[str, int], int] = {}  # rows whose n another has by now
    store.begin()
    try:
        for one in left:
            for change in one.changes:
                if isinstance(change, PutSession):
                    change.apply(store)
                    continue
                row = change.row
                name = (row.boot, row.seq)
                n = moved.get(name, row.n)
                there = next(iter(store.get(n)), None)
                is_ours = there is not None and (there.boot, there.seq) == name
                if is_ours:
                    _apply(store, change, n)
                elif isinstance(change, Put) and row.seq > committed[row.boot]:
                    if there is not None:
                        n, next_n = next_n, next_n + 1
                        moved[name] = n
                    _apply(store, change, n)
                    next_n = max(next_n, n + 1)
        store.commit()
    except sqlite3.Error:
        store.roll_back()
        raise


def _apply(store: Database, change: StoredChange, n: int) -> None:
    assert not isinstance(change, PutSession)
    replace(change, row=replace(change.row, n=n)).apply(store)


def to_rows(left: list[Left]) -> dict[int, Row]:
    """The rows of the tails, by n, for a disk that can't be written."""
    rows: dict[int, Row] = {}
    for one in left:
        for change in one.changes:
            if isinstance(change, Put) and change.row.state in (WAITING, DELIVERED):
                rows[change.row.n] = change.row
            elif not isinstance(change, PutSession):
                rows.pop(change.row.n, None)
    return rows
