"""Figures of processes and of the machine: memory, open files, rates. Paths are parameters: a test hands over a folder."""

import bisect
import contextlib
import functools
import itertools
import os
import time
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

LATENCY_BOUNDS_S = (
    0.001,
    0.002,
    0.005,
    0.01,
    0.02,
    0.05,
    0.1,
    0.2,
    0.5,
    1.0,
    2.0,
    5.0,
)  # from a Pi 5 to a Zero with too much to do
_THREADS_CLOCK = 6  # of clock_gettime(2): that of a thread, by its number, as pthread_getcpuclockid(3) makes it
_LEFT_FREE_MB, _PLENTY_MB, _STEP_MB = 100.0, 500.0, 50.0


def memory_mb(pid: int | str = "self", proc: Path = Path("/proc")) -> float:
    """Resident memory of a process (VmRSS); 0 when it is gone."""
    try:
        status = (proc / str(pid) / "status").read_text()
    except OSError:
        return 0.0
    for line in status.splitlines():
        if line.startswith("VmRSS:"):
            return round(int(line.split()[1]) / 1024, 1)
    return 0.0


def holders(files: Collection[str], proc: Path = Path("/proc")) -> Iterator[int]:
    """The processes that have one of these files open, by number, as far as this user may see: root sees all.

    files: resolved paths.
    """
    for process in sorted((one for one in proc.glob("[0-9]*") if one.name.isdecimal()), key=lambda one: int(one.name)):
        if any(link in files for link in _open_files(process)):
            yield int(process.name)


def _open_files(process: Path) -> Iterator[str]:
    try:
        for file in (process / "fd").iterdir():
            with contextlib.suppress(OSError):  # closed meanwhile
                yield str(file.readlink())
    except OSError:  # it ended, or is another user's
        return


def peak_memory_mb() -> float:
    """Peak resident memory of this process (VmHWM of /proc/self/status)."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return round(int(line.split()[1]) / 1024, 1)
    return 0.0


def spent_ns(proc: Path = Path("/proc")) -> dict[str, tuple[int, int]]:
    """By thread of this process, since it began: time on a processor, and time that it waited for one (schedstat), ns.

    Empty where the kernel does not tell. The clock of a whole process only ticks under RLIMIT_CPU; those of threads do not.
    """
    found = dict[str, tuple[int, int]]()
    with contextlib.suppress(OSError):
        for thread in os.listdir(proc / "self/task"):  # noqa: PTH208  # around each inference: it must cost little
            with contextlib.suppress(OSError, ValueError, IndexError):  # one that has just ended
                ran_ns = time.clock_gettime_ns((~int(thread) << 3) | _THREADS_CLOCK)
                found[thread] = ran_ns, int((proc / "self/task" / thread / "schedstat").read_text().split()[1])
    return found


def board_memory_mb(proc: Path = Path("/proc")) -> float:
    """All memory of the machine (MemTotal); 0 where it is not told."""
    try:
        first = (proc / "meminfo").read_text().split("\n", 1)[0]
    except OSError:
        return 0.0
    return int(first.split()[1]) / 1024 if first.startswith("MemTotal:") else 0.0


@functools.cache
def spare_memory_mb(proc: Path = Path("/proc")) -> float:
    """What one more process may take and 100 MB stay free; infinite where 500 MB would still not be missed, or nobody tells.

    In steps of 50 MB and asked once in the life of a process: whatever is chosen by it must not change with each look.
    """
    try:
        lines = dict(line.split(":", 1) for line in (proc / "meminfo").read_text().splitlines())
        spare_mb = int(lines["MemAvailable"].split()[0]) / 1024 - _LEFT_FREE_MB
    except (OSError, ValueError, KeyError, IndexError):
        return float("inf")
    return float("inf") if spare_mb >= _PLENTY_MB else max(_STEP_MB, spare_mb // _STEP_MB * _STEP_MB)


class Histogram:
    """How often a duration was at most each of some bounds, since the beginning. Thread: one."""

    def __init__(self, bounds_s: Sequence[float] = LATENCY_BOUNDS_S) -> None:
        self._bounds_s, self._counts = tuple(bounds_s), [0] * len(bounds_s)
        self._sum_s, self._count = 0.0, 0

    def add(self, seconds: float) -> None:
        self._sum_s += seconds
        self._count += 1
        if (at := bisect.bisect_left(self._bounds_s, seconds)) < len(self._counts):
            self._counts[at] += 1

    def to_dict(self) -> dict[str, Any]:
        """buckets: [bound, how many were at most that], rising; sum in s; count."""
        rising = itertools.accumulate(self._counts)
        return {
            "buckets": [list(pair) for pair in zip(self._bounds_s, rising, strict=True)],
            "sum": self._sum_s,
            "count": self._count,
        }


def quantile(values: Sequence[float], share: float) -> float | None:
    """The nearest-rank quantile, which is a value that was really measured."""
    if not values:
        return None
    ordered = sorted(values)
    return round(ordered[min(len(ordered) - 1, int(share * len(ordered)))], 2)


def rate_hz(times_ns: Sequence[int], now_ns: int | None = None, window_s: float = 10.0) -> float:
    """How often something happened in the last `window_s`, or since it began where that is less."""
    now_ns = time.monotonic_ns() if now_ns is None else now_ns
    recent = [t for t in times_ns if now_ns - t <= window_s * 1e9]
    if len(recent) < 2:
        return 0.0
    return round((len(recent) - 1) / max(1e-9, (now_ns - recent[0]) / 1e9), 2)
