"""The local door: a Unix socket in the state folder, for what only the operator of this board may ask.

One request and one answer for each connection, a JSON object on a line each way: {"verb": "replay", "since_s": 1800} →
{"ok": true, …} or {"ok": false, "error": "a sentence", "code": the exit code of the command that asked}. A request with
"progress": true gets lines {"progress": "a sentence"} before its answer, as a sign of life. Some verbs (`watch`)
keep the connection, and say more than one line. Who may open the socket (mode 0660) may ask.
"""

import asyncio
import contextlib
import json
import logging
import math
import os
import socket
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from edged.errors import FAILED, EdgedError, UnavailableError
from edged.faults import StandingFault, to_standing

log = logging.getLogger("edged")

SOCKET = "control.sock"
_LARGEST_BYTES = 64 * 1024
_LARGEST_PICTURE_BYTES = 32 * 1024 * 1024  # of a line with one: snapshot.max_kb is at most 16 MB
_ASK_S = 5.0
_MOST_SERVED = 16  # at a time
_MOST_DIGITS = 18  # of a whole number
_PROGRESS_S = 2.0
_SILENCE_S = 15.0  # without a sign of life the daemon hangs
LONGEST_S = 300.0  # for the answer: the longest trial of a model, its loading, and its proof

Answer = dict[str, Any]
Handler = Callable[[dict[str, Any]], Awaitable[Answer]]
Stream = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Control:
    """The daemon's end. Thread: the event loop's. Handlers get the request and give the answer, or raise EdgedError."""

    def __init__(self, folder: Path, progress: Callable[[], str] = lambda: "") -> None:
        """progress: what goes on, for who waits."""
        self._path, self._progress = folder / SOCKET, progress
        self.fault: StandingFault | None = None  # why commands can't reach this daemon
        self._handlers: dict[str, Handler] = {}
        self._streams: dict[str, Stream] = {}
        self._server: asyncio.Server | None = None
        self._socket: os.stat_result | None = None  # of the file that the server listens at
        self._serving: set[asyncio.Task[None] | None] = set()  # a task that nobody holds may be taken away while it waits

    def on(self, verb: str, handler: Handler) -> None:
        self._handlers[verb] = handler

    def on_stream(self, verb: str, stream: Stream) -> None:
        """A verb that has the connection to itself until it ends. Raises OSError or TimeoutError when nobody reads any more."""
        self._streams[verb] = stream

    async def start(self) -> None:
        """Listen, also anew. Where that can't be done it is a fault: the daemon does its work without its door too."""
        if self._server is not None:
            self._server.close()
            self._socket = None
        try:
            self._path.unlink(missing_ok=True)  # of an earlier daemon; that none runs now was made sure of before
            listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            before = os.umask(0o117)  # 0660 from the first moment
            try:
                with address_of(self._path) as address:
                    listening.bind(address)
            except OSError:
                listening.close()
                raise
            finally:
                os.umask(before)
            self._socket = self._path.lstat()
            self._server = await asyncio.start_unix_server(self._serve, sock=listening, limit=_LARGEST_BYTES)
            self.fault = None
        except OSError as error:
            self.fail(error.strerror or str(error))

    @property
    def is_there(self) -> bool:
        """Whether what lies at the socket's place is this daemon's."""
        with contextlib.suppress(OSError):
            return self._socket is not None and os.path.samestat(self._socket, self._path.lstat())
        return False

    def fail(self, reason: str) -> None:
        fault = to_standing("control", path=str(self._path), reason=reason)
        if fault != self.fault:
            log.warning("%s", fault.sentence)
        self.fault = fault

    async def close(self) -> None:
        if self.is_there:
            with contextlib.suppress(OSError):
                self._path.unlink()
        if self._server is not None:
            self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._serving) >= _MOST_SERVED:
            writer.close()
            return
        own = asyncio.current_task()
        self._serving.add(own)
        try:
            await self._serve_one(reader, writer)
        finally:
            self._serving.discard(own)

    async def _serve_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, TimeoutError):
            try:
                async with asyncio.timeout(_ASK_S):
                    line = await reader.readline()
                if (stream := self._streams.get(str((to_request(line) or {}).get("verb")))) is not None:
                    await stream(reader, writer)
                    writer.close()
                    return
                answer = await self._answer_with_progress(line, writer)
            except ValueError:  # longer than a request can be
                answer = _refusal("the request is too long")
            writer.write(json.dumps(answer).encode() + b"\n")
            async with asyncio.timeout(_ASK_S):
                await writer.drain()
        writer.close()

    async def _answer_with_progress(self, line: bytes, writer: asyncio.StreamWriter) -> Answer:
        answering = asyncio.ensure_future(self._answer(line))
        wants_progress = (to_request(line) or {}).get("progress") is True
        try:
            while not (await asyncio.wait([answering], timeout=_PROGRESS_S))[0]:
                if wants_progress:
                    writer.write(json.dumps({"progress": self._progress()}).encode() + b"\n")
                    async with asyncio.timeout(_ASK_S):
                        await writer.drain()
        except (OSError, TimeoutError):  # whoever asked is gone; what was asked for is done all the same
            pass
        return await answering

    async def _answer(self, line: bytes) -> Answer:
        request = to_request(line)
        if request is None:
            return _refusal("the request is no JSON object on one line")
        verb = request.get("verb")
        handler = self._handlers.get(verb) if isinstance(verb, str) else None
        if handler is None:
            return _refusal(f"this daemon knows no such verb; it knows {', '.join(sorted([*self._handlers, *self._streams]))}")
        try:
            return {"ok": True} | await handler(request)
        except EdgedError as error:
            return _refusal(str(error), error.exit_code)


def to_request(line: bytes) -> dict[str, Any] | None:
    """The object on the line, or None for anything else, also for numbers that no figure of ours can be."""
    try:
        request = json.loads(line, parse_int=_to_int, parse_float=_to_float, parse_constant=_to_float)
    except (ValueError, RecursionError):
        return None
    return request if isinstance(request, dict) else None


def _to_int(digits: str) -> int:
    if len(digits) > _MOST_DIGITS:
        raise ValueError("no figure of ours")
    return int(digits)


def _to_float(digits: str) -> float:
    if not math.isfinite(value := float(digits)):
        raise ValueError("no figure of ours")
    return value


def ask(
    folder: Path,
    request: dict[str, Any],
    needs: Mapping[str, type] = MappingProxyType({}),
    *,
    silence_s: float = _SILENCE_S,
    longest_s: float = LONGEST_S,
    on_progress: Callable[[str], None] = lambda _: None,
) -> Answer:
    """Ask the daemon of this state folder. Raises UnavailableError for none or one that hangs, EdgedError with its refusal.

    What answers may be anything that lies at the socket's place: little of it is read at a time, and not for longer than
    `longest_s`. needs: what must be in the answer, and of which type. on_progress: called with what goes on, when that is
    something new.
    """
    path, ends_s, told = folder / SOCKET, time.monotonic() + longest_s, ""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as end:
        end.settimeout(silence_s)
        try:
            with address_of(path) as address:
                end.connect(address)
            end.sendall(json.dumps(request | {"progress": True}).encode() + b"\n")
            lines = _Lines(end, silence_s, ends_s)
            while (answer := to_request(lines.next())) is not None and "progress" in answer:
                if isinstance(now := answer["progress"], str) and now not in ("", told):
                    told = now
                    on_progress(now)
        except TimeoutError:
            is_slow = told and time.monotonic() >= ends_s
            what = f"is not done after {longest_s:g} s" if is_slow else f"gave no sign of life for {silence_s:g} s"
            raise UnavailableError(f"edged is there at {path}, but {what}; see its log") from None
        except OSError as error:
            raise _unreached(path, error) from None
    if answer is None:
        raise UnavailableError(f"the daemon at {path} hung up, or gave no answer that can be read")
    if not answer.get("ok"):
        why, code = answer.get("error"), answer.get("code")
        refusal = EdgedError(why if isinstance(why, str) else f"the daemon at {path} refused, and did not say why")
        refusal.exit_code = code if isinstance(code, int) and 0 < code < 126 else FAILED
        raise refusal
    if not all(isinstance(answer.get(key), of) for key, of in needs.items()):
        raise UnavailableError(f"what answers at {path} is no edged of this version")
    return answer


def ask_picture(folder: Path, view: str, *, limit_s: float = 10.0) -> Answer:
    """One picture of the daemon of this state folder, over its verb `watch`, as the page gets it: {"picture": view} →
    {"picture": {jpeg: base64, shows, age_ms, label, top, lead, rules, region}}, or {"picture": {reason}}.

    view: whole, region, model. Raises UnavailableError where no daemon answers, and with the reason why there is none.
    """
    path, ends_s = folder / SOCKET, time.monotonic() + limit_s
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as end:
        end.settimeout(limit_s)
        try:
            with address_of(path) as address:
                end.connect(address)
            end.sendall(f"{json.dumps({'verb': 'watch'})}\n{json.dumps({'picture': view})}\n".encode())
            lines = _Lines(end, limit_s, ends_s, _LARGEST_PICTURE_BYTES)
            while (told := to_request(lines.next())) is not None and "picture" not in told and told.get("ok") is not False:
                pass
        except TimeoutError:
            raise UnavailableError(f"edged is there at {path}, but gave no picture within {limit_s:g} s; see its log") from None
        except OSError as error:
            raise _unreached(path, error) from None
    picture = (told or {}).get("picture")
    if not isinstance(picture, dict):
        raise UnavailableError(f"what answers at {path} is no edged of this version: it gives no pictures")
    if not isinstance(picture.get("jpeg"), str):
        raise UnavailableError(
            f"no picture: {picture.get('reason')}; 'edged status' says whether it is paused or without a camera; "
            "snapshot.local = false forbids it"
        )
    return picture


def _unreached(path: Path, error: OSError) -> UnavailableError:
    if isinstance(error, PermissionError):
        return UnavailableError(f"{path} may not be opened by this user; be root or a member of its group")
    return UnavailableError(f"no edged answers at {path} ({(error.strerror or str(error)).lower()}); is it running?")


class _Lines:
    """Lines from somebody who may send a byte now and then, or never end one."""

    def __init__(self, end: socket.socket, silence_s: float, ends_s: float, most_bytes: int = _LARGEST_BYTES) -> None:
        self._end, self._silence_s, self._ends_s, self._most_bytes = end, silence_s, ends_s, most_bytes
        self._rest = b""

    def next(self) -> bytes:
        """The next line, or what there is of one that is too long or was not ended. Raises OSError, TimeoutError."""
        line_ends_s = time.monotonic() + self._silence_s
        while b"\n" not in self._rest and len(self._rest) < self._most_bytes:
            left_s = min(line_ends_s, self._ends_s) - time.monotonic()
            if left_s <= 0:
                raise TimeoutError
            self._end.settimeout(left_s)
            part = self._end.recv(_LARGEST_BYTES)
            if not part:
                break
            self._rest += part
        line, mark, self._rest = self._rest.partition(b"\n")
        return line + mark


def _refusal(sentence: str, code: int = FAILED) -> Answer:
    return {"ok": False, "error": sentence, "code": code}


@contextlib.contextmanager
def address_of(path: Path) -> Iterator[str]:
    """A name that fits the 108 bytes of a socket address, however deep the folder lies; to bind or connect to. Raises OSError."""
    if len(os.fsencode(path)) < 108:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)  # the name leads through it
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)
