"""One name, one meaning: a class of this name is in one place of the package, whether it is private, nested or a protocol."""

import ast
from collections import defaultdict
from pathlib import Path

import edged

PACKAGE = Path(edged.__file__).parent


def test_a_class_name_means_one_thing() -> None:
    found: dict[str, list[str]] = defaultdict(list)
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef):
                # what is private in one module may still be read beside what is public in another
                found[node.name.lstrip("_")].append(f"{path.relative_to(PACKAGE.parent)}:{node.lineno}")
    assert len(found) > 100, "the package was not found"
    assert {name: places for name, places in found.items() if len(places) > 1} == {}
