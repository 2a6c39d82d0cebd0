"""The phases of a start, as each of the two processes reaches them: a dozen marks, which `edged run --timings` tells."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

Mark = tuple[str, int]  # the phase that ended, and when: monotonic ns
OnStarted = Callable[[int, list[Mark]], None]  # when a vision process began, and the phases of its start

_TICKS_A_S = 100  # of proc(5), whatever the kernel's own are


class Phases:
    """The first time counts: what happens again after a start is none of its phases. Thread: any."""

    def __init__(self) -> None:
        self._ended_ns: dict[str, int] = {}

    def ended(self, name: str) -> None:
        self._ended_ns.setdefault(name, time.monotonic_ns())

    @property
    def marks(self) -> list[Mark]:
        return list(self._ended_ns.items())


START = Phases()  # of this process


@dataclass(frozen=True, slots=True)
class Phase:
    """took_ms: since the one before it of the same process ended; at_ms: when it ended, since the first process began."""

    process: str
    name: str
    took_ms: float
    at_ms: float


def to_phases(process: str, marks: Sequence[Mark], began_ns: int, zero_ns: int) -> list[Phase]:
    """Those of one process, in order. began_ns: when it began; zero_ns: when the first one did. Pure."""
    phases, before_ns = list[Phase](), began_ns
    for name, ended_ns in sorted(marks, key=lambda mark: mark[1]):
        phases.append(Phase(process, name, round((ended_ns - before_ns) / 1e6, 1), round((ended_ns - zero_ns) / 1e6, 1)))
        before_ns = ended_ns
    return phases


def load_began_ns(pid: int | str = "self", proc: Path = Path("/proc")) -> int:
    """When a process began (proc(5), starttime), monotonic, to 10 ms; now where that is not told."""
    now_ns = time.monotonic_ns()
    try:
        ticks = int((proc / str(pid) / "stat").read_text().rpartition(")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return now_ns
    age_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME) - ticks * 1_000_000_000 // _TICKS_A_S
    return now_ns - max(0, age_ns)
