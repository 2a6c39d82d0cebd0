"""Time that can be trusted: ages come from the monotonic clock, dates from the wall clock, and whether anybody has set
that one yet is told, never assumed. A board without a battery starts years off.
"""

import ctypes
import os
import time
from collections.abc import Callable
from pathlib import Path

_TIMESYNCD = Path("/run/systemd/timesync/synchronized")
_REAL_TIME_CLOCK = Path("/sys/class/rtc/rtc0/since_epoch")
_BATTERY_SINCE_S = 1_735_689_600  # 2025: a clock without a battery begins long before
_KERNEL_BOOT = Path("/proc/sys/kernel/random/boot_id")
_STA_UNSYNC, _TIME_ERROR = 0x0040, 5  # <sys/timex.h>
_ASK_AGAIN_NS = 1_000_000_000


class _Timex(ctypes.Structure):
    """The head of the kernel's struct timex; the rest is only room. adjtimex(2)."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_byte * 512),
    )


def kernel_synced() -> bool:
    """Whether the kernel or systemd-timesyncd says that the wall clock was set by a time source."""
    if _TIMESYNCD.exists():
        return True
    timex = _Timex()
    try:
        state = ctypes.CDLL(None).adjtimex(ctypes.byref(timex))
    except (OSError, AttributeError):
        return False
    return 0 <= state != _TIME_ERROR and not timex.status & _STA_UNSYNC


def has_battery() -> bool:
    """Whether a clock of the board's own went on while it was off."""
    try:
        return int(_REAL_TIME_CLOCK.read_text()) > _BATTERY_SINCE_S
    except (OSError, ValueError):
        return False


def is_set() -> bool:
    """Whether the date is known to be right by one of both."""
    return kernel_synced() or has_battery()


def kernel_boot() -> str:
    """Which run of the machine this is: monotonic times of the same run can be compared."""
    try:
        return _KERNEL_BOOT.read_text().strip()
    except OSError:
        return ""


class Clock:
    """Thread: any. `boot` is random and new at every start of the courier."""

    def __init__(
        self,
        *,
        wall_s: Callable[[], float] = time.time,
        monotonic_ns: Callable[[], int] = time.monotonic_ns,
        synced: Callable[[], bool] = kernel_synced,
    ) -> None:
        self._wall_s, self.monotonic_ns, self._ask_synced = wall_s, monotonic_ns, synced
        self._synced, self._asked_ns = False, monotonic_ns() - _ASK_AGAIN_NS
        self.boot = os.urandom(4).hex()
        self.kernel_boot = kernel_boot()

    def offset_s(self) -> float:
        """What must be added to monotonic seconds now to get the wall clock."""
        return self._wall_s() - self.monotonic_ns() / 1e9

    def to_wall(self, monotonic_ns: int) -> float:
        """Unix seconds of a monotonic time of this run of the machine, by the wall clock as it is set now."""
        return self.offset_s() + monotonic_ns / 1e9

    def synced(self) -> bool:
        """Whether the wall clock is known to be right; asked of the kernel at most once a second."""
        now_ns = self.monotonic_ns()
        if now_ns - self._asked_ns >= _ASK_AGAIN_NS:
            self._synced, self._asked_ns = self._ask_synced(), now_ns
        return self._synced
