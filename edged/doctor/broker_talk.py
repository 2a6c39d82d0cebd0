"""One short conversation with the broker, under a client id of its own, on a topic that nobody else uses."""

import asyncio
import contextlib
import json
import os
from dataclasses import dataclass, field, replace
from typing import Any

from edged.delivery.broker.access import Access, Cause
from edged.delivery.broker.connection import BrokerLimits, Connection, Disconnect

LIMIT_S = 6.0
_TICK_S = 0.1
_ECHO_S = 1.5  # an acknowledged message that has not come back by then does not


@dataclass
class Talk:
    """What was learnt. `lost`, `cause`: why the connection ended, or never was; echoes and refusals are by size in bytes."""

    accepted: bool = False
    lost: str = ""
    cause: Cause = ""
    code: int = 0
    limits: BrokerLimits = field(default_factory=BrokerLimits)
    warning: str = ""
    echoed: set[int] = field(default_factory=set)
    acknowledged: dict[int, int] = field(default_factory=dict)
    retained: dict[str, bytes] = field(default_factory=dict)  # by topic below our base; those of others by their whole name
    asked: tuple[int, ...] = ()


def talk(access: Access, base: str, sizes: tuple[int, ...]) -> Talk:
    """Connect as `<client id>-doctor`, send messages of these sizes to `<base>/doctor`, hear them and what is retained.

    Nothing is retained and there is no last will, so that no subscriber of edged's topics hears of it. At most LIMIT_S.
    """
    access = replace(access, client_id=f"{access.client_id}-doctor-{os.urandom(2).hex()}")
    return asyncio.run(_talk(access, base, sizes))


async def _talk(access: Access, base: str, sizes: tuple[int, ...]) -> Talk:
    ours = _Ours(base, sizes)
    connection = Connection(access, None, ours, most_bytes=max(sizes) + 1024)
    ours.connection = connection
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(LIMIT_S):
            while not ours.over.is_set():
                connection.tick()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_TICK_S):
                        await ours.over.wait()
    if not ours.found.accepted and not ours.found.lost:
        ours.found.lost = f"no answer within {LIMIT_S:g} s"
    ours.found.warning = connection.warning
    connection.say_goodbye()
    return ours.found


class _Ours:
    """The owner of the connection. Thread: the event loop's."""

    def __init__(self, base: str, sizes: tuple[int, ...]) -> None:
        self.found, self.over, self._base, self._left = Talk(), asyncio.Event(), base, list(sizes)
        self.connection: Connection | None = None
        self._mids: dict[int, int] = {}
        self._sent: dict[bytes, int] = {}

    def on_accepted(self, limits: BrokerLimits) -> None:
        assert self.connection is not None
        self.found.accepted, self.found.limits = True, limits
        prefix = self._base.rpartition("/")[0]
        for topic in (f"{prefix}/+/status", f"{prefix}/+/info", f"{self._base}/health", f"{self._base}/doctor"):
            self.connection.subscribe(topic, retained=True)
        self._send_next()

    def _send_next(self) -> None:
        """Smallest first: one that is too large may end the connection."""
        assert self.connection is not None
        if not self._left:
            self.over.set()
            return
        size = self._left.pop(0)
        largest = self.found.limits.largest_bytes
        if largest and size + len(self._base) + 20 > largest:
            self.over.set()
            return
        payload = to_payload(size)
        mid = self.connection.publish(f"{self._base}/doctor", payload, 1, False)
        self.found.asked += (size,)
        self._sent[payload] = size
        if mid is None:
            self.over.set()
        else:
            self._mids[mid] = size
            asyncio.get_running_loop().call_later(LIMIT_S / 3, self._give_up, size)

    def _give_up(self, size: int) -> None:
        if size not in self.found.echoed:
            self.over.set()

    def on_lost(self, connection: Connection, lost: Disconnect) -> None:
        self.found.lost, self.found.code, self.found.cause = lost.reason, lost.code, lost.cause
        self.over.set()

    def on_acknowledged(self, mid: int, code: int) -> None:
        size = self._mids.get(mid)
        if size is None:
            return
        self.found.acknowledged[size] = code
        if code >= 0x80:
            self.over.set()
        else:
            asyncio.get_running_loop().call_later(_ECHO_S, self._give_up, size)

    def on_message(self, topic: str, payload: bytes, retained: bool) -> None:
        if retained:
            self.found.retained[topic.removeprefix(f"{self._base}/")] = payload
        elif (size := self._sent.get(payload)) is not None and size not in self.found.echoed:
            self.found.echoed.add(size)
            self._send_next()


def to_payload(size: int) -> bytes:
    """A JSON object of exactly so many bytes, if that is enough for one; no two are the same."""
    shell: dict[str, Any] = {"doctor": os.urandom(6).hex(), "fill": ""}
    shell["fill"] = "." * max(0, size - len(json.dumps(shell)))
    return json.dumps(shell).encode()
