"""Whose memory grows without end, on boards whose kernel does not watch it (Raspberry Pi OS has the memory cgroup off).

Pure; what is measured is handed in. Only growth is a fault: a model that is large from the start would be so again.
"""

from dataclasses import dataclass

SETTLED_S = 60.0
_GROWN = 1.5


@dataclass(frozen=True, slots=True)
class MemoryLimits:
    """Resident memory."""

    courier_mb: float
    vision_mb: float


def to_limits(board_mb: float) -> MemoryLimits:
    """What is plainly too much on a board of this size: twice of what each needs, and more where there is more."""
    return MemoryLimits(courier_mb=max(192.0, board_mb * 0.25), vision_mb=max(320.0, board_mb * 0.5))


class MemoryGuard:
    """One process. Pass its memory about every ten seconds."""

    def __init__(self, limit_mb: float) -> None:
        self._limit_mb = limit_mb
        self._pid, self._first_s, self._settled_mb = 0, 0.0, 0.0

    def see(self, pid: int, used_mb: float, now_s: float) -> str:
        """What is wrong with it, in words, else ""."""
        if pid != self._pid:
            self._pid, self._first_s, self._settled_mb = pid, now_s, 0.0
        if now_s - self._first_s < SETTLED_S or not used_mb:
            return ""
        self._settled_mb = self._settled_mb or used_mb
        if used_mb <= self._limit_mb or used_mb < self._settled_mb * _GROWN:
            return ""
        return f"its memory grew from {self._settled_mb:.0f} to {used_mb:.0f} MB, and {self._limit_mb:.0f} MB are its limit"
