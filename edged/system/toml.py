"""TOML of strangers: a key that would make the parser take gigabytes is seen before it parses, and what is too deep before
anybody walks through it by calling himself.
"""

import re
import tomllib
from typing import Any

DEEPEST = 16  # tables and arrays inside of one another; the deepest key that there is has five parts
MOST_KEYS = 2000

# strings and comments, so that what is left is the structure
_TEXTS = re.compile(r'"""(?:[^\\]|\\.)*?(?:"""|\Z)|\'\'\'.*?(?:\'\'\'|\Z)|"(?:[^"\\\n]|\\.)*"?|\'[^\'\n]*\'?|#[^\n]*', re.DOTALL)
_LONG_KEY = re.compile(rf"(?<![A-Za-z0-9_\-])(?:[A-Za-z0-9_\-]+[ \t]*\.[ \t]*){{{DEEPEST}}}")


def line_of_long_key(text: str) -> int:
    """The line of the first key with more than `DEEPEST` parts; 0 for none. tomllib remembers every beginning of a key. Pure."""
    found = _LONG_KEY.search(_TEXTS.sub('""', text).replace('""', "x"))
    return text.count("\n", 0, max(0, text.find(found[0][:40]))) + 1 if found else 0


def to_excess(values: dict[str, Any], most_keys: int = MOST_KEYS) -> str:
    """Why it is too much, found without a call inside of a call; "" when it is not. Pure."""
    keys = 0
    waiting: list[tuple[Any, int]] = [(values, 0)]
    while waiting:
        one, depth = waiting.pop()
        if depth > DEEPEST:
            return f"tables or arrays lie in one another more than {DEEPEST} deep: nothing of edged does"
        keys += len(one) if isinstance(one, dict) else 0
        if keys > most_keys:
            return f"has more than {most_keys} keys"
        inner = one.values() if isinstance(one, dict) else one
        waiting += [(value, depth + 1) for value in inner if isinstance(value, dict | list)]
    return ""


def load_toml(text: str, most_keys: int = MOST_KEYS) -> dict[str, Any]:
    """The values of a text of bounded length. Raises ValueError, for what is no TOML and for what is too much of it."""
    if line := line_of_long_key(text):
        raise ValueError(f"a key of more than {DEEPEST} parts (at line {line})")
    try:
        values = tomllib.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if why := to_excess(values, most_keys):
        raise ValueError(why)
    return values
