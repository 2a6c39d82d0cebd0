"""What is done about a fault is decided by its kind and its fields; sentences are for people, and no branch reads one."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import edged

PACKAGE = Path(edged.__file__).parent
# where an outside library says in words alone what went wrong
FOREIGN = {
    "config/source.py": "tomllib says where only in its sentence before Python 3.14",
    "doctor/libraries.py": "the dynamic linker's and numpy's reasons why a module does not load",
    "vision/cameras/pi.py": "libcamera's reasons, which picamera2 wraps",
}
_SENTENCES = {"reason", "why", "lost", "said", "sentence", "sentences", "degraded", "fault", "trouble", "error", "words", "note"}
_READS = {"startswith", "endswith", "removeprefix", "removesuffix", "replace", "partition", "rpartition", "find", "index", "count"}
_MATCHES = {"match", "search", "fullmatch"}


def is_sentence(node: ast.expr) -> bool:
    """Two words, or the end of what stands before a reason."""
    return any(
        isinstance(part, ast.Constant) and isinstance(part.value, str) and re.search(r"[a-z] [a-z]|: $", part.value)
        for part in ast.walk(node)
    )


def is_shown(node: ast.expr) -> bool:
    """An expression that holds what people are told: `str(error)`, `x.lower()`, or what is named like it."""
    if isinstance(node, ast.Call):
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        inner = node.func.value if isinstance(node.func, ast.Attribute) else node.args[0] if node.args else node
        return name in ("str", "repr", "lower", "casefold") and (name not in ("str", "repr") or is_error(inner) or is_shown(inner))
    return (node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")) in _SENTENCES


def is_error(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id in ("e", "error", "lost", "late", "code")


def branches(tree: ast.AST) -> Iterator[ast.expr]:
    """Every expression that reads a sentence."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare):
            is_search = any(isinstance(op, ast.In | ast.NotIn) for op in node.ops) and isinstance(
                node.left, ast.Constant | ast.JoinedStr | ast.Name
            )
            if (is_search and any(map(is_shown, node.comparators))) or any(map(is_literal, (node.left, *node.comparators))):
                yield node
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            is_read = node.func.attr in _READS and (is_shown(node.func.value) or any(map(is_sentence, node.args[:1])))
            if is_read or (node.func.attr in _MATCHES and any(map(is_shown, node.args[1:]))):
                yield node


def is_literal(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant | ast.JoinedStr | ast.Tuple) and is_sentence(node)


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_branch_reads_a_sentence(path: Path) -> None:
    if str(path.relative_to(PACKAGE)) in FOREIGN:
        return
    found = [f"line {node.lineno}: {ast.unparse(node)}" for node in branches(ast.parse(path.read_text()))]
    assert found == [], "give what is told a kind or a field"


@pytest.mark.parametrize(
    "line",
    [
        'heard.lost.startswith(("the MQTT password can not be read", "the MQTT password is not sent"))',
        '"ertificate" in heard.lost or "ssl" in heard.lost.lower()',
        '"keep alive" in str(code).lower()',
        '"full" in str(error)',
        'reason.startswith(f"{ask.model}: ")',
        'str(e).startswith(f"{path}: ")',
        '"hash" not in str(e).lower()',
        'error.why.startswith("is larger")',
        'why.replace("is not a regular file", "is not a file")',
        'fault == "this file has no card"',
        "any(words in heard.lost for words in _NAMES_UNKNOWN)",
        're.search(r"line (\\d+)", str(error))',
    ],
)
def test_the_rule_finds_what_there_once_was(line: str) -> None:
    assert list(branches(ast.parse(line)))


def test_what_is_let_pass_is_still_there() -> None:
    for name in FOREIGN:
        assert list(branches(ast.parse((PACKAGE / name).read_text()))), f"{name} needs no leave any more"
