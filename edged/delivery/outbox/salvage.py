"""What can still be read of an outbox that SQLite gives up: every table leaf of the file and of its log, cell by cell.

A row counts when its checksum is right, so nothing that is not a row can be taken for one, wherever it lies.
Formats: https://www.sqlite.org/fileformat2.html, sections 1.5 (pages), 2.1 (records), 4.1 (the write-ahead log).
"""

import os
import re
import stat
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from edged.delivery.outbox.database import PAGE_BYTES, to_row
from edged.delivery.outbox.rows import DEAD, DELIVERED, WAITING, Row, Session

_LEAF = 0x0D
_FIELDS = 11  # of a row, its checksum with it; n is the key and stands before the record
_WAL_HEADER_BYTES, _FRAME_HEADER_BYTES = 32, 24
_LARGEST_FILE_BYTES = 512 * 1024 * 1024
_SLACK_BYTES = 1024 * 1024  # a file system may not have counted the last ones yet, or keep small ones elsewhere
_LARGEST_ROW_BYTES = 16 * 1024
_NO_ROW = (LookupError, struct.error, ValueError, TypeError, OverflowError)
# the header of a row's record, by kinds of value: its length, no n, kind, state, 8 letters of boot, seq, happened_ns,
# offset_s, synced, lived_ns, body; section 2.1
_HEADER = re.compile(
    rb"[\x0c-\x10](?=\x00[\x08\x09][\x01\x08\x09]\x1d[\x01-\x06\x08\x09][\x00-\x09][\x01-\x07][\x08\x09][\x00-\x09])", re.S
)
_INTEGER_BYTES = (0, 1, 2, 3, 4, 6, 8)

Pages = dict[int, bytes]


def read_log(path: Path) -> bytes:
    """The write-ahead log of the database at `path`, before SQLite opens it: that may cut or delete it."""
    return _read(path.with_name(path.name + "-wal"))


def salvage(path: Path, log: bytes) -> dict[int, Row]:
    """Rows by n of the database at `path` and its log. Raises OSError when not even the bytes can be read."""
    raw = _read(path)
    pages, later = _pages_of(raw), _pages_of_log(log)
    newest = pages | dict(later)
    rows = {row.n: row for row in (*_rows_anywhere(raw), *_rows_anywhere(log))}
    rows.update((row.n, row) for number, page in [*pages.items(), *later] for row in _rows_of(page, number, newest))
    return rows


def logged(log: bytes) -> dict[int, Row]:
    """Rows of the log only: SQLite ends reading it at the first torn page, and then overwrites the rest."""
    later = _pages_of_log(log)
    newest = dict(later)
    rows = {row.n: row for row in _rows_anywhere(log)}
    rows.update((row.n, row) for number, page in later for row in _rows_of(page, number, newest))
    return rows


def to_sessions(rows: dict[int, Row]) -> dict[str, Session]:
    """What the rows themselves tell about their sessions: enough for their times, as they were known when stored."""
    return {row.boot: Session(row.boot, "", row.offset_s, row.synced) for row in rows.values()}


def _pages_of(raw: bytes) -> Pages:
    return {i // PAGE_BYTES + 1: raw[i : i + PAGE_BYTES] for i in range(0, len(raw), PAGE_BYTES)}


def _pages_of_log(raw: bytes) -> list[tuple[int, bytes]]:
    """Page number and page of each frame of the log's present round, in order; damaged ones too."""
    step = _FRAME_HEADER_BYTES + PAGE_BYTES
    frames = [
        (*struct.unpack_from(">I", raw, at), raw[at + 8 : at + 16], raw[at + _FRAME_HEADER_BYTES : at + step])
        for at in range(_WAL_HEADER_BYTES, len(raw) - _FRAME_HEADER_BYTES, step)
    ]
    salt = raw[16:24]
    of_now = [i for i, (_, its, _page) in enumerate(frames) if its == salt]
    if not of_now:  # the header itself is damaged: take the salt of the first frame
        salt = frames[0][1] if frames else b""
        of_now = [i for i, (_, its, _page) in enumerate(frames) if its == salt]
    last = of_now[-1] if of_now else -1
    return [(number, page) for number, _salt, page in frames[: last + 1]]


def _read(path: Path) -> bytes:
    """The file's bytes; none of what is no regular file, and of a sparse one no more than is really there."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return b""
    found = os.fstat(handle)
    if not stat.S_ISREG(found.st_mode):
        os.close(handle)
        return b""
    with os.fdopen(handle, "rb") as file:
        return file.read(min(_LARGEST_FILE_BYTES, found.st_size, found.st_blocks * 512 + _SLACK_BYTES))


def _rows_anywhere(raw: bytes) -> Iterator[Row]:
    """Rows that lie in one piece, found by the shape of their header: also where bytes before them were lost or added."""
    for found in _HEADER.finditer(raw):
        for n_at in range(found.start() - 1, max(0, found.start() - 9) - 1, -1):
            try:
                n, end = _varint(raw, n_at)
                if end != found.start():
                    continue
                row = _to_checked_row(n, raw[end : end + _LARGEST_ROW_BYTES])
            except _NO_ROW:
                continue
            if row is not None:
                yield row
                break


def _rows_of(page: bytes, number: int, pages: Pages) -> Iterator[Row]:
    head = 100 if number == 1 else 0
    if len(page) < head + 8 or page[head] != _LEAF:
        return
    (cells,) = struct.unpack_from(">H", page, head + 3)
    for i in range(cells):
        at = head + 8 + 2 * i
        if at + 2 > len(page):
            return
        try:
            row = _row_at(page, struct.unpack_from(">H", page, at)[0], pages)
        except _NO_ROW:
            continue  # no row, or no longer one
        if row is not None:
            yield row


def _row_at(page: bytes, at: int, pages: Pages) -> Row | None:
    size, at = _varint(page, at)
    n, at = _varint(page, at)
    if not 0 < size < 1 << 24:
        return None
    return _to_checked_row(n, _payload(page, at, size, pages))


def _to_checked_row(n: int, record: bytes) -> Row | None:
    values = list(_values(record))
    if len(values) != _FIELDS or values[0] is not None:
        return None
    fields = (n, *values[1:])
    row = to_row(fields)
    if row.checksum() != fields[-1]:
        return None
    return row if row.state in (WAITING, DELIVERED, DEAD) else row.with_state(WAITING)


def _payload(page: bytes, at: int, size: int, pages: Pages) -> bytes:
    """A record, with what of it lies on overflow pages; 1.5 of the format: how much that is."""
    usable = PAGE_BYTES
    largest, smallest = usable - 35, (usable - 12) * 32 // 255 - 23
    if size <= largest:
        return page[at : at + size]
    here = smallest + (size - smallest) % (usable - 4)
    here = here if here <= largest else smallest
    record = page[at : at + here]
    (following,) = struct.unpack_from(">I", page, at + here)
    while following and len(record) < size:
        overflow = pages[following]
        record += overflow[4:][: size - len(record)]
        (following,) = struct.unpack_from(">I", overflow)
    return record


def _values(record: bytes) -> Iterator[Any]:
    header_bytes, at = _varint(record, 0)
    data = header_bytes
    while at < header_bytes:
        kind, at = _varint(record, at)
        if kind == 0:
            yield None
        elif kind <= 6:
            width = _INTEGER_BYTES[kind]
            yield int.from_bytes(record[data : data + width], "big", signed=True)
            data += width
        elif kind == 7:
            yield struct.unpack_from(">d", record, data)[0]
            data += 8
        elif kind in (8, 9):
            yield kind - 8
        elif kind >= 13 and kind % 2:
            width = (kind - 13) // 2
            yield record[data : data + width].decode()
            data += width
        else:
            raise ValueError("no kind of value that a row has")


def _varint(raw: bytes, at: int) -> tuple[int, int]:
    """A number of 1 to 9 bytes, and where it ends."""
    value = 0
    for i in range(8):
        byte = raw[at + i]
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, at + i + 1
    return value << 8 | raw[at + 8], at + 9
