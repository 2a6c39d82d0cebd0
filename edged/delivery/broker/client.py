"""paho's client with a reader of our own: what a broker sends can neither fill the memory nor end the connection by a code.

paho reads a packet whole, however large, and fails at reason codes that it does not know. Read paho 2.2's client.py before
changing this: `_packet_read`, `_in_packet` and the handlers of single packets are its inner parts.
"""

import contextlib
import logging
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.exception import MalformedPacket
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from edged.delivery.broker.dial import dial
from edged.delivery.broker.packets import CONNACK, PUBLISH, MalformedError, Packet, Packets
from edged.system.text import printable

log = logging.getLogger("edged")

_READ_BYTES = 16 * 1024
_MOST_TOLD = 16  # topics
_ACKNOWLEDGED_AT_LEAST_ONCE = 0x02  # of the first byte of a PUBLISH: QoS 1


@dataclass(frozen=True, slots=True)
class Code:
    """A reason code as the broker wrote it, known or not."""

    value: int


@dataclass(frozen=True, slots=True)
class PublishedWith:
    """What MQTT 5 lets a message say about its payload."""

    content_type: str
    fields: Mapping[str, str]

    @property
    def size(self) -> int:
        """Bytes in a packet at most: each property has one for its name, and two before each text."""
        texts = [(key.encode(), value.encode()) for key, value in self.fields.items()]
        return 6 + len(self.content_type.encode()) + sum(5 + len(key) + len(value) for key, value in texts)


@dataclass(frozen=True, slots=True)
class Will:
    """What the broker says on our behalf when the connection is gone. `topic` "": nothing."""

    topic: str
    payload: str
    qos: int = 1
    retain: bool = True


class Client(paho.Client):
    """A message that is larger than `most_bytes` is thrown away while it is read, and told of once for each topic."""

    def __init__(self, client_id: str, version: MQTTProtocolVersion, most_bytes: int) -> None:
        super().__init__(
            CallbackAPIVersion.VERSION2,
            client_id,
            clean_session=None if version == paho.MQTTv5 else True,
            protocol=version,
            reconnect_on_failure=False,
        )
        self.max_inflight_messages_set(0)  # the window is the sender's
        self.on_socket_open = _send_at_once
        self._packets, self._most_bytes = Packets(most_bytes), most_bytes
        self._thrown: set[str] = set()  # topics
        self.heard_nonsense = self._is_greeted = False

    @property
    def unwritten(self) -> int:
        """Packets that the network has not taken yet."""
        return len(self._out_packet)

    def _create_socket_connection(self) -> socket.socket:
        sock = dial(self._host, self._port)
        sock.settimeout(self._connect_timeout)  # of a handshake
        return sock

    def _packet_read(self) -> MQTTErrorCode:
        try:
            data = self._sock_recv(_READ_BYTES)
        except BlockingIOError:
            return MQTTErrorCode.MQTT_ERR_AGAIN
        except OSError as error:
            log.debug("receive: %r", error)
            return MQTTErrorCode.MQTT_ERR_CONN_LOST
        if not data:
            return MQTTErrorCode.MQTT_ERR_CONN_LOST
        self._last_bytes_received = time.monotonic()
        try:
            if not self._is_greeted and data[0] != CONNACK:
                raise MalformedError("the first packet is no CONNACK")
            self._is_greeted = True
            for packet in self._packets.feed(data):
                if self._sock is None:
                    return MQTTErrorCode.MQTT_ERR_NO_CONN
                if (code := self._handle(packet)) > 0:
                    return code
        except MalformedError as error:
            log.debug("the broker sends no MQTT: %s", error)
            self.heard_nonsense = True
            return MQTTErrorCode.MQTT_ERR_PROTOCOL
        return MQTTErrorCode.MQTT_ERR_AGAIN  # that was all for now

    def _handle(self, packet: Packet) -> MQTTErrorCode:
        is_message = packet.first & 0xF0 == PUBLISH
        if is_message and packet.first & 0x04:
            raise MalformedError("a message with QoS 2 or 3, which nobody subscribed to")
        if not packet.is_whole:
            if not is_message:
                raise MalformedError("a packet that is too large and no message")
            topic, number = packet.topic_and_number()
            self._tell_thrown_away(topic, packet.length)
            return self._send_puback(number) if packet.first & _ACKNOWLEDGED_AT_LEAST_ONCE else MQTTErrorCode.MQTT_ERR_SUCCESS
        self._in_packet |= {"command": packet.first, "remaining_length": packet.length, "packet": packet.body, "pos": 0}
        try:
            return self._packet_handle()
        except MalformedPacket as error:
            raise MalformedError(str(error)) from None

    def _tell_thrown_away(self, topic: str, size: int) -> None:
        if topic not in self._thrown and len(self._thrown) < _MOST_TOLD:
            self._thrown.add(topic)
            where = printable(topic[:80])
            log.warning("a message of %d bytes on %s is thrown away: more than %d are not read", size, where, self._most_bytes)

    def _handle_pubackcomp(self, cmd: str) -> MQTTErrorCode:
        body = self._in_packet["packet"]
        if cmd != "PUBACK" or len(body) < 2:  # nothing is published with QoS 2
            return MQTTErrorCode.MQTT_ERR_SUCCESS
        number = int.from_bytes(body[:2], "big")
        code = body[2] if len(body) > 2 else 0  # also from a broker of 3.1.1 that should not
        known = self._out_messages.get(number)
        if known is None or known.qos == 0:
            return MQTTErrorCode.MQTT_ERR_SUCCESS
        return self._do_on_publish(number, Code(code), None)  # type: ignore[arg-type]  # it only passes them on

    def _handle_pubrec(self) -> MQTTErrorCode:
        return MQTTErrorCode.MQTT_ERR_SUCCESS  # no answer to what we send

    def _handle_suback(self) -> None:
        body = self._in_packet["packet"]
        if len(body) > 2 and body[-1] >= 0x80:  # one topic at a time is asked for: its code is the last byte
            log.warning("the broker does not let this client read a topic (reason code 0x%02x): commands may not arrive", body[-1])


def new_client(version: int, client_id: str, most_bytes: int, will: Will | None = None) -> Client:
    client = Client(client_id, MQTTProtocolVersion.MQTTv5 if version == 5 else MQTTProtocolVersion.MQTTv311, most_bytes)
    if will is not None and will.topic:
        client.will_set(will.topic, will.payload, qos=will.qos, retain=will.retain)
    return client


def to_publish_properties(about: PublishedWith) -> Any:
    properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
    properties.ContentType = about.content_type
    properties.UserProperty = list(about.fields.items())
    return properties


def to_connect_properties(version: int, most_bytes: int) -> Any:
    """What MQTT 5 lets a client say about itself; None with 3.1.1."""
    if version != 5:
        return None
    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
    properties.MaximumPacketSize = most_bytes
    return properties


def _send_at_once(_client: paho.Client, _userdata: object, sock: Any) -> None:
    """A small packet does not wait for the acknowledgement of the one before (RFC 896), which may be held back for 40 ms."""
    with contextlib.suppress(OSError):  # gone already; the next read says so
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
