"""The local door: a Unix socket in the state folder, for what only the operator of this board may ask.

One request and one answer for each connection, a JSON object on a line each way: {"verb": "replay", "since_s": 1800} →
{"ok": true, …} or {"ok": false, "error": "a sentence", "code": the exit code of the command that asked}. Who may open the
socket (mode 0660) may ask.
"""

import asyncio
import contextlib
import json
import logging
import os
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from edged.errors import FAILED, EdgedError, UnavailableError

log = logging.getLogger("edged")

SOCKET = "control.sock"
_LARGEST_BYTES = 64 * 1024
_ASK_S = 5.0
_MOST_SERVED = 16  # at a time
_PATIENCE_S = 60.0  # for the answer: trying a model takes a while

Answer = dict[str, Any]
Handler = Callable[[dict[str, Any]], Awaitable[Answer]]


class Control:
    """The daemon's end. Thread: the event loop's. Handlers get the request and give the answer, or raise EdgedError."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / SOCKET
        self._handlers: dict[str, Handler] = {}
        self._server: asyncio.Server | None = None
        self._serving = 0

    def on(self, verb: str, handler: Handler) -> None:
        self._handlers[verb] = handler

    async def start(self) -> str:
        """Listen. A sentence when that can't be done: the daemon does its work without its door too."""
        try:
            with contextlib.suppress(FileNotFoundError):
                self._path.unlink()  # of an earlier daemon; that none runs now was made sure of before
            listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            before = os.umask(0o117)  # 0660 from the first moment
            try:
                listening.bind(_address(self._path))
            finally:
                os.umask(before)
            self._server = await asyncio.start_unix_server(self._serve, sock=listening, limit=_LARGEST_BYTES)
        except OSError as error:
            reason = f"commands can not reach this daemon: {self._path}: {error.strerror or error}"
            log.warning("%s", reason)
            return reason
        return ""

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
            with contextlib.suppress(OSError):
                self._path.unlink()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._serving >= _MOST_SERVED:
            writer.close()
            return
        self._serving += 1
        try:
            await self._serve_one(reader, writer)
        finally:
            self._serving -= 1

    async def _serve_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, TimeoutError):
            try:
                line = await asyncio.wait_for(reader.readline(), _ASK_S)
                answer = await self._answer(line)
            except ValueError:  # longer than a request can be
                answer = _refusal("the request is too long")
            writer.write(json.dumps(answer).encode() + b"\n")
            await asyncio.wait_for(writer.drain(), _ASK_S)
        writer.close()

    async def _answer(self, line: bytes) -> Answer:
        request = to_request(line)
        if request is None:
            return _refusal("the request is no JSON object on one line")
        handler = self._handlers.get(str(request.get("verb")))
        if handler is None:
            return _refusal(f"this daemon knows no such verb; it knows {', '.join(sorted(self._handlers))}")
        try:
            return {"ok": True} | await handler(request)
        except EdgedError as error:
            return _refusal(str(error), error.exit_code)


def to_request(line: bytes) -> dict[str, Any] | None:
    """The object on the line, or None for anything else."""
    try:
        request = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return request if isinstance(request, dict) else None


def ask(folder: Path, request: dict[str, Any], *, patience_s: float = _PATIENCE_S) -> Answer:
    """Ask the daemon of this state folder. Raises UnavailableError when there is none, EdgedError with its refusal."""
    path = folder / SOCKET
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as end:
        end.settimeout(patience_s)
        try:
            end.connect(_address(path))
            end.sendall(json.dumps(request).encode() + b"\n")
            with end.makefile("rb") as answers:
                answer = to_request(answers.readline(_LARGEST_BYTES))
        except PermissionError:
            raise UnavailableError(f"{path} may not be opened by this user; be root or a member of its group") from None
        except OSError as error:
            raise UnavailableError(
                f"no edged answers at {path} ({(error.strerror or str(error)).lower()}); is it running?"
            ) from None
    if answer is None:
        raise UnavailableError(f"the daemon at {path} hung up")
    if not answer.get("ok"):
        refusal, code = EdgedError(str(answer.get("error"))), answer.get("code")
        refusal.exit_code = code if isinstance(code, int) else FAILED
        raise refusal
    return answer


def _refusal(sentence: str, code: int = FAILED) -> Answer:
    return {"ok": False, "error": sentence, "code": code}


def _address(path: Path) -> str:
    """A name that fits the 108 bytes of a socket address, however deep the folder lies."""
    if len(os.fsencode(path)) < 108:
        return str(path)
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)  # stays open: the name leads through it
    return f"/proc/self/fd/{folder}/{path.name}"
