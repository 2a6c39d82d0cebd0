"""A TOML file and the lines of its keys.

tomllib gives values and no positions. So each statement (one header, or one `key = value`, over as many lines as it needs) is
also parsed alone, by the same tomllib: what appears is what that line brings. The two can't disagree about the grammar.
"""

import codecs
import contextlib
import errno
import grp
import pwd
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edged.errors import ConfigError, ReadError
from edged.system.documents import DEEPEST, line_of_long_key, to_excess
from edged.system.files import Stamp, read_file, to_stamp
from edged.system.text import escaped

LONGEST = 64 * 1024  # bytes; a config is a page or two, and the parser is not to be fed a disk image
TALLEST = 400  # lines of one statement; it is parsed anew with each of its lines
_MOST_PARSED = 16 * LONGEST  # bytes, for the lines of all statements together

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
    with faults_of(path):
        return _parse(path, _decode(path, _read(path)))


def load_stamp(path: Path) -> Stamp:
    """Another one once the file was written, replaced or taken away. Never raises."""
    try:
        return to_stamp(path.stat())
    except OSError:
        return (0,)


def check_readable(path: Path) -> None:
    """Raises ConfigError for a file that is not there or may not be read; what it says may have faults."""
    with faults_of(path):
        _read(path)


def parse_source(path: Path, data: bytes) -> Source:
    """As load_source, of bytes that were at `path` once."""
    with faults_of(path):
        return _parse(path, _decode(path, data))


@contextlib.contextmanager
def faults_of(path: Path) -> Iterator[None]:
    """Whatever goes wrong while a file is read and made sense of is a fault of the file, and never one of the daemon."""
    try:
        yield
    except ConfigError as error:
        raise ConfigError([escaped(fault) for fault in error.faults], error.lines) from None
    except ReadError as error:
        raise ConfigError([escaped(_sentence(path, error))]) from None
    except (OSError, ValueError, ArithmeticError, LookupError, TypeError, RecursionError, MemoryError) as error:
        raise ConfigError([escaped(f"{path}: cannot be understood: {type(error).__name__}: {str(error)[:200]}")]) from None


def _sentence(path: Path, error: ReadError) -> str:
    if error.kind == "too_large":
        return f"{path}: is longer than {LONGEST // 1024} KiB: that is no config file"
    if error.kind == "no_file":
        return f"{path}: is not a file: name a TOML file"
    if error.is_absent:
        return f"{path}: {error.why}: name another file with -c, or 'edged init -c FILE' writes one"
    who = f"; {_owner(path)} may read it" if error.number == errno.EACCES else ""
    return f"{path}: {error.why}{who}"


def _owner(path: Path) -> str:
    """Who may, for whom may not: `root and the group edged`."""
    try:
        found = path.stat()
    except OSError:
        return "another user"
    user, group = f"user {found.st_uid}", f"group {found.st_gid}"
    with contextlib.suppress(KeyError):
        user = pwd.getpwuid(found.st_uid).pw_name
    with contextlib.suppress(KeyError):
        group = f"the group {grp.getgrgid(found.st_gid).gr_name}"
    return f"{user} and {group}" if found.st_mode & 0o040 else f"only {user}"


def _parse(path: Path, text: str) -> Source:
    if line := line_of_long_key(text):
        raise ConfigError([f"{path}:{line}: a key of more than {DEEPEST} parts: no key of edged has so many"], [line])
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        sentence, line = _to_fault(path, text, str(error))
        raise ConfigError([sentence], [line]) from None
    except (ValueError, RecursionError) as error:
        # tomllib passes on what Python says of a number of 5,000 digits, and runs out of stack in 1,000 brackets
        said = "nested too deeply" if isinstance(error, RecursionError) else "a number of too many digits to be read"
        line = _unfinished(text, 1)
        raise ConfigError([f"{path}:{line}: not TOML: {said}"], [line]) from None
    if why := to_excess(values):
        raise ConfigError([f"{path}: {why}: that is no config file"])
    return Source(str(path), values, find_lines(text), text.encode())


def salvage(path: Path, key: str) -> Any:
    """The value of a top-level key of a file that as a whole is no TOML; None when it can't be found before what is broken."""
    try:
        with faults_of(path):
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
    return read_file(path, LONGEST)


def _decode(path: Path, data: bytes) -> str:
    if data.startswith(codecs.BOM_UTF8):
        raise ConfigError([f"{path}:1: begins with a byte order mark; save the file as UTF-8 without one"], [1])
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigError([f"{path}:{line}: not UTF-8: byte 0x{data[error.start]:02x}; save the file as UTF-8"], [line]) from None


def _statements(text: str) -> Iterator[tuple[int, str, dict[str, Any] | None]]:
    """(line, text, parsed alone) of each statement; None for what never becomes TOML, which is the last one then."""
    start, whole, parsed = 0, "", 0
    for line, part in enumerate(text.replace("\r\n", "\n").split("\n"), start=1):  # as tomllib does
        if not whole and (not part.strip() or part.lstrip(" \t").startswith("#")):
            continue
        start, whole = (start, f"{whole}\n{part}") if whole else (line, part)
        parsed += len(whole)
        if parsed > _MOST_PARSED or line_of_long_key(whole):
            break  # lines are a courtesy that may not take minutes
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


def _before(text: str, noticed: int) -> str:
    """Which key or table the statement at this line has in common with one above it, and where; "" for none."""
    lines: dict[Keys, int] = {}
    table: Keys = ()
    for line, statement, brought in _statements(text):
        if brought is None:
            break
        paths = list(_paths(brought))
        if statement.lstrip(" \t").startswith("["):
            table = max(paths, key=len)
        else:
            paths = [table + path for path in paths]
        if line + statement.count("\n") >= noticed:
            deepest = max(paths, key=len)
            there = next((deepest[:n] for n in range(len(deepest), 0, -1) if deepest[:n] in lines), None)
            return f"{'.'.join(there)[:100]} stands in line {lines[there]} already: take one of the two away" if there else ""
        lines |= dict.fromkeys(paths, line)
    return ""


def _to_fault(path: Path, text: str, said: str) -> tuple[str, int]:
    """(sentence, line). tomllib says where it noticed; an unclosed bracket is to be mended where it was opened."""
    found = re.search(r" \(at (?:line (\d+), column (\d+)|end of document)\)$", said)
    if found is None:
        return f"{path}: not TOML: {said}", 0
    what = said[: found.start()]
    noticed = int(found[1]) if found[1] else text.rstrip().count("\n") + 1
    opened = _unfinished(text, noticed)
    if opened < noticed:
        return f"{path}:{opened}: not TOML: {what}; it begins here and was noticed in line {noticed}", opened
    if what.startswith(("Cannot overwrite", "Cannot declare", "Cannot mutate")) and (before := _before(text, noticed)):
        return f"{path}:{noticed}: not TOML: {before}", noticed
    column = f", column {found[2]}" if found[2] else ""
    return f"{path}:{noticed}: not TOML: {what}{column}", noticed
