"""The other side of the broker, for the commands that look at it: watch, audit and init."""

import asyncio
import contextlib
import logging
import sys
from collections.abc import Callable
from typing import Any

from edged.delivery.broker.access import Access
from edged.delivery.broker.reconnect import Broker, Down
from edged.errors import UnavailableError

_MOST_BYTES = 4 * 1024 * 1024  # a snapshot is smaller


class _Listening:
    """Subscribes at each connection. Thread: the event loop's."""

    def __init__(
        self,
        broker: Broker,
        topic: str,
        show: Callable[[str, bytes, bool], None],
        over: asyncio.Future[None],
        on_cut_off: Callable[[], None],
    ) -> None:
        self._broker, self._topic, self._show, self._over, self._on_cut_off = broker, topic, show, over, on_cut_off
        self.was_up = False

    def on_up(self) -> None:
        self.was_up = True
        self._broker.subscribe(self._topic, retained=True)

    def on_down(self, down: Down) -> None:
        if self.was_up:
            _say(f"{self._broker.degraded[0]}; trying again\n")
            self._on_cut_off()
        elif not self._over.done():
            who = "" if down.by_broker else "no broker at "
            self._over.set_exception(UnavailableError(f"{who}{self._broker.access.place}: {down.reason}"))

    def on_acknowledged(self, mid: int, code: int) -> None:
        pass

    def on_message(self, topic: str, payload: bytes, retained: bool) -> None:
        if not self._over.done():  # what could not be shown is the last: nothing may follow the hole
            self._show(topic, payload, retained)


def listen(
    access: Access,
    topic: str,
    show: Callable[[str, bytes, bool], None],
    *,
    seconds: float | None = None,
    on_cut_off: Callable[[], None] = lambda: None,
) -> None:
    """Call `show(topic, payload, retained)` with every message until the time is over.

    `on_cut_off` is called when the connection broke: what comes until there is another is not heard.
    Raises UnavailableError when the broker can't be reached at first, also where the time is over before; later it is waited for.
    Raises what `show` raises, and KeyboardInterrupt.
    """
    logging.getLogger("edged").addHandler(logging.NullHandler())  # what must be said is said here
    asyncio.run(_listen(access, topic, show, seconds, on_cut_off))


async def _listen(
    access: Access,
    topic: str,
    show: Callable[[str, bytes, bool], None],
    seconds: float | None,
    on_cut_off: Callable[[], None],
) -> None:
    over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    _end_with_faults(over)
    broker = Broker(access, will_topic="", most_bytes=_MOST_BYTES)
    listening = _Listening(broker, topic, show, over, on_cut_off)
    broker.start(listening)
    try:
        async with asyncio.timeout(seconds) as limit:
            await over
    except TimeoutError:
        if seconds is None or not limit.expired():  # it is what a callback raised
            raise
        if not listening.was_up:
            raise UnavailableError(f"no broker at {access.place}: no answer within {seconds:g} s") from None
    finally:
        broker.close()


def _end_with_faults(over: "asyncio.Future[Any]") -> None:
    """What a callback raises ends `over`: asyncio would print its traceback, go on, and end with 0."""

    def end(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if not isinstance(error, Exception):
            loop.default_exception_handler(context)
        elif not over.done():
            over.set_exception(error)

    asyncio.get_running_loop().set_exception_handler(end)


def _say(text: str) -> None:
    """To stderr; that nobody takes it there is no reason to end."""
    if sys.stderr is not None:
        with contextlib.suppress(OSError):
            sys.stderr.write(text)


def is_filter(topic: str) -> bool:
    """Whether a broker may be asked for it (MQTT 5.0, 4.7): + and # fill their level, and # is the last. Pure."""
    *first, last = topic.split("/")
    plain = [level for level in (*first, last) if level != "+"]
    if last == "#":
        plain.remove("#")
    return 0 < len(topic.encode(errors="replace")) <= 65535 and not any(c in level for level in plain for c in "+#\0")


class _Greeting:
    """Connects, and that is all. Thread: the event loop's."""

    def __init__(self, over: asyncio.Future[Down | None]) -> None:
        self._over = over

    def on_up(self) -> None:
        self._end(None)

    def on_down(self, down: Down) -> None:
        self._end(down)

    def on_acknowledged(self, mid: int, code: int) -> None:
        pass

    def on_message(self, topic: str, payload: bytes, retained: bool) -> None:
        pass

    def _end(self, down: Down | None) -> None:
        if not self._over.done():
            self._over.set_result(down)


def greet(access: Access, *, limit_s: float = 5.0) -> Down | None:
    """Why this broker does not take us; None when it does. Nothing is published. At most limit_s."""
    logging.getLogger("edged").addHandler(logging.NullHandler())
    return asyncio.run(_greet(access, limit_s))


async def _greet(access: Access, limit_s: float) -> Down | None:
    over: asyncio.Future[Down | None] = asyncio.get_running_loop().create_future()
    _end_with_faults(over)
    broker = Broker(access, will_topic="", most_bytes=_MOST_BYTES)
    broker.start(_Greeting(over))
    try:
        async with asyncio.timeout(limit_s) as limit:
            return await over
    except TimeoutError:
        if not limit.expired():
            raise
        return Down(f"no answer within {limit_s:g} s", was_up=False, by_broker=False)
    finally:
        broker.close()
