"""The one place where the daemon hands messages in, and where commands come out.

Durable events go through the outbox in two lanes; of a retained topic the last value is sent, and sent again after each
reconnect; live messages are sent now or not at all. At most `broker.window` messages wait for an answer at any time.
"""

import asyncio
import logging
import time
from collections.abc import Callable

from edged.delivery.broker.access import Access
from edged.delivery.broker.poison import Suspects
from edged.delivery.broker.readback import Echoes
from edged.delivery.broker.reconnect import Broker, Down
from edged.delivery.messages import OFFLINE, ONLINE, QOS, Body, Event, Events, to_payload
from edged.delivery.outbox.queue import Handed
from edged.delivery.outbox.rows import to_body, to_message
from edged.delivery.outbox.writer import Outbox
from edged.delivery.rate import TokenBucket
from edged.delivery.retained import Retained, Stamps
from edged.system.clock import Clock

log = logging.getLogger("edged")

# reason codes that no second attempt changes: not authorized, topic name invalid, packet too large, payload format invalid
REFUSALS = {0x87: "not authorized", 0x90: "topic name invalid", 0x95: "packet too large", 0x99: "payload format invalid"}
_FAILURE = 0x80  # reason codes from here on are failures; MQTT 5, 2.4
_AGAIN_S, _LONGEST_AGAIN_S = 0.5, 30.0
_ECHO_S = 0.5
_MOVE_S = 1.0  # what saying goodbye to another broker may take
_GOODBYE_S = 0.4  # of the deadline of `close`, what saying offline may take


class Dispatch:
    """Thread: the courier's event loop."""

    def __init__(
        self, *, device: str, prefix: str, boot: str, outbox: Outbox, broker: Broker, clock: Clock, backlog_per_s: float = 50.0
    ) -> None:
        self._base = f"{prefix}/{device}"
        self._outbox, self._broker, self._clock = outbox, broker, clock
        self._pace = TokenBucket(backlog_per_s)
        self._handlers: dict[str, Callable[[bytes], None]] = {}
        self._stamps = Stamps(clock, boot)
        self._retained = Retained(self._stamps)
        self._retained.put("status", ONLINE, 0)
        self._flying: dict[int, str | Handed] = {}  # by message number: a topic, or a row
        self._suspects = Suspects()
        self._echoes: Echoes | None = None  # where acknowledgements can't be believed
        self._connection = 0
        self._asking = False
        self._again_s, self._not_before_s = _AGAIN_S, 0.0
        self._later: asyncio.TimerHandle | None = None
        self._settling: asyncio.TimerHandle | None = None
        self._idle = asyncio.Event()
        self.results_dropped: dict[str, int] = {}

    def start(self) -> None:
        """Open for business; connecting goes on in the background for ever."""
        self._loop = asyncio.get_running_loop()
        self._outbox.start(self._pump)
        self._broker.start(self)

    # what the daemon hands in

    def event(self, body: Event, happened_ns: int) -> None:
        """Durable: kept until a broker has it. `happened_ns` is monotonic."""
        self._outbox.put(to_body(body.model_dump()), happened_ns)

    def retain(self, topic: str, body: Body | str) -> None:
        """The value of a retained topic now; what was not yet sent of it is replaced."""
        self._retained.put(topic, body, self._clock.monotonic_ns())
        self._pump()

    def live(self, topic: str, body: Body) -> bool:
        """Send now, or not at all; False, and counted, when there is nobody to send it to."""
        why_not = self._why_not()
        if not why_not:
            payload = to_payload(body, self._stamps.next(topic, self._clock.monotonic_ns()))
            return self.live_bytes(topic, payload)
        return self._drop(why_not)

    def live_bytes(self, topic: str, payload: bytes) -> bool:
        """As `live`, for what is not JSON."""
        if why_not := self._why_not():
            return self._drop(why_not)
        name = f"{self._base}/{topic}"
        if not self._broker.fits(name, payload):
            return self._drop("too_large")
        return self._broker.publish(name, payload, qos=0) is not None or self._drop("offline")

    def on_command(self, topic: str, handler: Callable[[bytes], None]) -> None:
        """Call `handler` with the payload of each message on this topic; not with a retained one, which is no news."""
        self._handlers[topic] = handler
        self._broker_subscribe(topic)

    async def replay(self, since_s: float) -> int:
        """Send the events that were delivered in the last seconds again; how many."""
        answer: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._outbox.replay(since_s, lambda count: None if answer.done() else answer.set_result(count))
        return await answer

    # how it goes

    def counters(self) -> Events:
        return self._outbox.counters

    def ask_writer(self, answer: Callable[[], None]) -> None:
        """`answer` is called on the loop when the outbox's writer comes to it."""
        self._outbox.ask_writer(answer)

    @property
    def turned_s(self) -> float:
        """When the broker's clockwork last ticked, monotonic; also while there is no connection."""
        return self._broker.turned_s

    @property
    def broker_connects(self) -> int:
        return self._broker.connects

    @property
    def connected(self) -> bool:
        return self._broker.connected

    @property
    def degraded(self) -> list[str]:
        return [*self._broker.degraded, *self._outbox.degraded, *self._retained.degraded]

    async def reconnect(self, device: str, prefix: str, access: Access) -> None:
        """Say `offline` where we were, and be there: another broker, account or name. What is durable waits for it."""
        await self._say_goodbye(time.monotonic() + _MOVE_S)
        self.on_down(Down("moved", was_up=False, by_broker=False))
        self._retained.forgive()
        self._suspects = Suspects()
        self._retained.put("status", ONLINE, self._clock.monotonic_ns())
        connects, self._base = self._broker.connects, f"{prefix}/{device}"
        self._broker = Broker(access, f"{self._base}/status")
        self._broker.connects = connects
        self._broker.start(self)

    async def _say_goodbye(self, ends_s: float) -> None:
        await self._until_idle(ends_s - time.monotonic() - _GOODBYE_S)
        if self.connected:
            self.retain("status", OFFLINE)
            await self._until_idle(ends_s - time.monotonic())
        self._broker.close()

    async def close(self, deadline_s: float) -> None:
        """Send what can be sent, say `offline`, hang up, close the outbox."""
        ends_s = time.monotonic() + deadline_s
        await self._say_goodbye(ends_s)
        for timer in (self._later, self._settling):
            if timer:
                timer.cancel()
        await asyncio.to_thread(self._outbox.close, max(0.5, ends_s - time.monotonic()))

    async def _until_idle(self, deadline_s: float) -> None:
        self._idle.clear()
        self._pump()
        if self.connected and deadline_s > 0:
            try:
                await asyncio.wait_for(self._idle.wait(), deadline_s)
            except TimeoutError:
                log.info("not everything could be sent in time; what is durable is kept")

    # what the broker tells

    def on_up(self) -> None:
        self._connection += 1
        self._flying.clear()
        self._asking = False
        self._not_before_s, self._again_s = 0.0, _AGAIN_S
        for topic in self._handlers:
            self._broker_subscribe(topic)
        self._echoes = Echoes() if self._broker.access.version == 4 else None
        for topic in ("event", "backlog") if self._echoes else ():
            self._broker_subscribe(topic)
        self._retained.send_all()
        self._pump()

    def on_down(self, down: Down) -> None:
        self._connection += 1
        self._asking = False
        flying = [thing if isinstance(thing, str) else thing.row.n for thing in self._flying.values()]
        self._flying.clear()
        if down.was_up and down.by_broker:
            for guilty in self._suspects.accuse(flying):
                self._refuse(guilty, "ended the connection three times")
        self._outbox.release()
        self._idle.set()

    def on_acknowledged(self, mid: int, code: int) -> None:
        thing = self._flying.pop(mid, None)
        if thing is None:
            return
        name = thing if isinstance(thing, str) else thing.row.n
        if code in REFUSALS:
            self._refuse(name, REFUSALS[code])
        elif code >= _FAILURE:
            self._put_off(name, code)
        elif isinstance(name, int):
            self._again_s = _AGAIN_S
            if self._echoes is None or self._echoes.acknowledged(name):
                self._outbox.acknowledged(name)
            else:
                self._settle_echoes()
        self._suspects.acquit(name)
        self._pump()

    def on_message(self, topic: str, payload: bytes, retained: bool) -> None:
        if self._echoes and topic in (f"{self._base}/event", f"{self._base}/backlog"):
            self._echoes.heard(payload)
            self._settle_echoes()
            return
        handler = self._handlers.get(topic.removeprefix(f"{self._base}/"))
        if handler and not retained:
            handler(payload)

    def _settle_echoes(self) -> None:
        """Acknowledged messages that had to come back: those that did are delivered, those that never will are given up."""
        if self._echoes is None or not self.connected:
            return
        for n, passed in self._echoes.settled():
            if passed:
                self._outbox.acknowledged(n)
            else:
                self._refuse(n, "acknowledged, but never passed on: too large for the broker")
        if self._echoes.waiting and self._settling is None:
            self._settling = self._loop.call_later(_ECHO_S, self._settle_later)
        self._pump()

    def _settle_later(self) -> None:
        self._settling = None
        self._settle_echoes()

    # sending

    def _pump(self) -> None:
        """Send what may be sent now: retained topics first, then events, then late ones."""
        if not self.connected:
            return
        while self._retained.unsent and self._room() > 0:
            self._send_value(*self._retained.take())
        now_s = time.monotonic()
        if now_s < self._not_before_s:
            self._pump_later(self._not_before_s - now_s)
        elif (room := self._room()) > 0 and not self._asking:
            self._asking, connection = True, self._connection
            self._outbox.hand_out(room, self._pace.allows(), lambda handed, left: self._take(connection, handed, left))

    def _take(self, connection: int, handed: list[Handed], left: int) -> None:
        if connection != self._connection:
            return  # and on_down has given them back
        self._asking = False
        self._pace.spend(sum(one.late for one in handed))
        for one in handed:
            self._send_row(one)
        if left and not handed:
            self._pump_later(self._pace.next_s)
        elif handed:
            self._pump()
        elif self._room() == self._broker.window and not self._retained.unsent:
            self._idle.set()

    def _send_row(self, one: Handed) -> None:
        topic = f"{self._base}/{'backlog' if one.late else 'event'}"
        payload = to_message(one.row, one.session, late=one.late)
        if not self._broker.fits(topic, payload):
            self._refuse(one.row.n, "packet too large")
        elif (mid := self._broker.publish(topic, payload, qos=1)) is not None:
            self._flying[mid] = one
            if self._echoes:
                self._echoes.sent(one.row.n, payload)
            self._suspects.sent(one.row.n)

    def _send_value(self, topic: str, payload: bytes) -> None:
        name, qos = f"{self._base}/{topic}", QOS.get(topic, 1)
        if not self._broker.fits(name, payload):
            self._refuse(topic, "packet too large")
        elif (mid := self._broker.publish(name, payload, qos=qos, retain=True)) is not None and qos:
            self._flying[mid] = topic
            self._suspects.sent(topic)

    def _room(self) -> int:
        return (
            (1 if self._suspects.any else self._broker.window) - len(self._flying) - (self._echoes.waiting if self._echoes else 0)
        )

    def _refuse(self, name: str | int, why: str) -> None:
        if isinstance(name, int):
            log.error("an event is given up: %s", why)
            self._outbox.bury(name, why)
        else:
            log.error("%s/%s is not sent until it changes: %s", self._base, name, why)
            self._retained.refuse(name, why)
        self._suspects.acquit(name)

    def _put_off(self, name: str | int, code: int) -> None:
        """The broker can't take it now."""
        log.warning("the broker refused a message for now (reason code 0x%02x)", code)
        if isinstance(name, int):
            self._outbox.release(name)
        else:
            self._retained.send_again(name)
        self._not_before_s = time.monotonic() + self._again_s
        self._again_s = min(_LONGEST_AGAIN_S, self._again_s * 2)

    def _pump_later(self, delay_s: float) -> None:
        if self._later is None:
            self._later = self._loop.call_later(delay_s, self._pump_now)

    def _pump_now(self) -> None:
        self._later = None
        self._pump()

    def _broker_subscribe(self, topic: str) -> None:
        if self.connected:
            self._broker.subscribe(f"{self._base}/{topic}")

    def _why_not(self) -> str:
        if not self.connected:
            return "offline"
        return "" if self._broker.has_room else "slow"

    def _drop(self, reason: str) -> bool:
        self.results_dropped[reason] = self.results_dropped.get(reason, 0) + 1
        return False
