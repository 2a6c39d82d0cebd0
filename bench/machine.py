"""What figures are told of, and what a process took."""

import os
import platform
from pathlib import Path


def to_machine() -> str:
    """This machine in a line."""
    return f"{_processor()}, {os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"


def cpu_s(pid: int) -> float:
    """Of all its threads, to the nanosecond: what is measured is less than the clock's tick."""
    tasks = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(task.read_text().split()[0]) for task in tasks) / 1e9


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or "unknown processor"
