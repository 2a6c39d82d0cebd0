"""Staying connected: one connection after the other, with patience, and a sentence about what is in the way."""

import asyncio
import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from edged.delivery.broker.access import Access
from edged.delivery.broker.client import PublishedWith, to_publish_properties
from edged.delivery.broker.connection import COMMAND_BYTES, TAKEN_OVER, BrokerLimits, Connection, Disconnect
from edged.faults import StandingFault, to_standing

log = logging.getLogger("edged")

_TICK_S = 0.5
_STABLE_S = 5.0  # a connection that lived so long is not the next in a series of failures
_LONGEST_LOOPBACK_S, _LONGEST_S, _FIRST_S = 4.0, 30.0, 0.25
_MANY_SHORT_LIVES = 4  # one more than a message that makes the broker hang up causes


@dataclass(frozen=True, slots=True)
class Down:
    """The end of a connection. `was_up`: the broker had accepted it. `by_broker`: it hung up, we did not give up.
    `live_lost`: live messages that the network had not taken yet."""

    reason: str
    was_up: bool
    by_broker: bool
    live_lost: int = 0


class Hearer(Protocol):
    """What the broker door tells. Thread: the event loop's; never from within a call of Broker."""

    def on_up(self) -> None: ...
    def on_down(self, down: Down) -> None: ...
    def on_acknowledged(self, mid: int, code: int) -> None: ...
    def on_message(self, topic: str, payload: bytes, retained: bool) -> None: ...


class Broker:
    """Thread: the event loop's."""

    def __init__(
        self,
        access: Access,
        will_topic: str,
        *,
        most_bytes: int = COMMAND_BYTES,
        random_: Callable[[float, float], float] = random.uniform,
    ) -> None:
        """`most_bytes`: a larger packet from the broker is thrown away while it is read."""
        self.access, self._will_topic, self._most_bytes, self._random = access, will_topic, most_bytes, random_
        self.connects = 0
        self._limits = BrokerLimits()
        self._now: Connection | None = None
        self._failures = 0
        self._doubt = False  # the last connection was given up because nothing was acknowledged, and nothing was since
        self._short_lives = 0  # connections in a row that the broker soon ended
        self._closing = False
        self._trouble = self._warning = ""
        self._rival = ""  # a sentence about another client with our id
        self._timer: asyncio.TimerHandle | None = None
        self.turned_s = time.monotonic()  # the last tick that found a connection, or the next attempt at one

    def start(self, hearer: Hearer) -> None:
        """Connect, and again whenever it is needed, until `close`."""
        self._loop, self._hearer = asyncio.get_running_loop(), hearer
        self.on_message: Callable[..., None] = hearer.on_message
        self.on_acknowledged: Callable[..., None] = hearer.on_acknowledged
        self._connect()
        self._tick()

    @property
    def connected(self) -> bool:
        return self._now is not None and self._now.up_s is not None and not self._now.over

    @property
    def window(self) -> int:
        """Messages that may wait for their acknowledgement."""
        return self._limits.window

    @property
    def has_room(self) -> bool:
        """Whether the network takes live messages as fast as they come."""
        return self._now is not None and self._now.has_room

    @property
    def faults(self) -> list[StandingFault]:
        found = {"broker": self._trouble, "client_id_taken": self._rival, "broker_warning": self._warning}
        return [to_standing(kind, reason=sentence) for kind, sentence in found.items() if sentence]

    @property
    def degraded(self) -> list[str]:
        return [fault.sentence for fault in self.faults]

    def fits(self, topic: str, payload: bytes) -> bool:
        """Whether the broker takes a message of this size; it says so only with MQTT 5."""
        largest = self._limits.largest_bytes
        return not largest or len(topic.encode()) + len(payload) + 12 <= largest

    def publish(
        self, topic: str, payload: bytes, *, qos: int, retain: bool = False, about: PublishedWith | None = None
    ) -> int | None:
        """Hand a message to the connection; its number, for `on_acknowledged`, or None when there is no connection."""
        if self._now is None or not self.connected:
            return None
        properties = to_publish_properties(about) if about is not None and self.access.version == 5 else None
        return self._now.publish(topic, payload, qos, retain, properties)

    def subscribe(self, topic: str, *, retained: bool = False) -> None:
        """`retained`: also what the broker keeps; with MQTT 3.1.1 it sends that in any case."""
        if self._now is not None and self.connected:
            self._now.subscribe(topic, retained=retained)

    def give_up(self, reason: str) -> None:
        """End a connection that is of no use, and wait longer each time before the next, until `prove` is called."""
        self._doubt = True
        if self._now is not None:
            self._now.lose(reason)

    def prove(self) -> None:
        """Something was acknowledged."""
        self._doubt = False

    def close(self) -> None:
        """Say goodbye. What was published goes out first. Nothing is told after it."""
        self._closing = True
        self.on_message, self.on_acknowledged = _to_nobody, _to_nobody
        for timer in (self._timer, self._tick_timer):
            if timer:
                timer.cancel()
        if self._now is not None:
            self._now.say_goodbye()

    # what the connection tells

    def on_accepted(self, limits: BrokerLimits) -> None:
        assert self._now is not None
        self._limits = limits
        self.connects += 1
        self._trouble, self._warning = "", self._now.warning
        if limits.most_qos == 0:
            self._warning = f"the broker at {self.access.place} does not acknowledge (QoS 0 only): what it loses is lost"
        log.info("connected to %s (MQTT %s)", self.access.place, "5" if self.access.version == 5 else "3.1.1")
        if self._warning:
            log.warning("%s", self._warning)
        self._hearer.on_up()

    def on_lost(self, connection: Connection, lost: Disconnect) -> None:
        if self._closing:
            return
        self._now = None
        self._suspect_a_rival(connection, lost)
        sentence = f"no connection to {self.access.place}: {lost.reason}"
        if sentence != self._trouble:
            log.warning("%s", sentence)
        self._trouble = sentence
        self._hearer.on_down(Down(lost.reason, connection.up_s is not None, lost.by_broker, connection.live_unsent))
        self._timer = self._loop.call_later(self._random(0.0, self._longest_s()), self._connect)
        self._failures += 1

    def _suspect_a_rival(self, connection: Connection, lost: Disconnect) -> None:
        """Two clients with one id throw each other out for ever: the operator must know which two."""
        soon = connection.up_s is not None and time.monotonic() - connection.up_s < _STABLE_S
        self._short_lives = self._short_lives + 1 if soon and lost.by_broker else 0
        who = f'another client with the id "{self.access.client_id}"'
        if lost.code == TAKEN_OVER:
            self._rival = f"{who} took over the connection; give each its own mqtt.client_id"
        elif self._short_lives >= _MANY_SHORT_LIVES:  # Mosquitto 2.0 and MQTT 3.1.1 do not say why
            self._rival = f"the broker ends each connection soon: perhaps {who}; give each its own mqtt.client_id"
        else:
            return
        log.warning("%s", self._rival)

    def _longest_s(self) -> float:
        """Full jitter: a random part of a delay that doubles, so that many boards do not come back at once.

        https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
        """
        longest = _LONGEST_LOOPBACK_S if self.access.on_loopback else _LONGEST_S
        first = longest if self._rival else _FIRST_S  # two that fight must not do it often
        return float(min(longest, first * 2 ** min(self._failures, 20)))

    def _connect(self) -> None:
        self._timer = None
        self._now = Connection(self.access, self._will_topic, self, self._most_bytes)

    def _tick(self) -> None:
        self._tick_timer = self._loop.call_later(_TICK_S, self._tick)
        if self._now is not None or self._timer is not None:
            self.turned_s = time.monotonic()
        if self._now is None:
            return
        if self._now.up_s is not None and time.monotonic() - self._now.up_s > _STABLE_S:
            self._failures, self._short_lives, self._rival = self._failures if self._doubt else 0, 0, ""
        self._now.tick()


def _to_nobody(*_told: object) -> None:
    """Answers to a connection that is over."""
