"""The one place where the daemon hands messages in, and where commands come out.

Durable events go through the outbox in two lanes; of a retained topic the last value is sent, and sent again after each
reconnect; live messages are sent now or not at all. At most `broker.window` messages wait for an answer at any time.
"""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from edged.delivery.broker.access import Access
from edged.delivery.broker.reconnect import Broker, Down
from edged.delivery.live import Answers, Live
from edged.delivery.messages import OFFLINE, ONLINE, Body, Event, Events, to_payload
from edged.delivery.outbox.rows import to_body
from edged.delivery.outbox.writer import Outbox
from edged.delivery.rate import TokenBucket
from edged.delivery.retained import Retained, Stamps
from edged.delivery.sender import Sender
from edged.faults import StandingFault, to_standing
from edged.system.clock import Clock

log = logging.getLogger("edged")

_MOVE_S = 1.0  # what saying goodbye to another broker may take
_GOODBYE_S = 0.4  # of the deadline of `close`, what saying offline may take


class Dispatch:
    """Thread: the courier's event loop."""

    def __init__(
        self, *, device: str, prefix: str, boot: str, outbox: Outbox, broker: Broker, clock: Clock, backlog_per_s: float = 50.0
    ) -> None:
        self._base = f"{prefix}/{device}"
        self._outbox, self._broker, self._clock = outbox, broker, clock
        self._handlers: dict[str, Callable[[bytes], None]] = {}
        self._stamps = Stamps(clock, boot)
        self._live, self._answers = Live(broker, self._base, self._stamps, clock), Answers()
        self._retained = Retained(self._stamps)
        self._retained.put("status", ONLINE, 0)
        self._pace = TokenBucket(backlog_per_s)
        self.on_said: Callable[[str, Body | str, int], None] = lambda _topic, _body, _ns: None  # all that is handed in below
        self._sender = self._new_sender()

    def _new_sender(self) -> Sender:
        return Sender(self._broker, self._base, self._outbox, self._retained, self._answers, self._pace)

    def start(self) -> None:
        """Open for business; connecting goes on in the background for ever."""
        self._outbox.start(self._pump)
        self._sender.start()
        self._broker.start(self)

    # what the daemon hands in

    def event(self, body: Event, happened_ns: int) -> None:
        """Durable: kept until a broker has it. `happened_ns` is monotonic."""
        self._outbox.put(to_body(body.model_dump()), happened_ns)
        self.on_said("event", body, happened_ns)

    def retain(self, topic: str, body: Body | str) -> None:
        """The value of a retained topic now; what was not yet sent of it is replaced. `/x/y`: not below our base, but x/y."""
        now_ns = self._clock.monotonic_ns()
        self._retained.put(topic, body, now_ns)
        self._sender.retained_changed(topic)
        self.on_said(topic, body, now_ns)

    def take_back(self, topic: str, then: Callable[[], None]) -> None:
        """Of a retained topic nothing is to be kept; `then` is called once the broker has taken that."""
        self._retained.take_back(topic, then)
        self._sender.retained_changed(topic)

    def live(self, topic: str, body: Body) -> bool:
        """Send now, or not at all; False, and counted, when there is nobody to send it to."""
        self.on_said(topic, body, self._clock.monotonic_ns())
        return self._live.send(topic, body)

    def picture(self, topic: str, jpeg: bytes, *, captured_ns: int, frame: int, event_ns: int) -> bool:
        """As `live`. captured_ns, event_ns: monotonic; the event that happened then is named, where it was sent already."""
        event = self._sender.sent_events.get(event_ns, "")
        return self._live.send_picture(topic, jpeg, captured_ns=captured_ns, frame=frame, event=event)

    def answer(self, topic: str, body: Body) -> None:
        """To who asked for something: not retained, QoS 1, for as long as it is of use."""
        now_ns = self._clock.monotonic_ns()
        self._answers.put(topic, to_payload(body, self._stamps.next(topic, now_ns)))
        self._pump()
        self.on_said(topic, body, now_ns)

    def on_command(self, topic: str, handler: Callable[[bytes], None]) -> None:
        """Call `handler` with the payload of each message on this topic; not with a retained one, which is no news."""
        self._handlers[topic] = handler
        self._broker_subscribe(topic)

    async def replay(self, since_s: float) -> int:
        """Send the events that were delivered in the last seconds again; how many."""
        return int(await self._ask_outbox(lambda outbox: outbox.replay(since_s)))

    async def letters(self, do: str, which: str = "") -> dict[str, Any]:
        """Dead letters and events that are set aside: list, retry or discard (`which`: an id, or all). Raises EdgedError."""
        aside = self._sender.set_aside()
        numbers = {str(one["id"]): int(one.pop("n")) for one in aside}
        answer: dict[str, Any] = await self._ask_outbox(lambda outbox: outbox.answer(do, which, numbers))
        if do == "discard" and which in numbers:
            self._sender.forget(numbers[which])
        return answer | ({"set_aside": aside} if do == "list" else {})

    async def _ask_outbox(self, question: Callable[[Outbox], Any]) -> Any:
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

        def take(value: Any, error: Exception | None) -> None:
            if not answer.done():
                answer.set_result(value) if error is None else answer.set_exception(error)

        self._outbox.ask(question, take)
        return await answer

    # how it goes

    def retained_values(self) -> dict[str, tuple[Body | str, int]]:
        """By topic: the value now, and when it came about (monotonic). Those of Home Assistant's discovery are among them."""
        return self._retained.values()

    def counters(self) -> Events:
        return self._outbox.counters

    @property
    def waiting_oldest_s(self) -> float:
        """Age of the oldest event that waits for a broker; 0 where none waits."""
        return round(self._outbox.oldest_s, 1)

    def ask_writer(self, answer: Callable[[], None]) -> None:
        """`answer` is called on the loop when the outbox's writer comes to it."""
        self._outbox.ask_writer(answer)

    @property
    def results_dropped(self) -> Counter[str]:
        return self._live.dropped

    @property
    def turned_s(self) -> float:
        """When the broker's clockwork last ticked, monotonic; also while there is no connection."""
        return self._broker.turned_s

    @property
    def broker_connects(self) -> int:
        return self._broker.connects

    @property
    def place(self) -> str:
        """Where the broker is: `host:port`."""
        return self._broker.access.place

    @property
    def connected(self) -> bool:
        return self._broker.connected

    @property
    def faults(self) -> list[StandingFault]:
        """What does not work as it should, between the outbox and the broker."""
        outbox = [to_standing("delivery", reason=sentence) for sentence in self._outbox.degraded]
        return [*self._broker.faults, *outbox, *self._sender.faults]

    @property
    def degraded(self) -> list[str]:
        return [fault.sentence for fault in self.faults]

    async def reconnect(self, device: str, prefix: str, access: Access) -> None:
        """Say `offline` where we were, and be there: another broker, account or name. What is durable waits for it."""
        await self._say_goodbye(time.monotonic() + _MOVE_S)
        self.on_down(Down("moved", was_up=False, by_broker=False))
        self._retained.forgive()
        self._retained.put("status", ONLINE, self._clock.monotonic_ns())
        connects, self._base = self._broker.connects, f"{prefix}/{device}"
        self._broker = Broker(access, f"{self._base}/status")
        self._broker.connects = connects
        self._live.move(self._broker, self._base)
        self._sender.close()
        self._sender = self._new_sender()
        self._sender.start()
        self._broker.start(self)

    async def _say_goodbye(self, ends_s: float) -> None:
        await self._until_idle(ends_s - time.monotonic() - _GOODBYE_S)
        if self.connected:
            self.retain("status", OFFLINE)
            await self._until_idle(ends_s - time.monotonic())
        self._broker.close(keeps_will=self._retained.waits("status"))

    async def close(self, deadline_s: float) -> None:
        """Send what can be sent, say `offline`, hang up, close the outbox."""
        ends_s = time.monotonic() + deadline_s
        await self._say_goodbye(ends_s)
        self._sender.close()
        await asyncio.to_thread(self._outbox.close, max(0.5, ends_s - time.monotonic()))

    async def _until_idle(self, deadline_s: float) -> None:
        self._sender.idle.clear()
        self._pump()
        if self.connected and deadline_s > 0:
            try:
                async with asyncio.timeout(deadline_s):
                    await self._sender.idle.wait()
            except TimeoutError:
                log.info("not everything could be sent in time; what is durable is kept")

    def _pump(self) -> None:
        self._sender.pump()

    # what the broker tells

    def on_up(self) -> None:
        for topic in (*self._handlers, "status"):
            self._broker_subscribe(topic)
        self._sender.on_up()

    def on_down(self, down: Down) -> None:
        self._live.lost(down.live_lost)
        self._sender.on_down(by_broker=down.was_up and down.by_broker, is_silent=down.is_silent)

    def on_acknowledged(self, mid: int, code: int) -> None:
        self._sender.on_acknowledged(mid, code)

    def on_message(self, topic: str, payload: bytes, retained: bool) -> None:
        if topic in (f"{self._base}/event", f"{self._base}/backlog"):
            self._sender.heard(payload)
            return
        if topic == f"{self._base}/status":
            if not retained:  # the last will of a connection that is long gone, which comes late
                self._retained.heard("status", payload)
            return
        handler = self._handlers.get(topic.removeprefix(f"{self._base}/"))
        if handler and not retained:
            handler(payload)

    def _broker_subscribe(self, topic: str) -> None:
        if self.connected:
            self._broker.subscribe(f"{self._base}/{topic}")
