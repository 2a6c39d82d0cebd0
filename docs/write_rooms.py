"""docs/rooms.md from the first sentence of every module."""

import ast
from pathlib import Path

TOP = Path(__file__).resolve().parents[1]
FILE = Path(__file__).parent / "rooms.md"
_HEAD = """# Every file, by room

Written by `make docs` from the files themselves. The rooms are drawn in [architecture.md](architecture.md).
"""


def first_sentence(path: Path) -> str:
    """The first sentence of a module's docstring, on one line."""
    said = " ".join((ast.get_docstring(ast.parse(path.read_text())) or "").split("\n\n")[0].split())
    return said.replace("|", "\\|")


def to_page(package: Path) -> str:
    """The whole document."""
    rooms: dict[str, list[tuple[str, str]]] = {}
    for path in sorted(package.rglob("*.py")):
        if path.name != "__init__.py":
            name = path.relative_to(package.parent)
            rooms.setdefault(f"{name.parent}/", []).append((path.name, first_sentence(path)))
    tables = (
        f"\n## {room}\n| file | what |\n|---|---|\n" + "".join(f"| `{name}` | {said} |\n" for name, said in files)
        for room, files in sorted(rooms.items())
    )
    return _HEAD + "".join(tables)


if __name__ == "__main__":
    FILE.write_text(to_page(TOP / "edged"))
