"""Everybody who has the page open: each gets the newest of each kind of news, and the oldest gives way to the ninth."""

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator
from typing import Any

MOST_VIEWERS = 8
_MOST_EVENTS = 64
_PING_S = 15.0


def to_event(kind: str, news: dict[str, Any]) -> bytes:
    """As a browser's EventSource reads it. Pure."""
    return f"event: {kind.replace('/', '_')}\ndata: {json.dumps(news)}\n\n".encode()


class Viewer:
    """One open page, as a stream of server-sent events. What waits for it is bounded."""

    def __init__(self) -> None:
        self._newest: dict[str, bytes] = {}
        self._events: deque[bytes] = deque(maxlen=_MOST_EVENTS)
        self._some = asyncio.Event()
        self._is_over = False

    def put(self, kind: str, news: dict[str, Any]) -> None:
        data = to_event(kind, news)
        if kind == "event":
            self._events.append(data)
        else:
            self._newest[kind] = data
        self._some.set()

    def end(self) -> None:
        """Another one took its place; it is told, so that it does not come back by itself."""
        self._is_over = True
        self.put("over", {})

    async def stream(self) -> AsyncIterator[bytes]:
        while True:
            try:
                async with asyncio.timeout(_PING_S):
                    await self._some.wait()
            except TimeoutError:
                yield b": still here\n\n"
                continue
            self._some.clear()
            waiting = [*self._events, *self._newest.values()]
            self._events.clear()
            self._newest = {}
            yield b"".join(waiting)
            if self._is_over:
                return


class Viewers:
    """Thread: the event loop's."""

    def __init__(self) -> None:
        self._all: list[Viewer] = []

    @property
    def count(self) -> int:
        return len(self._all)

    def tell(self, kind: str, news: dict[str, Any]) -> None:
        for viewer in self._all:
            viewer.put(kind, news)

    def add(self) -> Viewer:
        while len(self._all) >= MOST_VIEWERS:
            self._all.pop(0).end()
        viewer = Viewer()
        self._all.append(viewer)
        return viewer

    def remove(self, viewer: Viewer) -> None:
        if viewer in self._all:
            self._all.remove(viewer)
