"""What is wrong with a key, in the operator's words."""

import functools
import json
import typing
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date, time
from typing import Any

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from edged.config.source import Keys
from edged.system.text import did_you_mean, shown_address, shown_host, without_secrets

_PATTERNS = {
    "device": "must be of a-z, 0-9, _ and - only",
    "prefix": "must be a topic without +, #, spaces, and without / or $ at its begin",
    "discovery_prefix": "must be a topic without +, #, spaces, and without / or $ at its begin",
    "from": 'must be a time of day like "22:00"',
    "until": 'must be a time of day like "06:30"',
}


@dataclass(frozen=True)
class Fault:
    """`keys` is where the file is to be mended, `what` says what is wrong there."""

    keys: Keys
    what: str


def to_fault(error: ErrorDetails, schema: type[BaseModel], *, suggest: bool = True) -> Fault:
    """One finding of the validation in our words: what the key must be, and what it is. suggest: also what may be meant."""
    where = tuple(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        return Fault(where, _unknown(where, error["input"], schema if suggest else None))
    keys = to_key(error["loc"])
    if error["type"] in ("missing", "too_long"):  # no key is obligatory: this is an array of fixed length
        return Fault(keys, "must have 4 numbers: x, y, width, height")
    return Fault(keys, _item(error["loc"]) + _sentence(error, keys))


def to_key(loc: Iterable[int | str]) -> Keys:
    """The key that stands in the file: an item of an array belongs to the key of the array."""
    keys: list[str] = []
    for part in loc:
        if isinstance(part, int):
            break
        keys.append(part)
    return tuple(keys)


def tables(schema: type[BaseModel], above: Keys = ()) -> dict[Keys, type[BaseModel]]:
    """Every table of the config and its schema; the name of a profile is "*"."""
    found = {above: schema}
    for name, field in schema.model_fields.items():
        key = field.alias or name
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            found |= tables(inner, (*above, key))
        elif typing.get_origin(inner) is dict and isinstance(typing.get_args(inner)[1], type):
            found |= tables(typing.get_args(inner)[1], (*above, key, "*"))
    return found


@functools.cache
def _tables(schema: type[BaseModel]) -> dict[Keys, type[BaseModel]]:
    return tables(schema)


def known_keys(schema: type[BaseModel]) -> list[str]:
    return [field.alias or name for name, field in schema.model_fields.items()]


def _unknown(where: Keys, value: Any, schema: type[BaseModel] | None) -> str:
    name, kind = where[-1], "table" if isinstance(value, dict) else "key"
    if schema is None:
        return f"unknown {kind}"
    everywhere = _tables(schema)
    above = where[:-1]
    if above[:1] == ("profile",):
        above = ("profile", "*", *above[2:])
    siblings = known_keys(everywhere[above]) if above in everywhere else []
    near = did_you_mean(name, siblings)
    if not near:
        # the right name in the wrong place: the commonest slip of all
        places = [(*keys, name) for keys, table in everywhere.items() if name in known_keys(table) and "*" not in keys]
        near = f" (did you mean {'.'.join(places[0])}?)" if places else ""
    return f"unknown {kind}{near}"


def _item(loc: tuple[int | str, ...]) -> str:
    number = next((part for part in loc if isinstance(part, int)), None)
    return "" if number is None else f"item {number + 1} "


def _sentence(error: ErrorDetails, keys: Keys) -> str:
    kind, ctx, given = error["type"], error.get("ctx", {}), error["input"]
    shown = _show_address(given) if keys == ("camera", "source") else _show_host(given) if keys[1:] == ("host",) else show(given)
    if kind in ("string_pattern_mismatch", "value_error", "literal_error", "enum"):
        if kind == "value_error":
            return str(ctx["error"]) if isinstance(given, dict) else f"{ctx['error']}, not {shown}"
        if kind == "literal_error":
            choices = str(ctx["expected"]).replace("'", "").replace(" or ", ", ").split(", ")
            near = did_you_mean(given, choices) if isinstance(given, str) else ""
            return f"must be one of {', '.join(choices)}, not {shown}{near}"
        return f"{_PATTERNS.get(keys[-1], 'has characters that cannot be used')}, not {shown}"
    wanted: dict[str, Callable[[], str]] = {
        "greater_than": lambda: f"must be more than {_number(ctx['gt'])}",
        "greater_than_equal": lambda: f"must be at least {_number(ctx['ge'])}",
        "less_than": lambda: f"must be less than {_number(ctx['lt'])}",
        "less_than_equal": lambda: f"must be at most {_number(ctx['le'])}",
        "finite_number": lambda: "must be a finite number",
        "string_type": lambda: "must be text in quotes",
        "path_type": lambda: "must be text in quotes",
        "string_too_short": lambda: "must not be empty",
        "string_too_long": lambda: f"must have at most {ctx['max_length']} characters",
        "int_type": lambda: "must be a whole number",
        "float_type": lambda: "must be a number",
        "bool_type": lambda: "must be true or false",
        "tuple_type": lambda: "must be an array in [ ]",
        "dict_type": lambda: "must be a table",
        "model_type": lambda: "must be a table",
        "model_attributes_type": lambda: "must be a table",
    }
    return f"{wanted[kind]()}, not {shown}" if kind in wanted else f"cannot be {shown}"


def _number(limit: Any) -> str:
    return f"{limit:g}" if isinstance(limit, float) and abs(limit) < 1e6 else str(limit)


def _show_address(given: Any) -> str:
    """A secret may stand anywhere in it."""
    return show(shown_address(given)) if isinstance(given, str) else "an array" if isinstance(given, list) else show(given)


def _show_host(given: Any) -> str:
    return show(shown_host(given)) if isinstance(given, str) else "an array" if isinstance(given, list) else show(given)


def show(value: Any) -> str:
    """A value as it stands in TOML, shortened."""
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, list | tuple):
        return "an array" if len(str(value)) > 40 else f"[{', '.join(show(item) for item in value)}]"
    if isinstance(value, date | time):
        return f"the date or time {value}"
    if isinstance(value, float | int) and not isinstance(value, bool):
        try:
            text = str(value)
        except ValueError:  # Python refuses to print an integer of more than 4,300 digits
            return "a number too long to print"
    else:
        text = json.dumps(without_secrets(value) if isinstance(value, str) else value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else f"{text[:57]}…"
