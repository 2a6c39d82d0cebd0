"""What may be shown to people of what strangers wrote: file names, messages, addresses. Pure."""

import difflib
import re
from collections.abc import Callable, Iterable


def printable(text: str, replace: Callable[[str], str] = lambda _character: "?") -> str:
    """The text with each character that can't be printed as `replace` gives it: a terminal obeys much of what it is sent."""
    return "".join(c if c.isprintable() else replace(c) for c in text)


def escaped(text: str) -> str:
    r"""One line, with `\n`, `\x1b`, `\u202e` for what can't be printed."""
    return printable(text, lambda c: c.encode("unicode_escape").decode())


def without_password(source: str) -> str:
    """A camera's address as it may be shown: cameras want name and password in it."""
    return re.sub(r"(^|//)[^/@]*@", r"\1", source)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """` (did you mean x?)` with the nearest of `known`, capitals aside, or nothing when nothing is near."""
    spelt = {one.lower(): one for one in known}
    found = difflib.get_close_matches(name.lower(), spelt, n=1)
    return f" (did you mean {spelt[found[0]]}?)" if found else ""
