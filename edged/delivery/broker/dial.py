"""The way to a host with several addresses, of which some lead nowhere: each gets a head start, and the first that answers wins.

RFC 8305 (Happy Eyeballs). One address after the other would never come to the good one behind a few that swallow everything:
a network without a way out for IPv6, or a name with an address for each of many machines.
"""

import itertools
import os
import selectors
import socket
import time
from collections import deque
from typing import Any

HEAD_START_S = 0.25  # RFC 8305, 8: Connection Attempt Delay
_LIMIT_S = 10.0  # for all of them


def dial(host: str, port: int, limit_s: float = _LIMIT_S) -> socket.socket:
    """A connection to one of the host's addresses. Raises OSError: what the last address that answered said, or that none did."""
    waiting = deque(_in_turns(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)))
    ends_s = time.monotonic() + limit_s
    failure: OSError = TimeoutError("timed out")
    with selectors.DefaultSelector() as attempts:
        try:
            next_s = 0.0
            while (now_s := time.monotonic()) < ends_s:
                if waiting and (now_s >= next_s or not attempts.get_map()):
                    next_s = now_s + HEAD_START_S
                    try:
                        attempts.register(_begin(*waiting.popleft()), selectors.EVENT_WRITE)
                    except OSError as error:  # no way there, or no such family here
                        failure, next_s = error, 0.0
                elif not attempts.get_map():
                    raise failure
                for found, _ in attempts.select(max(0.0, min(next_s if waiting else ends_s, ends_s) - time.monotonic())):
                    sock: Any = found.fileobj
                    attempts.unregister(sock)
                    if not (number := sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)):
                        return sock  # type: ignore[no-any-return]
                    sock.close()
                    failure, next_s = OSError(number, os.strerror(number)), 0.0
            raise TimeoutError("timed out")
        finally:
            for found in list(attempts.get_map().values()):
                found.fileobj.close()  # type: ignore[union-attr]


def _in_turns(found: list[Any]) -> list[Any]:
    """The families in turns, the preferred one first: RFC 8305, 4."""
    families = dict.fromkeys(family for family, *_ in found)
    columns = [[one for one in found if one[0] == family] for family in families]
    return [one for row in itertools.zip_longest(*columns) for one in row if one is not None]


def _begin(family: int, kind: int, protocol: int, _name: str, address: Any) -> socket.socket:
    sock = socket.socket(family, kind, protocol)
    try:
        sock.setblocking(False)
        sock.connect(address)
    except BlockingIOError:
        pass
    except OSError:
        sock.close()
        raise
    return sock
