"""The verb `watch` of the control socket: messages as they are published, and pictures for whoever asks to see.

Lines of JSON each way. Down: {"topic", "time", "body"} for each message, first the retained ones of now and the last events;
{"picture": …} and {"tried": …} as answers; {"doing": a sentence}. Up: {"picture": a view} and {"try": a region}.
"""

import asyncio
import base64
import contextlib
import json
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from edged.delivery.messages import Body, to_rfc3339
from edged.process.control import to_request
from edged.system.shapes import is_region

MOST_WATCHERS = 2
_KEPT_EVENTS = 30
_MOST_WAITING = 64  # events that a watcher has not taken yet; of all else the newest of each kind waits
_SLOW_S = 5.0  # a watcher that takes nothing for so long is dropped
_EVERY_S = 0.09  # between two pictures, and between two tries
_UNANSWERED_S = 2.0
VIEWS = ("whole", "region", "model")
_OWN_TOPICS = ("status", "camera", "label", "state", "result", "event", "info", "model", "model/error", "control/error", "health")

Ask = Callable[[int, Any], bool]  # number, and what is asked for; False where nobody can be asked


class _Watcher:
    """One connection. What waits for it is bounded, and the newest wins."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        self._newest: dict[str, bytes] = {}
        self._events: deque[bytes] = deque(maxlen=_MOST_WAITING)
        self._some = asyncio.Event()
        self.asked_s = dict.fromkeys(("picture", "try"), 0.0)

    def put(self, kind: str, line: dict[str, Any]) -> None:
        data = json.dumps(line).encode() + b"\n"
        if kind == "event":
            self._events.append(data)
        else:
            self._newest[kind] = data
        self._some.set()

    async def send(self) -> None:
        """For ever. Raises OSError or TimeoutError when it is gone or too slow."""
        while True:
            await self._some.wait()
            self._some.clear()
            waiting, self._newest = [*self._events, *self._newest.values()], {}
            self._events.clear()
            self._writer.write(b"".join(waiting))  # writelines() of Python 3.12.0 to 3.13.1 knows no flow control
            async with asyncio.timeout(_SLOW_S):
                await self._writer.drain()

    def close(self) -> None:
        self._writer.transport.abort()


class Watching:
    """Thread: the event loop's. Costs nothing while nobody watches, but for the last events."""

    def __init__(
        self,
        ask_picture: Ask,
        ask_try: Ask,
        seen: Callable[[], dict[str, Any]],
        retained: Callable[[], dict[str, tuple[Body | str, int]]],
        to_wall: Callable[[int], float],
    ) -> None:
        """seen: what is decided now, told with each picture. to_wall: monotonic ns → Unix time."""
        self._ask: dict[str, Ask] = {"picture": ask_picture, "try": ask_try}
        self._seen, self._retained, self._to_wall = seen, retained, to_wall
        self._watchers: list[_Watcher] = []
        self._events: deque[dict[str, Any]] = deque(maxlen=_KEPT_EVENTS)
        self._number = 0
        self._asked: dict[int, tuple[_Watcher, str, Any, asyncio.TimerHandle]] = {}

    def on_said(self, topic: str, body: Body | str, at_ns: int) -> None:
        """A message was handed in for publishing."""
        if topic != "event" and not self._watchers:
            return
        line = self._to_line(topic, body, at_ns)
        if topic == "event":
            self._events.append(line)
        if topic in _OWN_TOPICS:
            for watcher in self._watchers:
                watcher.put(topic, line)

    def on_doing(self, sentence: str) -> None:
        for watcher in self._watchers:
            watcher.put("doing", {"doing": sentence})

    def on_picture(self, number: int, jpeg: bytes, captured_ns: int, shows: list[float]) -> None:
        """shows: which part of the scene."""
        answer = {"jpeg": base64.b64encode(jpeg).decode(), "shows": shows, "age_ms": self._age_ms(captured_ns)}
        self._answer(number, answer | self._seen())

    def on_tried(self, number: int, scores: dict[str, float], reason: str) -> None:
        self._answer(number, {"scores": scores, "reason": reason, "now": self._seen()})

    async def stream(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One watcher, from its request to its end. Where two watch, the older one gives way."""
        watcher = _Watcher(writer)
        while len(self._watchers) >= MOST_WATCHERS:
            self._watchers.pop(0).close()
        self._watchers.append(watcher)
        for topic, (body, at_ns) in self._retained().items():
            if topic in _OWN_TOPICS:
                watcher.put(topic, self._to_line(topic, body, at_ns))
        for line in self._events:
            watcher.put("event", line)
        both = [asyncio.ensure_future(watcher.send()), asyncio.ensure_future(self._hear(watcher, reader))]
        try:
            with contextlib.suppress(OSError, TimeoutError, ValueError):
                await (await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED))[0].pop()
        finally:
            for task in both:
                task.cancel()
            await asyncio.gather(*both, return_exceptions=True)
            watcher.close()
            if watcher in self._watchers:
                self._watchers.remove(watcher)

    async def _hear(self, watcher: _Watcher, reader: asyncio.StreamReader) -> None:
        while line := await reader.readline():
            asked = to_request(line)
            if asked is None:
                return
            if asked.get("picture") in VIEWS:
                self._begin(watcher, "picture", asked["picture"])
            elif is_region(asked.get("try")):
                self._begin(watcher, "try", asked["try"])
            elif "try" in asked:
                watcher.put("tried", {"tried": {"asked": None, "reason": "that is no region of a picture"}})

    def _begin(self, watcher: _Watcher, kind: str, what: Any) -> None:
        """The vision process is asked; its answer comes, or the sentence that none came."""
        name, now_s = {"picture": "picture", "try": "tried"}[kind], time.monotonic()
        if now_s - watcher.asked_s[kind] < _EVERY_S or any(one[0] is watcher and one[1] == name for one in self._asked.values()):
            watcher.put(name, {name: {"asked": what, "reason": "asked too often"}})
            return
        watcher.asked_s[kind] = now_s
        self._number += 1
        number = self._number
        timer = asyncio.get_running_loop().call_later(
            _UNANSWERED_S, self._answer, number, {"reason": "the camera gives no picture now"}
        )
        self._asked[number] = watcher, name, what, timer
        if not self._ask[kind](number, what):
            self._answer(number, {"reason": "no picture may be shown, or none is there"})

    def _answer(self, number: int, answer: dict[str, Any]) -> None:
        if (asked := self._asked.pop(number, None)) is not None:
            watcher, name, what, timer = asked
            timer.cancel()
            watcher.put(name, {name: {"asked": what} | answer})

    def _to_line(self, topic: str, body: Body | str, at_ns: int) -> dict[str, Any]:
        told = body if isinstance(body, str) else body.model_dump()
        return {"topic": topic, "time": to_rfc3339(self._to_wall(at_ns)), "body": told}

    @staticmethod
    def _age_ms(captured_ns: int) -> float:
        return round((time.monotonic_ns() - captured_ns) / 1e6, 1)
