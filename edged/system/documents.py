"""TOML and JSON of strangers: a key that would make the parser take gigabytes is seen before it parses, and what is too deep
before anybody walks through it by calling himself.
"""

import json
import re
import tomllib
from pathlib import Path
from typing import Any

from edged.errors import ReadError
from edged.system.files import SMALL_BYTES, read_file

DEEPEST = 16  # tables and arrays inside of one another; the deepest key that there is has five parts
DEEPEST_JSON = 32  # what edged writes has six
MOST_KEYS = 2000

# strings and comments, so that what is left is the structure
_TEXTS = re.compile(r'"""(?:[^\\]|\\.)*?(?:"""|\Z)|\'\'\'.*?(?:\'\'\'|\Z)|"(?:[^"\\\n]|\\.)*"?|\'[^\'\n]*\'?|#[^\n]*', re.DOTALL)
_QUOTE = ord('"')
_TOKENS = re.compile(rb'\\.|["\[\]{}]', re.DOTALL)
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


def read_json(path: Path, most_bytes: int = SMALL_BYTES) -> Any:
    """What a JSON file of ours says; no link is followed to it. Raises ReadError, also where it is nested too deeply."""
    content = read_file(path, most_bytes, follow=False)
    if to_depth(content) > DEEPEST_JSON:
        raise ReadError(path, "is nested too deeply")
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ReadError(path, f"is no JSON: {str(error)[:100]}") from None


def to_depth(content: bytes) -> int:
    """How deep brackets outside of strings are nested. Pure."""
    depth = deepest = 0
    is_text = False
    for found in _TOKENS.finditer(content):  # one at a time: a list of them, or a pattern of whole strings, takes 40 times the file
        at = content[found.start()]
        if at == _QUOTE:
            is_text = not is_text
        elif not is_text and at in b"[{":
            depth += 1
            deepest = max(deepest, depth)
        elif not is_text and at in b"]}":
            depth -= 1
    return deepest
