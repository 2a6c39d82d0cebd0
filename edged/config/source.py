"""A TOML file and the lines of its keys.

tomllib gives values and no positions. So each statement (one header, or one `key = value`, over as many lines as it needs) is
also parsed alone, by the same tomllib: what appears is what that line brings. The two can't disagree about the grammar.
"""

import re
import stat
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edged.errors import ConfigError
from edged.system.text import escaped

LONGEST = 64 * 1024  # bytes; a config is a page or two, and the parser is not to be fed a disk image
TALLEST = 400  # lines of one statement; it is parsed anew with each of its lines

Keys = tuple[str, ...]


@dataclass(frozen=True)
class Source:
    """What a config file says: `values` as tomllib gives them, `lines` from 1 for every key and table that stands in it.

    data: the file's bytes.
    """

    file: str = ""
    values: dict[str, Any] = field(default_factory=dict)
    lines: dict[Keys, int] = field(default_factory=dict)
    data: bytes = b""


def load_source(path: Path) -> Source:
    """Read and parse a config file. Raises ConfigError for whatever is no readable TOML."""
    try:
        return _load(path)
    except ConfigError as error:
        raise ConfigError([escaped(fault) for fault in error.faults]) from None


def parse_source(path: Path, data: bytes) -> Source:
    """As load_source, of bytes that were at `path` once."""
    try:
        return _parse(path, _decode(path, data))
    except ConfigError as error:
        raise ConfigError([escaped(fault) for fault in error.faults]) from None


def _load(path: Path) -> Source:
    return _parse(path, _decode(path, _read(path)))


def _parse(path: Path, text: str) -> Source:
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError([_to_fault(path, text, str(error))]) from None
    except (ValueError, RecursionError) as error:
        # tomllib passes on what Python says of a number of 5,000 digits, and runs out of stack in 1,000 brackets
        said = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise ConfigError([f"{path}:{_unfinished(text, 1)}: not TOML: {said}"]) from None
    return Source(str(path), values, find_lines(text), text.encode())


def salvage(path: Path, key: str) -> Any:
    """The value of a top-level key of a file that as a whole is no TOML; None when it can't be found before what is broken."""
    try:
        text = _decode(path, _read(path))
    except ConfigError:
        return None
    for _, statement, brought in _statements(text):
        if brought is None or statement.lstrip(" \t").startswith("["):
            return None
        if key in brought:
            return brought[key]
    return None


def find_lines(text: str) -> dict[Keys, int]:
    """Key path → line, of valid TOML. Of an array of tables the first table counts."""
    lines: dict[Keys, int] = {}
    table: Keys = ()
    for line, statement, brought in _statements(text):
        if brought is None:
            break  # a statement too tall to follow: what comes after it has no line, which is better than a wrong one
        paths = list(_paths(brought))
        if statement.lstrip(" \t").startswith("["):
            table = max(paths, key=len)
        else:
            paths = [table + path for path in paths]
        for path in paths:
            lines.setdefault(path, line)
    return lines


def _read(path: Path) -> bytes:
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # a pipe or a device would be read for ever
            raise ConfigError([f"{path}: is not a file: name a TOML file"])
        with path.open("rb") as file:
            data = file.read(LONGEST + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise ConfigError([f"{path}: cannot be read: {reason}"]) from None
    if len(data) > LONGEST:
        raise ConfigError([f"{path}: is longer than {LONGEST // 1024} KiB: that is no config file"])
    return data


def _decode(path: Path, data: bytes) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigError([f"{path}:{line}: not UTF-8: byte 0x{data[error.start]:02x}; save the file as UTF-8"]) from None


def _statements(text: str) -> Iterator[tuple[int, str, dict[str, Any] | None]]:
    """(line, text, parsed alone) of each statement; None for what never becomes TOML, which is the last one then."""
    start, whole = 0, ""
    for line, part in enumerate(text.split("\n"), start=1):
        if not whole and (not part.strip() or part.lstrip(" \t").startswith("#")):
            continue
        start, whole = (start, f"{whole}\n{part}") if whole else (line, part)
        try:
            brought = tomllib.loads(whole)
        except (ValueError, RecursionError):
            if line - start < TALLEST:
                continue  # it goes on in the next line
            break
        yield start, whole, brought
        whole = ""
    if whole:
        yield start, whole, None


def _unfinished(text: str, otherwise: int) -> int:
    """The line where the statement begins that never becomes TOML by itself."""
    return next((start for start, _, brought in _statements(text) if brought is None), otherwise)


def _paths(brought: dict[str, Any], above: Keys = ()) -> Iterator[Keys]:
    for key, value in brought.items():
        yield (*above, key)
        inner = value[0] if isinstance(value, list) and value and isinstance(value[0], dict) else value
        if isinstance(inner, dict):
            yield from _paths(inner, (*above, key))


def _to_fault(path: Path, text: str, said: str) -> str:
    """tomllib says where it noticed; an unclosed bracket is to be mended where it was opened."""
    found = re.search(r" \(at (?:line (\d+), column (\d+)|end of document)\)$", said)
    if found is None:
        return f"{path}: not TOML: {said}"
    what = said[: found.start()]
    noticed = int(found[1]) if found[1] else text.rstrip().count("\n") + 1
    opened = _unfinished(text, noticed)
    if opened < noticed:
        return f"{path}:{opened}: not TOML: {what}; it begins here and was noticed in line {noticed}"
    column = f", column {found[2]}" if found[2] else ""
    return f"{path}:{noticed}: not TOML: {what}{column}"
