"""With MQTT 3.1.1 a broker acknowledges also what it throws away because it is too large. So a message that is larger
than any that is known to have passed counts only when it comes back on a subscription of our own.

Where nothing ever comes back (a broker that lets a device write and not read), acknowledgements are believed. That is known
of each topic by itself: an access list may let a device read one of them and not the other.

Limits and access lists may change while there is no connection. So what passes is found out anew on each connection, and only
that messages come back on a topic is remembered, with the largest of them: without that the first ones of a connection were
believed, whatever their size. One that is no larger than what came back before, and does not come back twice, shows that
nothing does any more; then acknowledgements on this topic are believed again.
"""

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

_NEVER_BACK_TIMES = 2  # acknowledged and not passed on, until it is believed that it never will be
_WAIT_S = 3.0


@dataclass(slots=True)
class _Unproven:
    n: int
    topic: str
    size: int
    acknowledged_s: float | None = None
    heard: bool = False


class Echoes:
    """Of one broker, over all connections to it. Thread: the event loop's."""

    def __init__(self, now_s: Callable[[], float] = time.monotonic) -> None:
        self._now_s = now_s
        self._passed_bytes: Counter[str] = Counter()  # by topic: the largest payload that came back on this connection
        self._once_bytes: Counter[str] = Counter()  # and on any, for as long as messages come back there
        self._missed: Counter[int] = Counter()  # by n: how often it was acknowledged and did not come back
        self._unproven: dict[bytes, _Unproven] = {}

    def begin(self) -> None:
        """A new connection."""
        self._passed_bytes.clear()
        self._unproven.clear()

    def sent(self, n: int, topic: str, payload: bytes) -> None:
        if len(payload) > self._passed_bytes[topic]:
            self._unproven[payload] = _Unproven(n, topic, len(payload))

    def heard(self, payload: bytes) -> None:
        if one := self._unproven.get(payload):
            one.heard = True
            for known in (self._passed_bytes, self._once_bytes):
                known[one.topic] = max(known[one.topic], one.size)

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
        done, missing = [], []
        for payload, one in list(self._unproven.items()):
            if one.acknowledged_s is None:
                continue
            if one.heard or one.size <= self._passed_bytes[one.topic]:
                done.append((one.n, True))
            elif self._now_s() - one.acknowledged_s >= _WAIT_S:
                self._missed[one.n] += 1
                missing.append(one)
            else:
                continue
            del self._unproven[payload]
        for one in missing:  # before any of them is judged
            if self.is_never_back(one.n) and not self._passed_bytes[one.topic] and one.size <= self._once_bytes[one.topic]:
                del self._once_bytes[one.topic]
        return done + [(one.n, not self._once_bytes[one.topic]) for one in missing]

    def is_never_back(self, n: int) -> bool:
        return self._missed[n] >= _NEVER_BACK_TIMES

    def forget(self, n: int) -> None:
        """It is not sent any more."""
        self._missed.pop(n, None)
