"""A TCP proxy that behaves like a bad network: in front of a real broker, with faults that a test switches on and off."""

import asyncio
import contextlib
import random
import socket
import struct
import threading
from collections.abc import Coroutine
from typing import Any

from tests.e2e.running import HANG_S, free_port

FAULTS = ("refuse", "stall", "half_open", "reset", "trickle", "delay")


class FaultProxy:
    """127.0.0.1:port → 127.0.0.1:behind. Faults, one at a time:

    refuse     nobody listens; connections that are there are reset
    stall      connections stay, and new ones are accepted, and nothing passes
    half_open  as stall, and the broker's side is closed: the other side is never told
    reset      every connection ends with a reset after a few more bytes, in the middle of a packet
    trickle    one byte a second
    delay      half a second each way
    """

    def __init__(self, behind: int, seed: int = 1) -> None:
        self.behind = behind
        self.port = free_port()
        self.fault = ""
        self.disconnects = 0  # connections that a fault ended or that ended during one
        self.accepted = 0
        self._random = random.Random(seed)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._server: asyncio.Server | None = None
        self._pairs: set[_Pair] = set()

    def start(self) -> "FaultProxy":
        self._thread.start()
        self._do(self._listen())
        return self

    def become(self, fault: str) -> None:
        """Switch a fault on, or every fault off with ""."""
        self._do(self._become(fault))

    def close(self) -> None:
        self._do(self._become("refuse"))
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(HANG_S)

    def _do(self, coroutine: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(10)

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port, limit=4096)

    async def _become(self, fault: str) -> None:
        was, self.fault = self.fault, fault
        if was in ("stall", "half_open"):  # a network that comes back resets what it forgot
            for pair in list(self._pairs):
                pair.reset()
        if fault == "refuse" and self._server is not None:
            self._server.close()
            self._server = None
            for pair in list(self._pairs):
                pair.reset()
        elif fault != "refuse" and self._server is None:
            await self._listen()
        if fault == "half_open":
            for pair in list(self._pairs):
                pair.close_broker()
        for pair in list(self._pairs):
            pair.left = self._random.randrange(1, 400) if fault == "reset" else None

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        pair = _Pair(self, writer)
        self._pairs.add(pair)
        try:
            while self.fault in ("stall", "half_open"):
                await asyncio.sleep(0.05)
                if writer.is_closing():
                    return
            if self.fault == "reset":
                pair.left = self._random.randrange(1, 400)
            broker_reader, pair.broker = await asyncio.open_connection("127.0.0.1", self.behind, limit=4096)
            ways = [
                asyncio.ensure_future(pair.pass_on(reader, pair.broker)),
                asyncio.ensure_future(pair.pass_on(broker_reader, writer)),
            ]
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            while self.fault == "half_open" and not writer.is_closing():
                await asyncio.sleep(0.05)  # the broker's side is gone, and the client is not told
            for way in ways:
                way.cancel()
        except OSError:
            pass
        finally:
            self._pairs.discard(pair)
            self.disconnects += 1
            pair.close()


class _Pair:
    def __init__(self, proxy: FaultProxy, client: asyncio.StreamWriter) -> None:
        self._proxy, self._client = proxy, client
        self.broker: asyncio.StreamWriter | None = None
        self.left: int | None = None  # bytes until the reset

    async def pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One direction. Bytes that were read when a fault begins fall under it."""
        with contextlib.suppress(OSError):
            while data := await reader.read(4096):
                while self._proxy.fault in ("stall", "half_open"):
                    await asyncio.sleep(0.05)
                if self._proxy.fault == "delay":
                    await asyncio.sleep(0.5)
                while self._proxy.fault == "trickle" and len(data) > 1:
                    writer.write(data[:1])
                    data = data[1:]
                    await asyncio.sleep(1)
                if self.left is not None and len(data) >= self.left:
                    writer.write(data[: self.left])
                    self.reset()
                    return
                if self.left is not None:
                    self.left -= len(data)
                writer.write(data)
                await writer.drain()

    def reset(self) -> None:
        for writer in (self._client, self.broker):
            if writer is not None:
                with contextlib.suppress(OSError):
                    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                writer.transport.abort()

    def close_broker(self) -> None:
        if self.broker is not None:
            self.broker.transport.abort()

    def close(self) -> None:
        for writer in (self._client, self.broker):
            if writer is not None:
                writer.close()
