"""docs/config.md says what the code does: its tables come from the settings. EDGED_WRITE_DOCS=1 writes them anew."""

import os
import re
import typing
from pathlib import Path

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from edged.commands.check import to_toml
from edged.config.settings import Settings

DOC = Path(__file__).parents[3] / "docs" / "config.md"
_LIMITS = {"gt": ">", "ge": "≥", "lt": "<", "le": "≤"}


def to_range(field: FieldInfo) -> str:
    choices = typing.get_args(field.annotation) if typing.get_origin(field.annotation) is typing.Literal else ()
    if choices:
        return ", ".join(to_toml(choice) for choice in choices)
    metadata = [*field.metadata, *(one for arg in typing.get_args(field.annotation) for one in getattr(arg, "__metadata__", ()))]
    metadata = [inner for one in metadata for inner in (getattr(one, "metadata", None) or [one])]
    return " ".join(f"{sign} {getattr(one, name):g}" for one in metadata for name, sign in _LIMITS.items() if hasattr(one, name))


def to_rows(section: type[BaseModel]) -> list[str]:
    rows = []
    for name, field in section.model_fields.items():
        default = field.get_default(call_default_factory=True)
        if not isinstance(default, BaseModel) and name != "profile":
            unset = (field.json_schema_extra or {}).get("unset", "no limit")
            shown = {"device": "the host name"}.get(name, unset if default is None else f"`{to_toml(default)}`")
            rows.append(f"| `{name}` | {shown} | {to_range(field)} | {field.description} |")
    return rows


def expected() -> str:
    head = "| key | default | range | what |\n|---|---|---|---|\n"
    parts = ["## Top level\n\n" + head + "\n".join(to_rows(Settings))]
    for name, field in Settings.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            parts.append(f"## [{name}]\n\n{head}" + "\n".join(to_rows(field.annotation)))
    return "\n\n".join(parts) + "\n"


def test_the_tables_are_those_of_the_code() -> None:
    text = DOC.read_text()
    start, end = (text.index(mark) for mark in ("<!-- tables -->\n", "<!-- end of tables -->\n"))
    start += len("<!-- tables -->\n")
    if os.environ.get("EDGED_WRITE_DOCS"):
        DOC.write_text(text[:start] + expected() + text[end:])
        return
    assert text[start:end] == expected()


def test_every_key_is_described() -> None:
    assert not re.findall(r"\| None \|", expected())
