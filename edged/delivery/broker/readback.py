"""With MQTT 3.1.1 a broker acknowledges also what it throws away because it is too large. So a message that is larger
than any that is known to have passed counts only when it comes back on a subscription of our own.

Where nothing ever comes back (a broker that lets a device write and not read), acknowledgements are believed. That is known
of each topic by itself: an access list may let a device read one of them and not the other.
"""

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

_WAIT_S = 3.0


@dataclass(slots=True)
class _Unproven:
    n: int
    topic: str
    size: int
    acknowledged_s: float | None = None
    heard: bool = False


class Echoes:
    """Of one connection. Thread: the event loop's."""

    def __init__(self, now_s: Callable[[], float] = time.monotonic) -> None:
        self._now_s = now_s
        self._passed_bytes: Counter[str] = Counter()  # by topic: the largest payload that came back
        self._unproven: dict[bytes, _Unproven] = {}

    def sent(self, n: int, topic: str, payload: bytes) -> None:
        if len(payload) > self._passed_bytes[topic]:
            self._unproven[payload] = _Unproven(n, topic, len(payload))

    def heard(self, payload: bytes) -> None:
        if one := self._unproven.get(payload):
            one.heard = True
            self._passed_bytes[one.topic] = max(self._passed_bytes[one.topic], one.size)

    def acknowledged(self, n: int) -> bool:
        """Whether that settles it; False: ask `settled` for it."""
        for payload, one in self._unproven.items():
            if one.n == n:
                if one.heard:
                    del self._unproven[payload]
                    return True
                one.acknowledged_s = self._now_s()
                return False
        return True

    @property
    def waiting(self) -> int:
        return sum(one.acknowledged_s is not None for one in self._unproven.values())

    def settled(self) -> list[tuple[int, bool]]:
        """Messages that were acknowledged: n, and whether they passed. Each is told once."""
        done = []
        for payload, one in list(self._unproven.items()):
            if one.acknowledged_s is None:
                continue
            if one.heard or one.size <= self._passed_bytes[one.topic]:
                done.append((one.n, True))
            elif self._now_s() - one.acknowledged_s >= _WAIT_S:
                done.append((one.n, not self._passed_bytes[one.topic]))
            else:
                continue
            del self._unproven[payload]
        return done
