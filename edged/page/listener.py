"""The listening end: nobody holds more of it than one small request and a moment. What passes is handed to the routes.

In front of the web library, because that waits for a slow sender for ever: here a request is whole and small, or it is nothing.
"""

import asyncio
import contextlib
import errno
import logging
import os
import re
import socket
import ssl
import time
import urllib.parse
from collections.abc import Awaitable, Callable
from typing import Any

log = logging.getLogger("edged")

MOST_OPEN = 64
_AT_ONCE, _BACKLOG = 16, 128  # asyncio accepts so many before any of them is counted; the kernel keeps so many for it
HEAD_BYTES, BODY_BYTES = 8 * 1024, 4 * 1024
_MOST_HEADERS = 60
_HEAD_S, _BODY_S, _WRITE_S, _CLOSE_S = 5.0, 5.0, 10.0, 2.0
_GONE_S = 2.0  # for the answer to whoever has said all, or has gone: that looks the same
_LEAST_S = 0.25  # a connection that is younger does not yet give way
_CHUNK_BYTES = 64 * 1024
_REQUEST = re.compile(rb"(GET|HEAD|POST|OPTIONS|PUT|DELETE|PATCH) (/[!-~]{0,2000}) HTTP/1\.[01]")
_HEADER = re.compile(rb"([A-Za-z0-9!#$%&'*+.^_`|~-]{1,60}):[ \t]*([ -~\t]*)")
_QUERY = re.compile(rb"(?:[^%]|%[0-9A-Fa-f]{2})*")
_REASONS = {400: "Bad Request", 408: "Request Timeout", 413: "Content Too Large", 431: "Request Header Fields Too Large"}

Handle = Callable[[asyncio.StreamReader, "Outlet"], Awaitable[None]]


class RefusedError(Exception):
    """A request that is none, or too much of one."""

    def __init__(self, status: int) -> None:
        super().__init__(_REASONS[status])
        self.status = status


def check_head(head: bytes) -> int:
    """The length of the body that must follow. Raises RefusedError. Pure."""
    first, *lines = head.removesuffix(b"\r\n\r\n").split(b"\r\n")
    request = _REQUEST.fullmatch(first)
    if request is None or len(lines) > _MOST_HEADERS or not _is_text(request[2].partition(b"?")[2]):
        raise RefusedError(400)
    headers: dict[bytes, bytes] = {}
    for line in lines:
        found = _HEADER.fullmatch(line)
        if found is None or (name := found[1].lower()) in headers:  # none of those that are read may come twice
            raise RefusedError(400)
        headers[name] = found[2].strip()
    length = headers.get(b"content-length", b"0")
    if b"host" not in headers or b"transfer-encoding" in headers or re.fullmatch(rb"\d{1,12}", length) is None:
        raise RefusedError(400)
    if int(length) > BODY_BYTES:
        raise RefusedError(413)
    if int(length) and request[1] in (b"GET", b"HEAD"):
        raise RefusedError(400)
    return int(length)


def _is_text(query: bytes) -> bool:
    """The web library prints a traceback for each that is not."""
    if _QUERY.fullmatch(query) is None:
        return False
    try:
        urllib.parse.unquote_to_bytes(query).decode()
    except UnicodeDecodeError:
        return False
    return True


class Outlet:
    """What the web library writes to. A reader that takes nothing for ten seconds is gone."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer

    def get_extra_info(self, name: str) -> Any:
        return self._writer.get_extra_info(name)

    async def awrite(self, data: bytes) -> None:
        for at in range(0, len(data), _CHUNK_BYTES):
            self._writer.write(data[at : at + _CHUNK_BYTES])
            try:
                async with asyncio.timeout(_WRITE_S):
                    await self._writer.drain()
            except (OSError, TimeoutError):
                raise OSError(errno.ECONNRESET, "Connection lost") from None

    async def aclose(self) -> None:
        self._writer.close()


class _Protocol(asyncio.StreamReaderProtocol):
    is_tls = False

    def eof_received(self) -> bool:
        """Whoever says no more may still want the answer: `nc` and `socat` end what they send. With TLS that is the end of both."""
        super().eof_received()
        return not self.is_tls


async def _secured(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, tls: ssl.SSLContext) -> asyncio.StreamWriter:
    """The same connection with TLS; called before anything is waited for, so that nothing was read yet. Raises OSError.

    Not StreamWriter.start_tls, which falls over a connection that is aborted in its handshake.
    """
    below, loop = writer.transport, asyncio.get_running_loop()
    protocol = below.get_protocol()
    assert isinstance(protocol, _Protocol)
    protocol.is_tls = True
    above = await loop.start_tls(below, protocol, tls, server_side=True, ssl_handshake_timeout=_HEAD_S)
    if above is None:
        raise OSError(errno.ECONNABORTED, "aborted in its handshake")
    return asyncio.StreamWriter(above, protocol, reader, loop)


async def _until_gone(reader: asyncio.StreamReader) -> None:
    """One request is all there is: of what comes behind it, a line end or another one, little is read and nothing done."""
    read = 0
    while (part := await reader.read(BODY_BYTES)) and read < BODY_BYTES:
        read += len(part)


class Listener:
    """Thread: the event loop's. `refused` counts what never came to a route."""

    def __init__(self, handle: Handle) -> None:
        self._handle = handle
        self._server: asyncio.Server | None = None
        self._tls: ssl.SSLContext | None = None
        self._open: dict[asyncio.WriteTransport, float] = {}  # connections, and since when
        self._idle: set[asyncio.WriteTransport] = set()  # whose request is not whole yet, or is answered
        self.refused = 0

    @property
    def open_count(self) -> int:
        return len(self._open)

    async def start(self, host: str, port: int, tls: ssl.SSLContext | None) -> None:
        """Raises OSError where the address can't be had."""
        self._tls = tls  # and not handed over: a handshake that is not finished takes one of the places, and 300 KiB
        self._server = await asyncio.get_running_loop().create_server(self._make, host, port, backlog=_AT_ONCE)
        for one in self._server.sockets:
            with socket.socket(fileno=os.dup(one.fileno())) as same:
                same.listen(_BACKLOG)

    def _make(self) -> asyncio.Protocol:
        return _Protocol(asyncio.StreamReader(HEAD_BYTES), self._serve)

    @property
    def port(self) -> int:
        assert self._server is not None
        return int(self._server.sockets[0].getsockname()[1])

    def close(self) -> None:
        if self._server is not None:
            self._server.close()
        for connection in list(self._open):
            connection.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.CancelledError):  # the page ends; Python 3.11 prints a traceback for a task that ends so
            await self._serve_one(reader, writer)

    async def _serve_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self._has_room():
            self.refused += 1
            writer.transport.abort()
            return
        below, connection = writer, writer.transport
        self._open[connection] = time.monotonic()
        self._idle.add(connection)
        try:
            if self._tls is not None:
                writer = await _secured(reader, writer, self._tls)
            whole = await self._read(reader)
            self._idle.discard(connection)
            await self._pass(whole, reader, writer)
        except RefusedError as error:
            self.refused += 1
            answer = f"HTTP/1.0 {error.status} {error}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            with contextlib.suppress(OSError, TimeoutError):
                writer.write(answer.encode())
                async with asyncio.timeout(_WRITE_S):
                    await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            self.refused += 1
        finally:
            await self._end(connection, writer)
            del below  # held until here: Python 3.13 closes the connection of a writer that nobody holds, also below TLS

    async def _end(self, connection: asyncio.WriteTransport, writer: asyncio.StreamWriter) -> None:
        """It has its place until it is closed: with TLS the other side has a word in that, and need not say it."""
        self._idle.add(connection)
        try:
            writer.close()
            with contextlib.suppress(OSError, TimeoutError):
                async with asyncio.timeout(_CLOSE_S):
                    await writer.wait_closed()
        finally:
            connection.abort()
            self._open.pop(connection, None)
            self._idle.discard(connection)

    def _has_room(self) -> bool:
        """Where all places are taken, the oldest request that is not whole yet gives way, or one that is answered."""
        if len(self._open) < MOST_OPEN:
            return True
        late_s = time.monotonic() - _LEAST_S
        oldest = next((one for one, since_s in self._open.items() if one in self._idle and since_s < late_s), None)
        if oldest is None:
            return False
        self._open.pop(oldest)
        oldest.abort()
        return True

    @staticmethod
    async def _read(reader: asyncio.StreamReader) -> bytes:
        try:
            async with asyncio.timeout(_HEAD_S):
                head = await reader.readuntil(b"\r\n\r\n")
            length = check_head(head)
            async with asyncio.timeout(_BODY_S):
                return head + await reader.readexactly(length)
        except asyncio.LimitOverrunError:
            raise RefusedError(431) from None
        except TimeoutError:
            raise RefusedError(408) from None

    async def _pass(self, whole: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """To the routes; of what whoever asked closes, there is an end soon."""
        inside = asyncio.StreamReader()
        inside.feed_data(whole)
        inside.feed_eof()
        working = asyncio.ensure_future(self._handle(inside, Outlet(writer)))
        gone = asyncio.ensure_future(_until_gone(reader))
        try:
            await asyncio.wait([working, gone], return_when=asyncio.FIRST_COMPLETED)
            await asyncio.wait([working], timeout=_GONE_S)
        finally:
            for task in (working, gone):
                if not task.done():
                    task.cancel()
            await asyncio.gather(working, gone, return_exceptions=True)
