"""What is not yet on the disk, written down where only a power cut can take it: SIGKILL loses nothing that was decided.

Two small files, on tmpfs where there is one, never synced: `accepted` holds what the event loop took and the outbox's thread
has not yet numbered; `changes` what that thread did since the last commit. A courier that starts takes both in.
"""

import contextlib
import hashlib
import itertools
import logging
import os
import sqlite3
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from edged.delivery.outbox.changes import CheckedLines, Put, PutSession, StoredChange, from_fields, read_lines, to_fields
from edged.delivery.outbox.database import Database
from edged.delivery.outbox.rows import DELIVERED, WAITING, Row
from edged.errors import ReadError, WriteError
from edged.system.files import PRIVATE, read_file, write_file

log = logging.getLogger("edged")

_NO_SENSE = (ValueError, TypeError, LookupError, AttributeError, RecursionError)
LAST_FOLDER, _LONGEST_PATH = "outbox.tail", 4096  # a file in the state folder


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


class Tail:
    """`folder` None: nothing is written. `accept` belongs to the event loop's thread, the rest to the outbox's."""

    def __init__(
        self, folder: Path | None, name: str = "", boot: str = "", another: Callable[[], Path | None] = lambda: None
    ) -> None:
        """`another`: a folder to go on in when somebody takes the files away."""
        base = folder / f"{name}{boot}" if folder else None
        self._name, self._another = f"{name}{boot}", another
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

    def look(self) -> None:
        """Must be called now and then: files that were taken away are made anew. A user's own folder goes at the last logout."""
        if not (self._changes.is_gone or self._accepted.is_gone) or self._ended:
            return
        if (folder := self._another()) is not None:
            log.warning("what is not yet on the disk was taken away, and is kept in %s from now on", folder)
            self._accepted.move(folder / f"{self._name}.accepted")  # without the other file nobody looks at it
            self._changes.move(folder / f"{self._name}.changes")

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
    (systemd.exec(5), RuntimeDirectory=), the user's (XDG_RUNTIME_DIR), the one that was used last, which a command started by
    hand is not told of, or the state folder.
    """
    runtime = environment.get("RUNTIME_DIRECTORY", "").split(":")[0]
    last = ""
    with contextlib.suppress(ReadError):
        last = os.fsdecode(read_file(state_folder / LAST_FOLDER, _LONGEST_PATH, follow=False))
    places = (runtime, environment.get("XDG_RUNTIME_DIR", ""), last)
    return [*(Path(place) for place in dict.fromkeys(places) if place.startswith("/") and "\0" not in place), state_folder]


def open_tail(state_folder: Path, boot: str) -> Tail:
    """A new one, empty; see `find_left` for what lies there."""
    return Tail(_choose_folder(state_folder), name_of(state_folder), boot, lambda: _choose_folder(state_folder))


def _choose_folder(state_folder: Path) -> Path | None:
    for folder in folders(state_folder):
        if folder.is_dir() and os.access(folder, os.W_OK):
            with contextlib.suppress(WriteError):
                if folder not in (folders(state_folder, {})[0], state_folder):
                    write_file(state_folder / LAST_FOLDER, os.fsencode(folder), PRIVATE)
            return folder
    return None


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
                for number, (index, *more) in enumerate(read_lines(path)):
                    if number:
                        left.changes.append(from_fields(more[0]))
                    numbered = max(numbered, index if number else more[0])
            with contextlib.suppress(*_NO_SENSE):
                for index, *more in itertools.islice(read_lines(accepted), 1, None):
                    if index > numbered:
                        left.accepted.append(Accepted(index, str(more[0]), int(more[1])))
    return list(found.values())


def remove_left(left: list[Left]) -> None:
    """It was taken in, and is on the disk."""
    for one in left:
        for path in one.paths:
            with contextlib.suppress(OSError):
                path.unlink()


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
