"""One connection to a broker: with client.py, which reads for it, the only files that know paho.

paho's own thread, queue and reconnecting are not used: its queue forgets, its thread dies of an exception, and after a
broken connection it sends what it likes. Each connection has a fresh client, driven by the event loop; only finding the
host and shaking hands wait in a thread, because they may hang. Read paho 2.2's client.py before changing this.
"""

import asyncio
import logging
import ssl
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import paho.mqtt.client as paho
from paho.mqtt.exception import MQTTException
from paho.mqtt.subscribeoptions import SubscribeOptions

from edged.delivery.broker.access import Access, AccessError, Cause, check_plain_password, load_password, to_lost, to_tls
from edged.delivery.broker.client import Will, new_client, to_connect_properties

log = logging.getLogger("edged")

WINDOW = 16  # unacknowledged messages at most; the broker may want fewer
TAKEN_OVER = 0x8E
_KEEP_ALIVE_TIMEOUT = 0x8D
_QUIET_S = 4  # a connection on which nothing was heard is asked after so long, and given up after so long again
_HANDSHAKE_S = 20.0  # for finding the host, TCP and TLS
_CONNACK_S = 8.0
_MOST_UNSENT = 8  # live messages that the network has not taken yet
COMMAND_BYTES = 16 * 1024  # the largest packet that is read whole; a command has 4 KiB at most
_MOST_UNWRITTEN = 1000  # packets that the network has not taken: a broker that asks and never reads
_NO_RETAINED = 2  # MQTT 5, 3.8.3.1: do not send retained messages at the time of the subscribe
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
class BrokerLimits:
    """What the broker said that it takes; only MQTT 5 brokers say."""

    window: int = WINDOW
    largest_bytes: int = 0  # of a packet; 0 = anything
    most_qos: int = 2
    retain: bool = True


@dataclass(frozen=True, slots=True)
class Disconnect:
    """Why a connection ended. `by_broker`: it hung up, we did not give up. `code`: its reason code, with MQTT 5.
    reason: for people; cause: for programs."""

    reason: str
    by_broker: bool
    code: int = 0
    cause: Cause = ""


class ConnectionListener(Protocol):
    """What a connection tells. Thread: the event loop's; never from within a call of the connection."""

    def on_accepted(self, limits: BrokerLimits) -> None: ...
    def on_lost(self, connection: "Connection", lost: Disconnect) -> None: ...
    def on_acknowledged(self, mid: int, code: int) -> None: ...
    def on_message(self, topic: str, payload: bytes, retained: bool) -> None: ...


class Connection:
    """Thread: the event loop's. It begins when it is made, and ends once."""

    def __init__(self, access: Access, will: Will | None, owner: ConnectionListener, most_bytes: int = COMMAND_BYTES) -> None:
        """`most_bytes`: a larger packet from the broker is thrown away while it is read."""
        self._access, self._owner, self._loop = access, owner, asyncio.get_running_loop()
        self._most_bytes = most_bytes
        self._client = new_client(access.version, access.client_id, most_bytes, will)
        self._client.connect_timeout = _HANDSHAKE_S / 4
        self._sock: Any = None
        self._limits, self._unsent = BrokerLimits(), set[int]()  # live messages
        self._started_s = time.monotonic()
        self._opened_s: float | None = None  # TCP and TLS are there
        self.up_s: float | None = None  # the broker said yes
        self.over, self.warning = False, ""
        self._opening = threading.Thread(target=self._open, name="mqtt connect", daemon=True)
        try:
            self._opening.start()
        except RuntimeError as error:  # no memory for it, or as many threads as are allowed: that passes
            self._loop.call_soon(self.lose, f"no thread for it: {error}")

    @property
    def hangs(self) -> bool:
        """It is over, and its thread still waits for something: a name, a file, a handshake."""
        return self.over and self._opening.is_alive()

    @property
    def has_room(self) -> bool:
        """Whether the network takes live messages as fast as they come."""
        return len(self._unsent) < _MOST_UNSENT

    @property
    def live_unsent(self) -> int:
        """Live messages that the network has not taken yet."""
        return len(self._unsent)

    def publish(self, topic: str, payload: bytes, qos: int, retain: bool, about: Any = None) -> int | None:
        """The message's number, or None when it could not even be queued. about: with MQTT 5 only."""
        try:
            info = self._client.publish(topic, payload, min(qos, self._limits.most_qos), retain and self._limits.retain, about)
        except _PAHO_FAULTS as error:
            self._loop.call_soon(self.lose, f"the MQTT client failed: {error!r}")
            return None
        if info.rc != paho.MQTT_ERR_SUCCESS:
            return None
        if qos == 0 and not retain:
            self._unsent.add(info.mid)
        return info.mid

    def subscribe(self, topic: str, *, retained: bool = False) -> None:
        """`retained`: also what the broker keeps; with MQTT 3.1.1 it sends that in any case."""
        try:
            if self._access.version == 5:
                self._client.subscribe(topic, options=SubscribeOptions(qos=1, retainHandling=0 if retained else _NO_RETAINED))
            else:
                self._client.subscribe(topic, qos=1)
        except _PAHO_FAULTS as error:
            self._loop.call_soon(self.lose, f"the MQTT client failed: {error!r}")

    def tick(self) -> None:
        """Must be called about twice a second: what is silent for too long is ended."""
        now_s = time.monotonic()
        if self._opened_s is None:
            if now_s - self._started_s > _HANDSHAKE_S:
                self.lose(f"no connection within {_HANDSHAKE_S:g} s")
        elif self.up_s is None:
            if now_s - self._opened_s > _CONNACK_S:
                self.lose("the broker does not answer")
        else:
            self._drive(self._client.loop_misc)

    def lose(self, reason: str, by_broker: bool = False, code: int = 0, cause: Cause = "") -> None:
        """End it and tell the owner, once."""
        if not self.over:
            self.shut()
            self._owner.on_lost(self, Disconnect(reason, by_broker, code, cause))

    def say_goodbye(self) -> None:
        """End it so that the broker forgets the last will."""
        if self._opened_s is not None and not self.over:
            try:
                self._client.disconnect()
                self._client.loop_write()
            except _PAHO_FAULTS as error:
                log.debug("disconnect: %r", error)
        self.shut()

    def shut(self) -> None:
        """End it and tell nobody."""
        self.over = True
        sock = self._client.socket()
        if sock is not None and self._opened_s is not None:
            self._unwatch(sock)
            sock.close()

    # opening

    def _open(self) -> None:
        """In a thread of its own: everything that may hang. Only this thread touches the client until it is done."""
        access, client = self._access, self._client
        try:
            password = load_password(access)
            if password is not None:
                self.warning = check_plain_password(access)
            if access.user:
                client.username_pw_set(access.user, password)
            if (context := to_tls(access)) is not None:
                client.tls_set_context(context)
            client.on_socket_register_write = lambda *_: None  # so that it does not write from here
            asked = to_connect_properties(access.version, self._most_bytes)
            client.connect(access.host, access.port, access.keepalive_s, properties=asked)
        except (AccessError, *_PAHO_FAULTS) as error:
            reason, cause = to_lost(error)
            self._from_thread(self.lose, reason, False, 0, cause)
        else:
            self._from_thread(self._opened)

    def _from_thread(self, function: Callable[..., None], *values: object) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(function, *values)

    def _opened(self) -> None:
        client, sock = self._client, self._client.socket()
        self._opened_s = time.monotonic()
        if self.over or sock is None:
            self.shut() if self.over else self.lose("the connection ended at once", by_broker=True)
            return
        self._sock = sock
        client.on_connect = self._later(self._answered)
        client.on_disconnect = self._later(self._ended)
        client.on_publish = self._later(self._acknowledged)
        client.on_message = self._later(self._heard)
        client.on_socket_register_write = lambda *_: self._want_write()
        client.on_socket_unregister_write = lambda *_: self._want_no_write()
        client.on_socket_close = lambda *_: self._unwatch(sock)
        self._loop.add_reader(sock, self._read)
        if client.want_write():
            self._want_write()

    # letting paho work

    def _later(self, function: Callable[..., None]) -> Callable[..., None]:
        """A callback for paho that only takes note: what goes wrong in our own code must not be taken for paho's."""

        def take_note(_client: paho.Client, _userdata: object, *told: Any) -> None:
            self._loop.call_soon(function, *told)

        return take_note

    def _read(self) -> None:
        self._drive(self._client.loop_read)
        if self._client.unwritten > _MOST_UNWRITTEN:
            self.lose("the broker sends and does not read")
        if not self.over and isinstance(self._sock, ssl.SSLSocket) and self._sock.fileno() >= 0 and self._sock.pending():
            self._loop.call_soon(self._read)  # already decrypted: the socket will not say so

    def _drive(self, step: Callable[[], object]) -> None:
        """Our callbacks do nothing in it, so what it raises is paho's own."""
        if self.over:
            return
        try:
            step()
        except _PAHO_FAULTS as error:
            self.lose(f"the MQTT client failed: {error!r}")

    def _want_write(self) -> None:
        if self._sock.fileno() >= 0 and not self.over:
            self._loop.add_writer(self._sock, self._drive, self._client.loop_write)

    def _want_no_write(self) -> None:
        if self._sock.fileno() >= 0:
            self._loop.remove_writer(self._sock)

    def _unwatch(self, sock: Any) -> None:
        if sock.fileno() >= 0:
            self._loop.remove_reader(sock)
            self._loop.remove_writer(sock)

    # what the broker says

    def _answered(self, _flags: Any, code: Any, properties: Any) -> None:
        if self.over:
            return
        if code.is_failure:
            self.lose(f"the broker refused: {str(code).lower()}", by_broker=True, code=code.value)
            return
        # paho asks only after the keepalive that the broker was told: too late to find a dead connection
        self._client._keepalive = min(self._client._keepalive or _QUIET_S, _QUIET_S)
        if self.up_s is not None:  # it says so twice: what is on its way still waits for its acknowledgement
            return
        self.up_s = time.monotonic()
        largest = [self._access.max_packet_bytes, getattr(properties, "MaximumPacketSize", 0)]
        self._limits = BrokerLimits(
            window=min(WINDOW, getattr(properties, "ReceiveMaximum", WINDOW)),
            largest_bytes=min((limit for limit in largest if limit), default=0),
            most_qos=getattr(properties, "MaximumQoS", 2),
            retain=bool(getattr(properties, "RetainAvailable", 1)),
        )
        self._owner.on_accepted(self._limits)

    def _acknowledged(self, mid: int, code: Any, _properties: Any) -> None:
        self._unsent.discard(mid)
        if not self.over:
            self._owner.on_acknowledged(mid, code.value)

    def _heard(self, message: paho.MQTTMessage) -> None:
        if self.over:
            return
        try:
            topic = message.topic
        except UnicodeDecodeError:
            return
        self._owner.on_message(topic, bytes(message.payload), message.retain)

    def _ended(self, _flags: Any, code: Any, _properties: Any) -> None:
        gave_up = code.value == _KEEP_ALIVE_TIMEOUT  # paho's own word, also with MQTT 3.1.1
        ended = "what came is no MQTT" if self._client.heard_nonsense else str(code).lower()
        said = "the broker does not answer" if gave_up else f"the connection ended ({ended})"
        cause: Cause = "silent" if gave_up else "nonsense" if self._client.heard_nonsense else ""
        self.lose(said, by_broker=not gave_up, code=code.value, cause=cause)
