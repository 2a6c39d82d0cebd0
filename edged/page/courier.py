"""The page's end of the control socket: questions, and one watch for all who look, open only while somebody does."""

import asyncio
import base64
import contextlib
import json
import re
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from edged.errors import FAILED, EdgedError, UnavailableError
from edged.process.control import LONGEST_S, SOCKET, address_of, to_request

_LINE_BYTES = 1024 * 1024  # a picture, or the hour, as base64
_CONNECT_S, _SILENCE_S, _PICTURE_S = 3.0, 15.0, 4.0
_AGAIN_S = 1.0
_LINGER_S = 3.0  # the watch is left open so long after the last who looked
_FRESH_S = 0.12  # two who look at the same time see the same picture
_KEPT_EVENTS = 30
_TOPIC, _MOST_TOPICS = re.compile(r"[a-z_]{1,40}(/[a-z_]{1,40})?"), 32

Line = dict[str, Any]


class CourierLink:
    """Thread: the event loop's. `latest`: by topic, while somebody looks; `events`: the last ones."""

    def __init__(self, folder: Path, tell: Callable[[str, Line], None]) -> None:
        """tell: a kind of news, and the news, for everybody who looks."""
        self._path, self._tell = folder / SOCKET, tell
        self._users = 0
        self._task: asyncio.Task[None] | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._linger: asyncio.TimerHandle | None = None
        self._turn = asyncio.Lock()
        self._waiting: dict[str, asyncio.Future[Line]] = {}
        self._pictures: dict[str, tuple[float, Line]] = {}
        self.latest: dict[str, Line] = {}
        self.events: deque[Line] = deque(maxlen=_KEPT_EVENTS)

    @property
    def is_up(self) -> bool:
        return self._writer is not None

    @property
    def is_off(self) -> bool:
        """Whether the config that edged follows says so by now: then `info` names no page. Known once something was answered."""
        body = self.latest.get("info", {}).get("body")
        return isinstance(body, dict) and body.get("page") == ""

    # questions

    async def ask(self, request: Line, on_progress: Callable[[str], None] = lambda _: None) -> Line:
        """Raises UnavailableError where no daemon answers, EdgedError with its refusal."""
        try:
            async with asyncio.timeout(_CONNECT_S):
                reader, writer = await self._connect()
        except (OSError, TimeoutError) as error:
            raise UnavailableError(f"edged does not answer ({_why(error)})") from None
        try:
            writer.write(json.dumps(request | {"progress": True}).encode() + b"\n")
            async with asyncio.timeout(LONGEST_S):
                while True:
                    async with asyncio.timeout(_SILENCE_S):
                        answer = _to_line(await reader.readline())
                    if "progress" not in answer:
                        break
                    on_progress(str(answer["progress"]))
        except (OSError, TimeoutError, ValueError):
            raise UnavailableError("edged is there, but gave no answer that can be read") from None
        finally:
            writer.close()
        if not answer.get("ok"):
            refusal, code = EdgedError(str(answer.get("error"))), answer.get("code")
            refusal.exit_code = code if isinstance(code, int) else FAILED
            raise refusal
        return answer

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Raises OSError."""
        with address_of(self._path) as address:
            return await asyncio.open_unix_connection(address, limit=_LINE_BYTES)

    async def picture(self, view: str) -> Line:
        """{"jpeg": bytes, "shows": …} or {"reason": …}."""
        at_s, last = self._pictures.get(view, (0.0, {}))
        if time.monotonic() - at_s < _FRESH_S:
            return last
        async with self._turn:
            at_s, last = self._pictures.get(view, (0.0, {}))
            if time.monotonic() - at_s < _FRESH_S:  # whoever was before us asked for the same
                return last
            last = await self._request("picture", view)
            if "jpeg" in last:
                try:
                    last = last | {"jpeg": base64.b64decode(str(last["jpeg"]), validate=True)}
                except ValueError:
                    return {"reason": "what answers gave no picture that can be read"}
                self._pictures[view] = time.monotonic(), last
            return last

    async def try_region(self, region: list[float]) -> Line:
        """{"scores": …, "now": …} or {"reason": …}."""
        async with self._turn:
            return await self._request("try", region)

    async def _request(self, kind: str, what: Any) -> Line:
        name = {"picture": "picture", "try": "tried"}[kind]
        if self._writer is None:
            return {"reason": "edged does not answer"}
        waiting: asyncio.Future[Line] = asyncio.get_running_loop().create_future()
        self._waiting[name] = waiting
        try:
            self._writer.write(json.dumps({kind: what}).encode() + b"\n")
            async with asyncio.timeout(_PICTURE_S):
                return await waiting
        except (OSError, TimeoutError):
            return {"reason": "edged gave no answer in time"}
        finally:
            self._waiting.pop(name, None)

    # the watch

    @contextlib.asynccontextmanager
    async def looked_at(self) -> AsyncIterator[None]:
        """While somebody looks. Waits a moment for the first connection."""
        self._users += 1
        if self._linger is not None:
            self._linger.cancel()
            self._linger = None
        try:
            if self._task is None:
                self._task = asyncio.ensure_future(self._watch())
                await self._until_up()
            yield
        finally:
            self._users -= 1
            if not self._users:
                self._linger = asyncio.get_running_loop().call_later(_LINGER_S, self._end)

    async def _until_up(self) -> None:
        ends_s = time.monotonic() + _AGAIN_S
        while self._writer is None and time.monotonic() < ends_s:
            await asyncio.sleep(0.01)

    def _end(self) -> None:
        if not self._users and self._task is not None:
            self._task.cancel()
            self._task = None

    def close(self) -> None:
        self._users = 0
        self._end()

    async def _watch(self) -> None:
        why = ""
        while True:
            try:
                async with asyncio.timeout(_CONNECT_S):
                    reader, writer = await self._connect()
                writer.write(b'{"verb": "watch"}\n')
                await self._read(reader, writer)
                now = "it ended the connection"
            except (OSError, TimeoutError, ValueError) as error:
                now = _why(error)
            if now != why:
                why = now
                self._tell("link", {"up": False, "reason": f"edged does not answer ({why})"})
            await asyncio.sleep(_AGAIN_S)

    async def _read(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            self.events.clear()
            self.latest.clear()
            self._writer = writer
            self._tell("link", {"up": True})
            while line := await reader.readline():
                self._take(_to_line(line))
        finally:
            self._writer = None
            self._pictures.clear()
            for waiting in self._waiting.values():
                if not waiting.done():
                    waiting.set_result({"reason": "edged does not answer"})
            writer.close()

    def _take(self, line: Line) -> None:
        """What is no line of this version's is passed over: nobody who looks is to be left in the dark by it."""
        for name in ("picture", "tried"):
            if name in line:
                if (waiting := self._waiting.get(name)) is not None and not waiting.done() and isinstance(line[name], dict):
                    waiting.set_result(line[name])
                return
        if "doing" in line:
            self._tell("doing", {"doing": str(line["doing"])})
            return
        topic, is_event = line.get("topic"), line.get("topic") == "event"
        if not isinstance(topic, str) or not _TOPIC.fullmatch(topic) or "body" not in line or not isinstance(line.get("time"), str):
            return
        if is_event and isinstance(line["body"], dict):
            self.events.append(line)
        elif not is_event and (topic in self.latest or len(self.latest) < _MOST_TOPICS):
            self.latest[topic] = line
        else:
            return
        self._tell(topic, line)


def _to_line(line: bytes) -> Line:
    """Raises ValueError for what is no object."""
    told = to_request(line)
    if told is None:
        raise ValueError("no answer")
    return told


def _why(error: BaseException) -> str:
    if isinstance(error, PermissionError):
        return "this user is not in its group"
    return (error.strerror or type(error).__name__).lower() if isinstance(error, OSError) and error.strerror else "no answer"
