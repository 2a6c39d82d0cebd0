"""What may be shown to people of what strangers wrote, file names, messages, addresses; and what may be a host. Pure."""

import json
import logging
import re
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import unquote

LONGEST_SENTENCE = 2000  # of what one process may tell another
_LONGEST = 200  # of an address
_LONGEST_NAME = 80
_DEEPEST = 32


def printable(text: str, replace: Callable[[str], str] = lambda _character: "?") -> str:
    """The text with each character that can't be printed as `replace` gives it: a terminal obeys much of what it is sent."""
    return text if text.isprintable() else "".join(c if c.isprintable() else replace(c) for c in text)


def escaped(text: str) -> str:
    r"""One line, with `\n`, `\x1b`, `\u202e` for what can't be printed."""
    return printable(text, lambda c: c.encode("unicode_escape").decode())


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """` (did you mean x?)` with the nearest of `known`, capitals aside, or nothing when nothing is near."""
    if len(name) > _LONGEST_NAME:  # to compare takes long, and no name of ours is so long
        return ""
    spelt = {one.lower(): one for one in known}
    import difflib  # only where somebody mistyped: it is no small module

    found = difflib.get_close_matches(name.lower(), spelt, n=1)
    return f" (did you mean {spelt[found[0]]}?)" if found else ""


def to_sentence(text: str) -> str:
    """A library's words as one line of bounded length, without secrets of addresses: half of one could not be told any more."""
    return printable(without_secrets(" ".join(text.split())))[:LONGEST_SENTENCE]


def counted(number: int, noun: str) -> str:
    """`1 key`, `2 keys`: for nouns whose plural ends with an s."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def to_duration(seconds: float) -> str:
    """For people: `5 s`, `3 min`, `2 h 10 min`, `4 days 3 h`."""
    whole = max(0, round(seconds))
    minutes, hours, days = whole // 60, whole // 3600, whole // 86400
    if whole < 120:
        return f"{whole} s"
    if hours < 2:
        return f"{minutes} min"
    if days < 2:
        return f"{hours} h {minutes % 60} min"
    return f"{days} days {hours % 24} h"


def printable_lines(text: str) -> str:
    """As `printable`, of a text of several lines."""
    return "\n".join(printable(line) for line in text.split("\n"))


def to_json(value: Any) -> str:
    """One line of JSON. JSON itself escapes only what is below a space; a terminal obeys others too."""
    line = json.dumps(value, ensure_ascii=False)
    return printable(line, lambda c: f"\\u{ord(c):04x}" if ord(c) <= 0xFFFF else json.dumps(c)[1:-1])


def printable_all(value: Any, depth: int = 0) -> Any:
    """A value of JSON with every text in it made printable; what lies too deep is left out."""
    if isinstance(value, str):
        return printable_lines(value)
    if isinstance(value, list):
        return [printable_all(one, depth + 1) for one in value] if depth < _DEEPEST else []
    if isinstance(value, dict):
        return {printable(key): printable_all(one, depth + 1) for key, one in value.items()} if depth < _DEEPEST else {}
    return value


class PrintableFormatter(logging.Formatter):
    """A log line stays one line, no terminal obeys it, and no address in it has a secret. A bug's traceback keeps its lines."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  # logging's name
        return super().formatMessage(record).replace("\n", "; ")

    def format(self, record: logging.LogRecord) -> str:
        return printable_lines(without_secrets(super().format(record)))


def shown_address(source: str) -> str:
    """What may be shown of a camera's address: scheme, host, port and path; no user, no password, no query.

    Cameras want secrets in every part of it, so what can't be taken apart for sure is not shown at all. What is no address, a
    number, a device, a path or an id, is shown as it is.
    """
    return _show(source)[0]


def is_understood(source: str) -> bool:
    """Whether an address can be taken apart for sure: its host, its port and its path are what they seem to be."""
    return _show(source)[1]


def _show(source: str) -> tuple[str, bool]:
    """What may be shown, and whether that is all but the user and what stands after a mark in the path."""
    scheme, mark, rest = source.partition("://")
    if not mark:
        # a path may hold much, but "user:secret@host" and "?key=word" make an address that lacks its scheme
        is_path = source.startswith("/") and not re.search(r"^//|:.*@|[?&#;].*|:/.*[=@]", source, re.DOTALL)
        is_no_address = is_path or not re.search(r"[@?&=;#%:\\]", source)
        return (printable(source)[:_LONGEST] if is_no_address else "an address"), is_no_address
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]{0,20}", scheme):
        return "an address", False
    place, _, path = rest.partition("/")
    odd = re.search(r"[?#;\\\\]", place)
    host = place[: odd.start()] if odd else place.rpartition("@")[2]
    path = "" if odd else path
    is_sure = "@" not in (rest if odd else path) and re.fullmatch(r"(?:[A-Za-z0-9._-]*|\[[0-9A-Fa-f:.]*\])(?::\d{0,5})?", host)
    if not is_sure:
        return f"{scheme}://…", False
    # some cameras take user=NAME&password=WORD without a question mark before it
    cut = re.split(r"[?#;&=]", path, maxsplit=1)[0]
    plain = unquote(unquote(cut))
    is_plain = plain == cut or not re.search(r"[?#;&=@%]", plain)
    shown = f"{scheme}://{host}{'/' if '/' in rest else ''}{cut if is_plain else '…'}"
    return printable(shown)[:_LONGEST], is_plain


def without_secrets(text: str) -> str:
    """A text with every address in it as it may be shown."""
    if "://" in text:
        text = re.sub(r"[A-Za-z][A-Za-z0-9+.-]{0,20}://\S*", _shown, text)
    return re.sub(r"\S+", _without_login, text) if "@" in text else text


def _without_login(found: re.Match[str]) -> str:
    """A word, where `user:secret@host` in it, which lacks its scheme, is `…@host`. JSON's own colons stand behind a quotation."""
    word = found[0]
    login, mark, host = word.rpartition("@")
    colon = re.search(r"(?<=[^\s\"'\])}]):", login) if mark else None
    if colon is None:
        return word
    begins = max(login.rfind(one, 0, colon.start()) for one in "\"'([{<=")
    return f"{word[: begins + 1]}…@{host}"


def shown_host(text: str) -> str:
    """What may be shown of what stands where a host's name belongs: no user and no password, which some write before it."""
    return "…" if "@" in text else printable(text)


def to_host(text: str, port: str, login: str = "") -> str:
    """The host as systems take it, an IPv6 address without brackets. port, login: where these go, which are no part of it.

    Raises ValueError with what a host must be; of the text, which may hold a password, there is no word in it.
    """
    if "@" in text:
        raise ValueError(f"must be a name or an address, without @{f'; {login}' if login else ''}")
    if "://" in text:
        raise ValueError(f'must be a name or an address without "{text.split("://")[0]}://"')
    host = text[1:-1] if re.fullmatch(r"\[.*:.*\]", text) else text
    if is_address(host):
        return host
    if re.fullmatch(r"[^:]+(:\d+)+|\[.*\]:\d*", text):
        raise ValueError(f"must be a name or an address; the port goes into {port}")
    if re.search(r"[\s\x00-\x1f/]", text):
        raise ValueError("must be a name or an address, without spaces and slashes")
    if not _is_name(host) or re.fullmatch(r"[\d.]*\d", host, re.ASCII) or len(host) > 253:
        raise ValueError(
            "must be a name, of 1 to 63 letters, digits, - and _ between dots, or an address like 192.168.1.5 or fd00::5"
        )
    return host


def _is_name(host: str) -> bool:
    """As every connection takes it; the codec, whose tables are large, is loaded only for what it has to change."""
    if host.isascii():
        return re.fullmatch(r"(?=.)([\w-]{1,63}\.)*[\w-]{0,63}", host, re.ASCII) is not None
    try:
        return re.fullmatch(rb"[A-Za-z0-9_.-]+", host.encode("idna")) is not None
    except UnicodeError:
        return False


def is_address(host: str) -> bool:
    """Whether systems take it for an address, IPv4 also in its short forms like 127.1."""
    import ipaddress
    import socket

    try:
        return bool(socket.inet_aton(host)) if re.fullmatch(r"[\d.]+", host, re.ASCII) else bool(ipaddress.ip_address(host))
    except (OSError, ValueError):
        return False


def _shown(found: re.Match[str]) -> str:
    """What ends a sentence or a quotation is no part of an address; a quotation mark inside of one may be."""
    address = found[0].rstrip("\"'<>),;:.")
    return shown_address(address) + found[0][len(address) :] if "://" in address else found[0]
