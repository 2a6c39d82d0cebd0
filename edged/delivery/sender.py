"""What is sent when: the one place that knows what waits, what is on its way, and what the answers mean.

One that was set aside goes alone; then retained topics, answers to commands, events, late events. At most `broker.window`
messages wait for an acknowledgement at any time.
"""

import asyncio
import logging
import time
from typing import Any

from edged.delivery.broker.inflight import REFUSALS, Became, InFlight, SendOutcome
from edged.delivery.broker.poison import Sent
from edged.delivery.broker.reconnect import Broker
from edged.delivery.live import Answer, Answers
from edged.delivery.messages import QOS, to_name
from edged.delivery.outbox.queue import Handed
from edged.delivery.outbox.rows import GAP, NO_EVENT, to_message
from edged.delivery.outbox.writer import Outbox
from edged.delivery.rate import TokenBucket
from edged.delivery.retained import Retained
from edged.delivery.standing import to_faults
from edged.errors import EdgedError
from edged.faults import StandingFault

log = logging.getLogger("edged")

EVENTS = "event"  # what the two lanes are to the broker's refusals and suspects
_TICK_S = 0.5
_REMEMBERED = 64  # events whose pictures may still come
_TOO_LARGE = 0x95
_LARGEST_ECHO_BYTES = 16 * 1024 - 256  # what the connection reads; of what is larger the acknowledgement is believed


class Sender:
    """To one broker, over all connections. Thread: the event loop's."""

    def __init__(self, broker: Broker, base: str, outbox: Outbox, retained: Retained, answers: Answers, pace: TokenBucket) -> None:
        self._broker, self._base, self._outbox = broker, base, outbox
        self._retained, self._answers, self._pace = retained, answers, pace
        self._flight = InFlight()
        self._sent_answers: dict[str, Answer] = {}
        self._refused: list[tuple[str, int]] = []  # why the last event was, and how many since one was taken
        self._connection = 0
        self._asked, self._drained = 0, False
        self._later: asyncio.TimerHandle | None = None
        self.sent_events: dict[int, str] = {}  # of the last ones: when it happened (monotonic ns), id
        self.idle = asyncio.Event()  # nothing waits that may be sent now, and nothing is on its way

    def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._tick()

    def close(self) -> None:
        for timer in (self._later, self._tick_timer):
            if timer:
                timer.cancel()

    def retained_changed(self, topic: str) -> None:
        self._flight.suspects.hurry(topic)
        self.pump()

    def forget(self, n: int) -> None:
        """This event was given up by the operator."""
        self._flight.suspects.acquit(n)

    # what the broker tells

    def on_up(self) -> None:
        self._connection += 1
        self._asked, self._drained = 0, False
        reads_back = self._broker.access.version == 4
        self._flight.begin(self._broker.window, reads_back=reads_back)
        for topic in ("event", "backlog") if reads_back else ():
            self._broker.subscribe(f"{self._base}/{topic}")
        self._retained.send_all()
        self.pump()

    def on_down(self, *, by_broker: bool, is_silent: bool) -> None:
        """`by_broker`: it had accepted the connection, and hung up. `is_silent`: or nothing came any more."""
        self._connection += 1
        self._asked = 0
        self._carry_out(self._flight.end(by_broker=by_broker, is_silent=is_silent))
        for key, answer in reversed(self._sent_answers.items()):
            self._flight.suspects.acquit(key)
            self._answers.again(answer)
        self._sent_answers.clear()
        self._outbox.release()
        self.idle.set()

    def on_acknowledged(self, mid: int, code: int) -> None:
        self._carry_out(self._flight.acknowledged(mid, code))
        if not self._flight.silent:
            self._broker.prove()
        self.pump()

    def heard(self, payload: bytes) -> None:
        """One of our own events came back."""
        self._carry_out(self._flight.heard(payload))
        self.pump()

    def _tick(self) -> None:
        """Twice a second: what waits for an answer or for its time."""
        self._tick_timer = self._loop.call_later(_TICK_S, self._tick)
        if not self._broker.connected:
            return
        if self._flight.overdue():
            self._broker.give_up("the broker does not acknowledge")
            return
        if self._flight.unsettled:
            self._carry_out(self._flight.settle())
        if numbers := self._flight.suspects.rows:
            self._outbox.ask(lambda outbox: outbox.gone(numbers), self._acquit)
        self.pump()

    def _acquit(self, gone: list[int], _error: EdgedError | None) -> None:
        """What expired or was dropped proves nothing any more, and must not keep the others waiting for each other."""
        for n in gone:
            self._flight.suspects.acquit(n)

    def _carry_out(self, verdicts: list[SendOutcome]) -> None:
        for verdict in verdicts:
            name = verdict.sent.name
            if isinstance(name, int):
                self._carry_out_row(name, verdict)
            elif name in self._sent_answers:
                del self._sent_answers[name]  # whatever the answer to it is: who asked will ask again
            elif verdict.became is Became.DELIVERED:
                self._retained.taken(name, verdict.sent.value)
            elif self._retained.refuse(name, verdict.sent.value, verdict.why):
                log.error("%s is not taken, and tried again: %s", to_name(self._base, name), verdict.why)

    def _carry_out_row(self, n: int, verdict: SendOutcome) -> None:
        if verdict.became is Became.DELIVERED:
            if not verdict.sent.is_gap:  # which is small, and tells of those that were refused
                self._refused.clear()
            self._outbox.acknowledged(n)
        elif verdict.became is Became.AGAIN:
            log.warning("an event is sent again later: %s", verdict.why)
            self._outbox.release(n)
        else:
            self._give_up(n, verdict.why)

    def _give_up(self, n: int, why: str) -> None:
        log.error("an event is given up: %s", why)
        self._refused = [(why, sum(count for _why, count in self._refused) + 1)]
        self._outbox.bury(n, why)

    # sending

    def pump(self) -> None:
        """Send what may be sent now."""
        if not self._broker.connected:
            return
        suspects = self._flight.suspects
        while self._room > 0 and (topic := self._retained.ready(suspects.is_aside)) is not None:
            self._send_value(topic)
        while self._room > 0 and (answer := self._answers.take()) is not None and self._send_answer(answer):
            pass
        if self._room <= 0 or self._asked:
            return
        if (trial := suspects.due(self._drained)) is not None:
            if self._flight.empty:
                self._drained = False
                self._try_again(trial)
        elif (wait_s := self._flight.wait_s) > 0:
            self._pump_later(wait_s)
        else:
            self._asked, connection = self._room, self._connection
            passed_over = frozenset(one.sent.name for one in suspects.aside)
            self._outbox.hand_out(
                self._asked, self._pace.allows(), passed_over, lambda handed, left: self._take(connection, handed, left)
            )

    @property
    def _room(self) -> int:
        return self._flight.room - self._asked

    def _take(self, connection: int, handed: list[Handed], left: int) -> None:
        if connection != self._connection:
            return  # and on_down has given them back
        self._asked = 0
        self._pace.spend(sum(one.late for one in handed))
        for number, one in enumerate(handed):
            if not self._send_row(one):  # the connection takes nothing now; the next ones may not overtake it
                for later in handed[number:]:
                    self._outbox.release(later.row.n)
                self._pump_later(_TICK_S)
                return
        self._drained = not handed
        if left > len(self.set_aside()) and not handed:  # else only those wait that others go past
            self._pump_later(self._pace.next_s)
        if not left and not handed and self._flight.empty:
            self._flight.no_rows_wait()
        if handed or self._flight.suspects.due(self._drained):
            self.pump()
        elif self._flight.empty and self._retained.ready(self._flight.suspects.is_aside) is None:
            self.idle.set()

    def _try_again(self, trial: Sent) -> None:
        """One that was set aside, alone."""
        if isinstance(trial.name, str):
            self._send_value(trial.name)
            return
        n, connection = trial.name, self._connection
        self._asked = self._broker.window

        def take(handed: list[Handed], left: int) -> None:
            if connection == self._connection and not handed:
                self._flight.suspects.acquit(n)  # it expired, or was discarded
            self._take(connection, handed, left)

        self._outbox.hand_out_one(n, take)

    def _send_row(self, one: Handed) -> bool:
        """False: it could not be handed to the connection."""
        topic = f"{self._base}/{'backlog' if one.late else 'event'}"
        try:
            payload = to_message(one.row, one.session, late=one.late)
        except NO_EVENT as error:  # its checksum is right: somebody wrote it who is not edged
            self._give_up(one.row.n, f"it is no event: {type(error).__name__}")
            return True
        n, size, is_gap = one.row.n, len(topic) + len(payload), one.row.kind == GAP
        echo = payload if size <= _LARGEST_ECHO_BYTES else b""
        title = f"{one.row.boot}-{one.row.seq}"
        sent = Sent(n, EVENTS, size, title, is_gap=is_gap, payload=echo, place=topic, at_s=time.monotonic())
        if not self._broker.fits(topic, payload):
            self._too_large(sent)
        elif (mid := self._broker.publish(topic, payload, qos=1)) is not None:
            self._flight.add(mid, sent)
            self.sent_events[one.row.happened_ns] = title
            if len(self.sent_events) > _REMEMBERED:
                del self.sent_events[next(iter(self.sent_events))]
        else:
            return False
        return True

    def _too_large(self, sent: Sent) -> None:
        assert isinstance(sent.name, int)
        if sent.is_gap:  # what tells of lost events is never given up
            self._flight.suspects.put_off(sent, _TOO_LARGE)
            self._outbox.release(sent.name)
        else:
            self._flight.suspects.acquit(sent.name)
            self._give_up(sent.name, REFUSALS[_TOO_LARGE])

    def _send_value(self, topic: str) -> None:
        value = self._retained.take(topic)
        name, qos = to_name(self._base, topic), QOS.get(topic, 1)
        if not self._broker.fits(name, value.payload):
            self._flight.suspects.acquit(topic)
            if self._retained.refuse(topic, value.number, "packet too large"):
                log.error("%s is not sent: larger than the broker takes", name)
        elif (mid := self._broker.publish(name, value.payload, qos=qos, retain=True)) is None:
            self._retained.send_again(topic, value.number)
        elif qos:
            size = len(name) + len(value.payload)
            self._flight.add(mid, Sent(topic, topic, size, topic, value=value.number, at_s=time.monotonic()))
        else:
            self._retained.taken(topic, value.number)

    def _send_answer(self, answer: Answer) -> bool:
        """False: it could not be handed to the connection."""
        name, key = f"{self._base}/{answer.topic}", f"{answer.topic} {id(answer)}"
        if not self._broker.fits(name, answer.payload):
            return True
        if (mid := self._broker.publish(name, answer.payload, qos=1)) is None:
            self._answers.again(answer)
            return False
        self._sent_answers[key] = answer
        size = len(name) + len(answer.payload)
        self._flight.add(mid, Sent(key, answer.topic, size, answer.topic, at_s=time.monotonic()))
        return True

    def _pump_later(self, delay_s: float) -> None:
        if self._later is None:
            self._later = self._loop.call_later(delay_s, self._pump_now)

    def _pump_now(self) -> None:
        self._later = None
        self.pump()

    # how it goes

    @property
    def faults(self) -> list[StandingFault]:
        return to_faults(self._flight, self._retained.refused, self._refused)

    def set_aside(self) -> list[dict[str, Any]]:
        """The events that others go past: n, id, size_bytes, why."""
        aside = (one for one in self._flight.suspects.aside if isinstance(one.sent.name, int))
        return [{"n": one.sent.name, "id": one.sent.title, "size_bytes": one.sent.size, "why": one.why} for one in aside]
