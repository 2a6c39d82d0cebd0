"""The one door to MQTT, and the only file that knows paho.

paho's own thread, queue and reconnecting are not used: its queue forgets, its thread dies of an exception, and after a
broken connection it sends what it likes. Each connection gets a fresh client, driven by the event loop; only finding
the host and shaking hands wait in a thread, because they may hang. Read paho 2.2's client.py before changing this.
"""

import asyncio
import logging
import random
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.exception import MQTTException

from edged.delivery.access import Access, AccessError, check_plain_password, load_password, to_tls
from edged.delivery.messages import OFFLINE

log = logging.getLogger("edged")

WINDOW = 16  # unacknowledged messages at most; the broker may want fewer
_QUIET_S = 4  # a connection on which nothing was heard is asked after so long, and given up after so long again
_HANDSHAKE_S = 20.0  # for finding the host, TCP and TLS
_CONNACK_S = 8.0
_TICK_S = 0.5
_STABLE_S = 5.0  # a connection that lived so long is not the next in a series of failures
_LONGEST_LOOPBACK_S, _LONGEST_S, _FIRST_S = 4.0, 30.0, 0.25
_MOST_UNSENT = 8  # live messages that the network has not taken yet
_TAKEN_OVER = 0x8E
_MANY_SHORT_LIVES = 4  # one more than a message that makes the broker hang up causes
# what paho is known or able to raise on bytes it did not expect
_PAHO_FAULTS = (
    OSError,
    ValueError,
    LookupError,
    AttributeError,
    TypeError,
    AssertionError,
    RuntimeError,
    struct.error,
    MQTTException,
)


@dataclass(frozen=True, slots=True)
class Down:
    """The end of a connection. `was_up`: the broker had accepted it. `by_broker`: it hung up, we did not give up."""

    reason: str
    was_up: bool
    by_broker: bool


class Hearer(Protocol):
    """What the broker door tells. Thread: the event loop's; never from within a call of Broker."""

    def on_up(self) -> None: ...
    def on_down(self, down: Down) -> None: ...
    def on_acknowledged(self, mid: int, code: int) -> None: ...
    def on_message(self, topic: str, payload: bytes, retained: bool) -> None: ...


@dataclass(slots=True)
class _Connection:
    """One attempt and the connection that came of it."""

    client: paho.Client
    started_s: float
    opened_s: float | None = None  # TCP and TLS are there
    up_s: float | None = None  # the broker said yes
    sock: Any = None
    over: bool = False
    warning: str = ""
    unsent: set[int] = field(default_factory=set)


class Broker:
    """Thread: the event loop's."""

    def __init__(self, access: Access, will_topic: str, *, random_: Callable[[float, float], float] = random.uniform) -> None:
        self.access, self._will_topic, self._random = access, will_topic, random_
        self.connects = 0
        self.window = WINDOW
        self._largest_bytes = 0
        self._most_qos, self._retain = 2, True
        self._now: _Connection | None = None
        self._failures = 0
        self._closing = False
        self._trouble = ""
        self._warning = ""
        self._rival = ""  # a sentence about another client with our id
        self._short_lives = 0  # connections in a row that the broker soon ended
        self._timer: asyncio.TimerHandle | None = None
        self._hanging: list[threading.Thread] = []

    def start(self, hearer: Hearer) -> None:
        self._loop, self._hearer = asyncio.get_running_loop(), hearer
        self._connect()
        self._tick()

    @property
    def connected(self) -> bool:
        return self._now is not None and self._now.up_s is not None and not self._now.over

    @property
    def degraded(self) -> list[str]:
        return [sentence for sentence in (self._trouble, self._rival, self._warning) if sentence]

    def fits(self, topic: str, payload: bytes) -> bool:
        """Whether the broker takes a message of this size; it says so only with MQTT 5."""
        return not self._largest_bytes or len(topic.encode()) + len(payload) + 12 <= self._largest_bytes

    def publish(self, topic: str, payload: bytes, *, qos: int, retain: bool = False) -> int | None:
        """Hand a message to the connection; its number, for `on_acknowledged`, or None when there is no connection."""
        if not self.connected or self._now is None:
            return None
        qos = min(qos, self._most_qos)
        try:
            info = self._now.client.publish(topic, payload, qos, retain and self._retain)
        except _PAHO_FAULTS as error:
            self._loop.call_soon(self._lose, self._now, f"the MQTT client failed: {error!r}", False)
            return None
        if info.rc != paho.MQTT_ERR_SUCCESS:
            return None
        if qos == 0:
            self._now.unsent.add(info.mid)
        return info.mid

    @property
    def has_room(self) -> bool:
        """Whether the network takes live messages as fast as they come."""
        return self._now is not None and len(self._now.unsent) < _MOST_UNSENT

    def subscribe(self, topic: str) -> None:
        if self.connected and self._now is not None:
            self._now.client.subscribe(topic, qos=1)

    def hang_up(self, reason: str) -> None:
        """End the connection; the next one begins by itself."""
        if self._now is not None:
            self._lose(self._now, reason, False)

    def close(self) -> None:
        """Say goodbye. What was published before and not yet sent goes out first, if `flushed` was waited for."""
        self._closing = True
        if self._timer:
            self._timer.cancel()
        now, self._now = self._now, None
        if now and now.opened_s and not now.over:
            try:
                now.client.disconnect()
                now.client.loop_write()
            except _PAHO_FAULTS as error:
                log.debug("disconnect: %r", error)
            self._shut(now)
        self._tick_timer.cancel()

    # connecting

    def _connect(self) -> None:
        self._timer = None
        now = self._now = _Connection(self._new_client(), time.monotonic())
        self._hanging = [thread for thread in self._hanging if thread.is_alive()]
        thread = threading.Thread(target=self._open, args=(now,), name="mqtt connect", daemon=True)
        self._hanging.append(thread)
        thread.start()

    def _new_client(self) -> paho.Client:
        access = self.access
        version = paho.MQTTv5 if access.version == 5 else paho.MQTTv311
        client = paho.Client(
            CallbackAPIVersion.VERSION2,
            access.client_id,
            clean_session=None if version == paho.MQTTv5 else True,
            protocol=version,
            reconnect_on_failure=False,
        )
        client.connect_timeout = _HANDSHAKE_S / 4
        client.max_inflight_messages_set(0)  # ours is the window
        if self._will_topic:
            client.will_set(self._will_topic, OFFLINE, qos=1, retain=True)
        return client

    def _open(self, now: _Connection) -> None:
        """In a thread of its own: everything that may hang. Only this thread touches the client until it is done."""
        try:
            password = load_password(self.access)
            if password is not None:
                now.warning = check_plain_password(self.access)
            if self.access.user:
                now.client.username_pw_set(self.access.user, password)
            if (context := to_tls(self.access)) is not None:
                now.client.tls_set_context(context)
            now.client.on_socket_register_write = lambda *_: None  # so that it does not write from here
            now.client.connect(self.access.host, self.access.port, self.access.keepalive_s)
        except AccessError as error:
            self._from_thread(self._lose, now, str(error), False)
        except _PAHO_FAULTS as error:
            self._from_thread(self._lose, now, _to_reason(error), False)
        else:
            self._from_thread(self._opened, now)

    def _from_thread(self, function: Callable[..., None], *values: object) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(function, *values)

    def _opened(self, now: _Connection) -> None:
        client = now.client
        if now.over or self._closing or (sock := client.socket()) is None:
            if not now.over and not self._closing:
                self._lose(now, "the connection ended at once", True)
            else:
                self._shut(now)
            return
        now.opened_s, now.sock = time.monotonic(), sock
        client.on_connect = self._later(self._answered, now)
        client.on_disconnect = self._later(self._ended, now)
        client.on_publish = self._later(self._acknowledged, now)
        client.on_message = self._later(self._heard, now)
        client.on_socket_register_write = lambda *_: self._want_write(now)
        client.on_socket_unregister_write = lambda *_: self._want_no_write(now)
        client.on_socket_close = lambda *_: self._unwatch(sock)
        self._loop.add_reader(sock, self._read, now)
        if client.want_write():
            self._want_write(now)

    def _later(self, function: Callable[..., None], now: _Connection) -> Callable[..., None]:
        """A callback for paho that only takes note: what goes wrong in our own code must not be taken for paho's."""

        def take_note(_client: paho.Client, _userdata: object, *told: Any) -> None:
            self._loop.call_soon(function, now, *told)

        return take_note

    def _want_no_write(self, now: _Connection) -> None:
        if now.sock is not None and now.sock.fileno() >= 0:
            self._loop.remove_writer(now.sock)

    def _want_write(self, now: _Connection) -> None:
        if now.sock is not None and now.sock.fileno() >= 0 and not now.over:
            self._loop.add_writer(now.sock, self._drive, now, now.client.loop_write)

    def _read(self, now: _Connection) -> None:
        self._drive(now, now.client.loop_read)
        if not now.over and isinstance(now.sock, ssl.SSLSocket) and now.sock.fileno() >= 0 and now.sock.pending():
            self._loop.call_soon(self._read, now)  # already decrypted: the socket will not say so

    def _drive(self, now: _Connection, step: Callable[[], object]) -> None:
        """Let paho work. Our callbacks do nothing in it, so what it raises is its own."""
        if now.over:
            return
        try:
            step()
        except _PAHO_FAULTS as error:
            self._lose(now, f"the MQTT client failed: {error!r}", False)

    # what the broker says

    def _answered(self, now: _Connection, _flags: Any, code: Any, properties: Any) -> None:
        if now.over:
            return
        if code.is_failure:
            self._lose(now, f"the broker refused: {str(code).lower()}", True)
            return
        now.up_s = time.monotonic()
        # paho asks only after the keepalive that the broker was told: too late to find a dead connection
        now.client._keepalive = min(now.client._keepalive or _QUIET_S, _QUIET_S)
        self.window = min(WINDOW, getattr(properties, "ReceiveMaximum", WINDOW))
        limits = [self.access.max_packet_bytes, getattr(properties, "MaximumPacketSize", 0)]
        self._largest_bytes = min((limit for limit in limits if limit), default=0)
        self._most_qos = getattr(properties, "MaximumQoS", 2)
        self._retain = bool(getattr(properties, "RetainAvailable", 1))
        self.connects += 1
        self._trouble, self._warning = "", now.warning
        if self._most_qos == 0:
            self._warning = f"the broker at {self.access.place} does not acknowledge (QoS 0 only): what it loses is lost"
        log.info("connected to %s (MQTT %s)", self.access.place, "5" if self.access.version == 5 else "3.1.1")
        if now.warning:
            log.warning("%s", now.warning)
        self._hearer.on_up()

    def _acknowledged(self, now: _Connection, mid: int, code: Any, _properties: Any) -> None:
        now.unsent.discard(mid)
        if not now.over:
            self._hearer.on_acknowledged(mid, code.value)

    def _heard(self, now: _Connection, message: paho.MQTTMessage) -> None:
        if now.over:
            return
        try:
            topic = message.topic
        except UnicodeDecodeError:
            return
        self._hearer.on_message(topic, bytes(message.payload), message.retain)

    def _ended(self, now: _Connection, _flags: Any, code: Any, _properties: Any) -> None:
        soon = now.up_s is not None and time.monotonic() - now.up_s < _STABLE_S
        gave_up = "keep alive" in str(code).lower()
        self._short_lives = self._short_lives + 1 if soon and not gave_up else 0
        who = f'another client with the id "{self.access.client_id}"'
        if code.value == _TAKEN_OVER:
            self._rival = f"{who} took over the connection; give each its own mqtt.client_id"
        elif self._short_lives >= _MANY_SHORT_LIVES:  # Mosquitto 2.0 and MQTT 3.1.1 do not say why
            self._rival = f"the broker ends each connection soon: perhaps {who}; give each its own mqtt.client_id"
        if self._rival:
            log.warning("%s", self._rival)
        said = "the broker does not answer" if gave_up else f"the connection ended ({str(code).lower()})"
        self._lose(now, said, not gave_up)

    # ending, and beginning again

    def _tick(self) -> None:
        self._tick_timer = self._loop.call_later(_TICK_S, self._tick)
        now, now_s = self._now, time.monotonic()
        if now is None or now.over:
            return
        if now.opened_s is None:
            if now_s - now.started_s > _HANDSHAKE_S:
                self._lose(now, f"no connection within {_HANDSHAKE_S:g} s", False)
        elif now.up_s is None:
            if now_s - now.opened_s > _CONNACK_S:
                self._lose(now, "the broker does not answer", False)
        else:
            self._drive(now, now.client.loop_misc)
            if now_s - now.up_s > _STABLE_S:
                self._failures, self._short_lives, self._rival = 0, 0, ""

    def _lose(self, now: _Connection, reason: str, by_broker: bool) -> None:
        if now.over:
            return
        was_up = now.up_s is not None
        self._shut(now)
        if self._closing:
            return
        self._now = None
        sentence = f"no connection to {self.access.place}: {reason}"
        if sentence != self._trouble:
            log.warning("%s", sentence)
        self._trouble = sentence
        self._hearer.on_down(Down(reason, was_up, by_broker))
        delay_s = self._random(0.0, self._longest_s())
        self._failures += 1
        self._timer = self._loop.call_later(delay_s, self._connect)

    def _longest_s(self) -> float:
        """Full jitter: a random part of a delay that doubles, so that many boards do not come back at once.

        https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
        """
        longest = _LONGEST_LOOPBACK_S if self.access.on_loopback else _LONGEST_S
        first = longest if self._rival else _FIRST_S  # two that fight must not do it often
        return float(min(longest, first * 2 ** min(self._failures, 20)))

    def _shut(self, now: _Connection) -> None:
        now.over = True
        sock = now.client.socket()
        if sock is not None:
            self._unwatch(sock)
            sock.close()

    def _unwatch(self, sock: Any) -> None:
        if sock.fileno() >= 0:
            self._loop.remove_reader(sock)
            self._loop.remove_writer(sock)


def _to_reason(error: BaseException) -> str:
    if isinstance(error, socket.gaierror):
        return "its name is not known"
    if isinstance(error, OSError):
        return (error.strerror or str(error) or type(error).__name__).lower()
    return f"{error!r}"
