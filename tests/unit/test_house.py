"""The documents say what the folders say: rooms, files, and the rows of the import contract."""

import ast
import configparser
import re
import runpy
from pathlib import Path

import pytest

import edged

TOP = Path(__file__).parents[2]
PACKAGE = Path(edged.__file__).parent
MOST_LINES, MOST_FILES, MOST_ROOMS = 300, 14, 14
ONE_FILE_EACH = {"commands", "doctor"}  # a verb, a place

ROOMS = sorted(path.parent.relative_to(PACKAGE) for path in PACKAGE.rglob("__init__.py") if path.parent != PACKAGE)
FILES = sorted(path for path in PACKAGE.rglob("*.py") if path.name != "__init__.py")


def children(room: Path) -> list[str]:
    return sorted(path.name for path in room.iterdir() if path.suffix == ".py" and not path.name.startswith("__"))


def test_the_document_names_every_room_and_no_other() -> None:
    table = (TOP / "docs/architecture.md").read_text().split("## Rooms")[1].split("## ")[0]
    named = re.findall(r"^\| `([a-z/_]+?)/?(?:\.py)?` \|", table, flags=re.MULTILINE)
    top_files = [name.removesuffix(".py") for name in children(PACKAGE)]
    assert sorted(named) == sorted([*map(str, ROOMS), *top_files])


def test_the_list_of_files_is_the_one_of_today() -> None:
    script = runpy.run_path(str(TOP / "docs/write_rooms.py"))
    assert (TOP / "docs/rooms.md").read_text() == script["to_page"](PACKAGE), "run 'make docs'"


def test_every_file_that_the_document_names_is_there() -> None:
    text = (TOP / "docs/architecture.md").read_text() + (TOP / "CONTRIBUTING.md").read_text()
    named = set(re.findall(r"`((?:[a-z_]+/)+[a-z_0-9]+\.py)`", text))
    assert named
    assert [name for name in sorted(named) if not any((where / name).is_file() for where in (PACKAGE, PACKAGE.parent, TOP))] == []


@pytest.mark.parametrize("room", [Path(), *ROOMS], ids=str)
def test_no_room_is_crowded(room: Path) -> None:
    if str(room) in ONE_FILE_EACH:
        return
    rooms_inside = [one for one in ROOMS if one.parent == room]
    most = MOST_ROOMS if room == Path() else MOST_FILES
    assert len(children(PACKAGE / room)) + (len(rooms_inside) if room == Path() else 0) <= most


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_file_is_long_and_each_says_what_it_is(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) <= MOST_LINES, "split it by noun"
    assert ast.get_docstring(ast.parse(text)), "the first line says what it is for"
    assert path.stem not in {"utils", "helpers", "common", "base", "manager"}


def test_the_contract_is_exhaustive() -> None:
    contract = configparser.ConfigParser()
    contract.read(TOP / ".importlinter")
    rooms = contract["importlinter:contract:rooms"]
    assert rooms["exhaustive"] == "True"
    listed = {name.strip() for row in rooms["layers"].split("\n") for name in row.split("|") if name.strip()}
    assert listed == {
        "__main__",
        *(name.removesuffix(".py") for name in children(PACKAGE)),
        *(str(r) for r in ROOMS if r.parent == Path()),
    }
