"""The one pipe between courier and vision process: whole messages, plain JSON, sends that never block the courier.

A sequenced-packet socket keeps message boundaries, so a process that is killed or frozen in the middle of a send can
not leave half a message behind for the other to hang on. JSON and not pickle, because a model or a stream may own the
vision process, and must not own the courier with it.
"""

import json
import socket
from collections.abc import Mapping
from typing import Any

LARGEST_BYTES = 192 * 1024  # below the kernel's default limit for one packet


class Pipe:
    """One end. `send` and `receive` may each be used by one thread at a time."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end

    @classmethod
    def pair(cls) -> tuple["Pipe", "Pipe"]:
        a, b = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        return cls(a), cls(b)

    @classmethod
    def from_fd(cls, fd: int) -> "Pipe":
        return cls(socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET, fileno=fd))

    def fileno(self) -> int:
        return self._end.fileno()

    def send(self, kind: str, fields: Mapping[str, Any], attachment: bytes = b"") -> None:
        """Send and wait for room. Raises OSError when the other end is gone or the message is too large."""
        self._end.sendall(self._packet(kind, fields, attachment))

    def try_send(self, kind: str, fields: Mapping[str, Any]) -> bool:
        """Send if there is room now; False where there is none or the other end is gone."""
        try:
            self._end.send(self._packet(kind, fields, b""), socket.MSG_DONTWAIT)
        except OSError:
            return False
        return True

    def receive(self, *, wait: bool = True) -> tuple[str, dict[str, Any], bytes] | None:
        """The next (kind, fields, attachment); None at the end of the pipe.

        Raises BlockingIOError if not `wait` and nothing is there, ValueError and KeyError for what is no message.
        """
        packet = self._end.recv(LARGEST_BYTES, 0 if wait else socket.MSG_DONTWAIT)
        if not packet:
            return None
        head, _, attachment = packet.partition(b"\0")
        message = json.loads(head)
        if not isinstance(message, dict):
            raise ValueError("not a message")
        return str(message.pop("kind")), message, attachment

    def close(self) -> None:
        self._end.close()

    @staticmethod
    def _packet(kind: str, fields: Mapping[str, Any], attachment: bytes) -> bytes:
        head = json.dumps({"kind": kind, **fields}, separators=(",", ":")).encode()
        return head + b"\0" + attachment if attachment else head
