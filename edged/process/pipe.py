"""The pipe between two processes: whole messages, plain JSON, one reader that believes only agreed words.

A sequenced-packet socket keeps message boundaries, so a process that is killed or frozen in the middle of a send can
not leave half a message behind for the other to hang on. JSON and not pickle, because a model or a stream may own the
vision process, and must not own the courier with it.
"""

import json
import socket
from collections.abc import Mapping
from typing import Any

from edged.process.protocol import FROM_VISION, TO_VISION, Vocabulary, check_word

_to_json = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode  # json.dumps would make one for each message

LARGEST_BYTES = 192 * 1024  # below the kernel's default limit for one packet


class NotOursError(ValueError):
    """What came is no message, or none of the words that may come this way."""


class Pipe:
    """One end. `send` and `receive` may each be used by one thread at a time."""

    def __init__(self, end: socket.socket, hears: Vocabulary = FROM_VISION) -> None:
        """hears: the words that may come in here."""
        self._end, self._hears = end, hears

    @classmethod
    def pair(cls, ours: Vocabulary = FROM_VISION, theirs: Vocabulary = TO_VISION) -> tuple["Pipe", "Pipe"]:
        """The courier's end and the other one, with what each of them hears."""
        a, b = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        return cls(a, ours), cls(b, theirs)

    @classmethod
    def from_fd(cls, fd: int, hears: Vocabulary = TO_VISION) -> "Pipe":
        return cls(socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET, fileno=fd), hears)

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

        Raises BlockingIOError if not `wait` and nothing is there, NotOursError for what is none of the words, OSError.
        """
        packet = self._end.recv(LARGEST_BYTES, 0 if wait else socket.MSG_DONTWAIT)
        if not packet:
            return None
        head, _, attachment = packet.partition(b"\0")
        try:
            message = json.loads(head)
            kind = message.pop("kind")
            check_word(kind, message, self._hears)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            raise NotOursError("no word of ours") from None
        return kind, message, attachment

    def close(self) -> None:
        self._end.close()

    @staticmethod
    def _packet(kind: str, fields: Mapping[str, Any], attachment: bytes) -> bytes:
        head = _to_json({"kind": kind, **fields}).encode()
        return head + b"\0" + attachment if attachment else head
