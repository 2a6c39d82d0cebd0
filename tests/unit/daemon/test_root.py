"""The root is a parts list: it makes, starts and stops its parts, in the reverse order, and no part of it knows it."""

import ast
import asyncio
import gc
import inspect
from pathlib import Path
from types import BuiltinFunctionType, FrameType, FunctionType, ModuleType
from typing import Any

import pytest

import edged
from edged.daemon import daemon as root
from edged.daemon.daemon import Daemon
from tests.unit.daemon.played import Stage

PACKAGE = Path(edged.__file__).parent
# what everything hangs on: the loop knows the coroutines that wait, and they know whom they wait for
_SHARED = (ModuleType, type, FrameType, asyncio.AbstractEventLoop, asyncio.Future, asyncio.Handle, BuiltinFunctionType)


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


def held_by(part: object) -> list[object]:
    """Every object that can be reached from a part, but through what everything hangs on."""
    found, left = dict[int, object](), [part]
    while left:
        one = left.pop()
        if id(one) in found or isinstance(one, _SHARED):
            continue
        found[id(one)] = one
        # of a function, what it closes over; its globals are everybody's
        left += list(one.__closure__ or ()) if isinstance(one, FunctionType) else gc.get_referents(one)
    return list(found.values())


def test_no_part_holds_the_root(stage: Stage) -> None:
    async def play(_stage: Stage, daemon: Daemon) -> None:
        for name, part in vars(daemon).items():
            assert not any(one is daemon for one in held_by(part)), f"{name} holds the root"

    stage.run(play)


def test_the_rule_finds_a_part_that_holds_it() -> None:
    class Whole:
        def __init__(self) -> None:
            self.parts: list[Any] = [self.end]

        def end(self) -> None: ...

    whole = Whole()
    assert any(one is whole for one in held_by(whole.parts))
    assert any(one is whole for one in held_by(lambda: whole.end()))


def test_the_root_is_short_and_its_end_is_the_mirror_of_its_start() -> None:
    assert len(inspect.getsource(root).splitlines()) <= 150
    tree = ast.parse(inspect.getsource(root))

    def parts_of(name: str, *verbs: str) -> list[str]:
        body = next(
            node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name == name
        )
        calls = [node.func for node in ast.walk(body) if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)]
        calls.sort(key=lambda call: (call.lineno, call.col_offset))
        return [call.value.attr for call in calls if call.attr in verbs and isinstance(call.value, ast.Attribute)]

    started, ended = parts_of("start", "start", "begin_fit"), parts_of("close", "close", "stop")
    both = [one for one in started if one in ended]
    assert len(both) >= 5 and [one for one in reversed(ended) if one in both] == both


def test_no_handler_is_found_by_its_name_and_no_part_calls_its_owner_behind_a_protocol() -> None:
    """The two that there are belong to delivery: one connection and its owner, and who hears the broker."""
    owners = set()
    for path in sorted(PACKAGE.rglob("*.py")):
        text = path.read_text()
        assert 'getattr(self, f"' not in text, path
        owners |= {
            node.name
            for node in ast.walk(ast.parse(text))
            if isinstance(node, ast.ClassDef)
            and any(getattr(base, "id", "") == "Protocol" for base in node.bases)
            and path.parent.name in ("daemon", "rollout")
        }
    assert owners == set()
