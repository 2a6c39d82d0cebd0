"""Which board this is: what a measurement holds for, and nothing else. /proc is a parameter: tests hand it a folder."""

import importlib.metadata
import os
import platform
from dataclasses import dataclass
from pathlib import Path

from edged.errors import ModelError

_RUNTIMES = ("tflite-runtime", "ai-edge-litert")  # in the order in which the classifier looks for them


@dataclass(frozen=True, slots=True)
class Board:
    """name as the device tree or the processor says it; cores that this process may use; the machine's memory."""

    name: str
    arch: str
    cores: int
    memory_mb: int

    @property
    def key(self) -> str:
        return f"{self.name} · {self.arch} · {self.cores} cores · {self.memory_mb} MB"


def load_board(proc: Path = Path("/proc")) -> Board:
    """Read once at start. Never raises: what can't be read is "unknown" or 0."""
    memory_kb = _field(proc / "meminfo", "MemTotal").removesuffix(" kB")
    return Board(
        name=_model(proc),
        arch=platform.machine(),
        cores=len(os.sched_getaffinity(0)),
        # the kernel keeps a little more or less for itself after an update; the board is the same
        memory_mb=round(int(memory_kb) / 1024 / 64) * 64 if memory_kb.isdecimal() else 0,
    )


def runtime_version() -> str:
    """ "name version" of the runtime that will be used, without loading it. Raises ModelError when none is installed."""
    for name in _RUNTIMES:
        try:
            return f"{name} {importlib.metadata.version(name)}"
        except importlib.metadata.PackageNotFoundError:
            continue
    raise ModelError("no TFLite runtime is installed: pip install ai-edge-litert, or edged[tflite-runtime] on Python 3.11")


def _model(proc: Path) -> str:
    try:
        return (proc / "device-tree/model").read_text().strip("\0\n ")
    except OSError:
        return _field(proc / "cpuinfo", "model name") or _field(proc / "cpuinfo", "Model") or "unknown"


def _field(path: Path, name: str) -> str:
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.partition(":")[0].strip() == name), "")
