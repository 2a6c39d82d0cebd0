"""Watchers of the control socket that go at any moment, as a browser's tabs do: none of them is left behind.

One that is neither ended nor held by anybody is a bug to asyncio, which tells it to the loop, and that ends the daemon.
"""

import ast
import asyncio
import socket
from pathlib import Path

import pytest

import edged
from edged.delivery.watching import Watching

PICTURE = b'{"picture": "whole"}\n'


async def is_left_behind(ticks: int, more: int) -> bool:
    """A watcher asks for a picture, and is gone so many turns of the event loop later."""
    ours, theirs = socket.socketpair()
    with theirs:
        reader, writer = await asyncio.open_connection(sock=ours)
        asked = asyncio.StreamReader()
        watching = Watching(lambda *_: False, lambda *_: False, dict, lambda: {"label": ("cat", 1)}, lambda at_ns: at_ns / 1e9)
        stream = asyncio.ensure_future(watching.stream(asked, writer))
        for _ in range(10):
            await asyncio.sleep(0)
        for _ in range(more):
            asked.feed_data(PICTURE)
            await asyncio.sleep(0)
        for _ in range(ticks):
            await asyncio.sleep(0)
        asked.feed_eof()
        for _ in range(50):
            await asyncio.sleep(0)
        is_left = not stream.done()
        stream.cancel()
        writer.close()
        del reader
        return is_left


@pytest.mark.parametrize("more", [1, 2, 3])
@pytest.mark.parametrize("ticks", range(8))
def test_whoever_goes_is_not_left_behind(ticks: int, more: int) -> None:
    assert not asyncio.run(is_left_behind(ticks, more))


def test_no_end_of_a_task_can_be_overheard() -> None:
    """asyncio.wait_for of Python 3.11 forgets that its task is to end, where what it waits for is done in the same moment."""
    for path in Path(edged.__file__).parent.rglob("*.py"):
        names = [node.attr for node in ast.walk(ast.parse(path.read_bytes())) if isinstance(node, ast.Attribute)]
        assert "wait_for" not in names, f"{path}: asyncio.timeout in place of asyncio.wait_for"
