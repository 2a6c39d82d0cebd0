"""A broker that lies, as it is told to: enough of MQTT 5 and 3.1.1 for one client, with a fault in each place.

It runs in a thread of its own. `behave` is a Behaviour; `honest()` changes it at once, also for connections that are there.
"""

import asyncio
import contextlib
import random
import socket
import struct
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.e2e.running import HANG_S

CONNECT, CONNACK, PUBLISH, PUBACK, SUBSCRIBE, SUBACK, PINGREQ, PINGRESP, DISCONNECT = 1, 2, 3, 4, 8, 9, 12, 13, 14


@dataclass(frozen=True)
class Message:
    topic: str
    payload: bytes
    qos: int
    retain: bool
    number: int


@dataclass
class Behaviour:
    """What is wrong with it. Each returns what is sent in answer; None: nothing; RESET, CLOSE: the connection ends."""

    connack: Callable[[int], bytes | None] = lambda version: b"\x20\x03\x00\x00\x00" if version == 5 else b"\x20\x02\x00\x00"
    puback: Callable[[Message, int], bytes | None] = lambda message, version: puback(message.number, 0, version)
    after_connect: Callable[[int], bytes | None] = lambda version: None
    suback: Callable[[int, int], bytes | None] = lambda number, version: suback(number, 1, version)
    ping: bytes | None = b"\xd0\x00"
    packets_until_reset: int | None = None  # of the client, its CONNECT with them
    echo: bool = True  # to a subscriber of its own topics, as brokers do
    takes: Callable[[Message], bool] = lambda message: True  # whether a message that it acknowledges is kept
    stalls_on: Callable[[Message], bool] = lambda message: False  # from such a one on the connection is read and never answered
    slow_s: float = 0.0


RESET, CLOSE = b"reset", b"close"


def puback(number: int, code: int, version: int, kind: int = PUBACK) -> bytes:
    first = kind << 4 | (2 if kind == 6 else 0)
    if version == 5 and code:
        return bytes((first, 3)) + struct.pack(">HB", number, code)
    return bytes((first, 2)) + struct.pack(">H", number)


def suback(number: int, code: int, version: int) -> bytes:
    body = struct.pack(">H", number) + (b"\x00" if version == 5 else b"") + bytes((code,))
    return bytes((SUBACK << 4, len(body))) + body


def length(n: int) -> bytes:
    out = bytearray()
    while True:
        n, byte = n >> 7, n & 0x7F
        out.append(byte | (0x80 if n else 0))
        if not n:
            return bytes(out)


def publish(topic: str, payload: bytes, version: int, *, qos: int = 0, retain: bool = False, number: int = 1) -> bytes:
    name = topic.encode()
    body = struct.pack(">H", len(name)) + name + (struct.pack(">H", number) if qos else b"") + (b"\x00" if version == 5 else b"")
    return bytes((PUBLISH << 4 | qos << 1 | retain,)) + length(len(body) + len(payload)) + body + payload


@dataclass
class Seen:
    """What the broker holds: of retained topics the last value, and every message that it took."""

    retained: dict[str, bytes] = field(default_factory=dict)
    messages: list[Message] = field(default_factory=list)
    connections: int = 0
    subscriptions: list[tuple[str, int]] = field(default_factory=list)  # topic, options byte
    connects: list[bytes] = field(default_factory=list)  # CONNECT packets' bodies
    packets: Counter[int] = field(default_factory=Counter)


class FakeBroker:
    def __init__(self, behaviour: Behaviour | None = None, seed: int = 1) -> None:
        self.behave = behaviour or Behaviour()
        self.seen = Seen()
        self.random = random.Random(seed)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._writers: set[asyncio.StreamWriter] = set()
        self._flooding = False
        self.port = asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(5)

    async def _listen(self) -> int:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return int(server.sockets[0].getsockname()[1])

    def connected(self, number: int) -> None:
        """A client connects; the first has number 1."""

    def become(self, behaviour: Behaviour) -> None:
        self.behave = behaviour

    def reset_all(self) -> None:
        self._loop.call_soon_threadsafe(lambda: [_reset(writer) for writer in list(self._writers)])

    def send_all(self, raw: bytes) -> None:
        self._loop.call_soon_threadsafe(lambda: [writer.write(raw) for writer in list(self._writers)])

    def flood(self, head: bytes, size: int, *, wait_s: float = 120.0) -> None:
        """`head`, then so many zeros, to every connection; returns when the last is handed to the network."""
        asyncio.run_coroutine_threadsafe(self._flood(head, size), self._loop).result(wait_s)

    async def _flood(self, head: bytes, size: int) -> None:
        self._flooding = True
        for writer in list(self._writers):
            writer.write(head)
            for at in range(0, size, 65536):
                writer.write(bytes(min(65536, size - at)))
                await writer.drain()
        self._flooding = False

    def close(self) -> None:
        self.reset_all()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(HANG_S)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.seen.connections += 1
        self.connected(self.seen.connections)
        self._writers.add(writer)
        version, packets = 5, 0
        subscribed, stalled = set[str](), False
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while True:
                first = (await reader.readexactly(1))[0]
                size, shift = 0, 0
                while True:
                    byte = (await reader.readexactly(1))[0]
                    size |= (byte & 0x7F) << shift
                    shift += 7
                    if not byte & 0x80:
                        break
                body = await reader.readexactly(size)
                packets += 1
                while self._flooding:
                    await asyncio.sleep(0.01)  # an answer in the middle of a packet would be a part of it
                kind, behave = first >> 4, self.behave
                self.seen.packets[kind] += 1
                if behave.slow_s:
                    await asyncio.sleep(behave.slow_s)
                if behave.packets_until_reset is not None and packets > behave.packets_until_reset:
                    _reset(writer)
                    break
                if stalled:
                    continue
                if kind == CONNECT:
                    version = body[6]
                    self.seen.connects.append(body)
                    if not self._say(writer, behave.connack(version)) or not self._say(writer, behave.after_connect(version)):
                        break
                elif kind == PUBLISH:
                    message = _to_message(first, body, version)
                    stalled = behave.stalls_on(message)
                    if stalled:
                        continue
                    if message.qos == 0:
                        self._keep(message)
                        continue
                    answer = behave.puback(message, version)
                    if answer is not None and answer.startswith(puback(message.number, 0, version)) and behave.takes(message):
                        self._keep(message)
                        if behave.echo and message.topic in subscribed:
                            writer.write(publish(message.topic, message.payload, version))
                    if not self._say(writer, answer):
                        break
                elif kind == SUBSCRIBE:
                    number, at = struct.unpack(">H", body[:2])[0], 2
                    if version == 5:
                        at += 1 + body[2]
                    (name_bytes,) = struct.unpack(">H", body[at : at + 2])
                    topic = body[at + 2 : at + 2 + name_bytes].decode()
                    subscribed.add(topic)
                    self.seen.subscriptions.append((topic, body[at + 2 + name_bytes]))
                    if not self._say(writer, behave.suback(number, version)):
                        break
                elif kind == PINGREQ:
                    self._say(writer, behave.ping)
                elif kind == DISCONNECT:
                    break
        self._writers.discard(writer)
        writer.close()

    def _keep(self, message: Message) -> None:
        self.seen.messages.append(message)
        if message.retain:
            self.seen.retained[message.topic] = message.payload

    def _say(self, writer: asyncio.StreamWriter, answer: bytes | None) -> bool:
        if answer == RESET:
            _reset(writer)
        elif answer == CLOSE:
            writer.close()
        elif answer is not None:
            writer.write(answer)
        return answer not in (RESET, CLOSE)


def _reset(writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


def _to_message(first: int, body: bytes, version: int) -> Message:
    (size,) = struct.unpack(">H", body[:2])
    topic, at, qos = body[2 : 2 + size].decode(), 2 + size, first >> 1 & 3
    number = 0
    if qos:
        (number,) = struct.unpack(">H", body[at : at + 2])
        at += 2
    if version == 5:
        at += 1 + body[at]
    return Message(topic, body[at:], qos, bool(first & 1), number)
