"""So many a second: what late events may take of the line, and commands of the daemon's time."""

import time
from collections.abc import Callable

_BURST = 16


class TokenBucket:
    """A bucket that fills with time. Thread: one at a time."""

    def __init__(self, per_s: float, now_s: Callable[[], float] = time.monotonic, *, burst: int = _BURST) -> None:
        self._per_s, self._now_s, self._burst = per_s, now_s, burst
        self._left, self._filled_s = float(burst), now_s()

    @property
    def next_s(self) -> float:
        """Seconds until one more is allowed, when none is."""
        return 1 / self._per_s

    def allows(self) -> int:
        """How many may go now."""
        now_s = self._now_s()
        self._left = min(self._burst, self._left + (now_s - self._filled_s) * self._per_s)
        self._filled_s = now_s
        return int(self._left)

    def spend(self, count: int) -> None:
        self._left -= count
