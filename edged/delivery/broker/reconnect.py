"""Staying connected: one connection after the other, with patience, and a sentence about what is in the way."""

import asyncio
import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

from edged.delivery.broker.access import Access
from edged.delivery.broker.client import PublishedWith, Will, to_publish_properties
from edged.delivery.broker.connection import COMMAND_BYTES, TAKEN_OVER, BrokerLimits, Connection, Disconnect
from edged.delivery.messages import OFFLINE
from edged.faults import StandingFault, to_standing

log = logging.getLogger("edged")

_TICK_S = 0.5
_STABLE_S = 5.0  # a connection that lived so long is not the next in a series of failures
_LONGEST_LOOPBACK_S, _LONGEST_S, _FIRST_S = 4.0, 30.0, 0.25
_NO_RETAIN, _NO_QOS = 0x9A, 0x9B  # reason codes of a CONNACK
_MOST_HANGING = 3  # connections that were given up before they were there, and whose thread still waits
_MANY_SHORT_LIVES = 4  # one more than a message that makes the broker hang up causes


@dataclass(frozen=True, slots=True)
class Down:
    """The end of a connection. `was_up`: the broker had accepted it. `by_broker`: it hung up, we did not give up.
    `live_lost`: live messages that the network had not taken yet. `is_silent`: nothing came any more."""

    reason: str
    was_up: bool
    by_broker: bool
    live_lost: int = 0
    is_silent: bool = False


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
        self.access, self._most_bytes, self._random = access, most_bytes, random_
        self._will = Will(will_topic, OFFLINE)
        self.connects = 0
        self._limits = BrokerLimits()
        self._now: Connection | None = None
        self._hanging: list[Connection] = []
        self._failures = 0
        self._doubt = False  # the last connection was given up because nothing came or was acknowledged, and nothing was since
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

    def fits(self, topic: str, payload: bytes, about: PublishedWith | None = None) -> bool:
        """Whether the broker takes a message of this size; it says so only with MQTT 5."""
        largest, more = self._limits.largest_bytes, about.size if about is not None else 0
        return not largest or len(topic.encode()) + len(payload) + more + 12 <= largest

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

    def close(self, *, keeps_will: bool = False) -> None:
        """Say goodbye. What was published goes out first. Nothing is told after it.

        `keeps_will`: without a word, so that the broker says by the last will what could not be said before.
        """
        self._closing = True
        self.on_message, self.on_acknowledged = _to_nobody, _to_nobody
        for timer in (self._timer, self._tick_timer):
            if timer:
                timer.cancel()
        if self._now is not None:
            self._now.shut() if keeps_will else self._now.say_goodbye()

    # what the connection tells

    def on_accepted(self, limits: BrokerLimits) -> None:
        assert self._now is not None
        self._limits = limits
        self._will = replace(self._will, qos=min(1, limits.most_qos), retain=limits.retain)  # of the next connection
        self.connects += 1
        self._trouble, self._warning = "", self._now.warning
        if limits.most_qos == 0:
            self._warning = f"the broker at {self.access.place} does not acknowledge (QoS 0 only): what it loses is lost"
        elif not limits.retain:
            self._warning = f"the broker at {self.access.place} keeps no retained messages: who subscribes later does not get them"
        log.info("connected to %s (MQTT %s)", self.access.place, "5" if self.access.version == 5 else "3.1.1")
        if self._warning:
            log.warning("%s", self._warning)
        self._hearer.on_up()

    def on_lost(self, connection: Connection, lost: Disconnect) -> None:
        if self._closing:
            return
        self._now = None
        self._hanging.append(connection)
        self._suspect_a_rival(connection, lost)
        sentence = f"no connection to {self.access.place}: {lost.reason}"
        if sentence != self._trouble:
            log.warning("%s", sentence)
        self._trouble = sentence
        self._doubt = self._doubt or lost.cause == "silent"
        was_up = connection.up_s is not None
        if not was_up:
            self._will = _to_lesser(self._will, lost.code)
        self._hearer.on_down(Down(lost.reason, was_up, lost.by_broker, connection.live_unsent, lost.cause == "silent"))
        self._timer = self._loop.call_later(self._random(0.0, self._longest_s()), self._connect)
        self._failures += 1

    def _suspect_a_rival(self, connection: Connection, lost: Disconnect) -> None:
        """Two clients with one id throw each other out for ever: the operator must know which two."""
        soon = connection.up_s is not None and time.monotonic() - connection.up_s < _STABLE_S
        self._short_lives = self._short_lives + 1 if soon and lost.by_broker and lost.cause != "nonsense" else 0
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
        self._hanging = [connection for connection in self._hanging if connection.hangs]
        if len(self._hanging) >= _MOST_HANGING:  # each is a thread; for years
            self._timer = self._loop.call_later(_TICK_S, self._connect)
            return
        self._now = Connection(self.access, self._will, self, self._most_bytes)

    def _tick(self) -> None:
        self._tick_timer = self._loop.call_later(_TICK_S, self._tick)
        if self._now is not None or self._timer is not None:
            self.turned_s = time.monotonic()
        if self._now is None:
            return
        if self._now.up_s is not None and time.monotonic() - self._now.up_s > _STABLE_S:
            self._failures, self._short_lives, self._rival = self._failures if self._doubt else 0, 0, ""
        self._now.tick()


def _to_lesser(will: Will, code: int) -> Will:
    """A will that the broker takes, where it refused this one. MQTT 5, 3.2.2.2: it must, before it has said what it can do."""
    if code == _NO_RETAIN:
        return replace(will, retain=False)
    return replace(will, qos=0) if code == _NO_QOS else will


def _to_nobody(*_told: object) -> None:
    """Answers to a connection that is over."""
