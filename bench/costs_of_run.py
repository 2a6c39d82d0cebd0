"""A running edged with a broker of its own: what its two processes take, once they are warm."""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from machine import cpu_s

from tests.conftest import *  # noqa: F403  # where Mosquitto is looked for
from tests.e2e.running import Broker, Heard, edged_with, wait_for

TOP = Path(__file__).resolve().parents[1]
WARM_S = 14.0  # the daemon settles its memory ten seconds after its start


@contextlib.contextmanager
def bytecode() -> Iterator[dict[str, str]]:
    """An environment in which modules are compiled once, as they are where edged is installed."""
    with tempfile.TemporaryDirectory() as folder:
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        environment |= {"PYTHONPYCACHEPREFIX": folder, "PYTHONDONTWRITEBYTECODE": ""}
        for modules in ("edged.__main__, edged.commands.run, edged.daemon.run, edged.daemon.daemon", "edged.vision.process"):
            subprocess.run([sys.executable, "-c", f"import {modules}"], check=True, env=environment, cwd=TOP)
        yield environment


def memory_mb(pid: int) -> dict[str, float]:
    """Resident, and what it would be if shared pages were shared out among those who have them."""
    lines = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:])
    return {name.lower(): round(int(lines[name].split()[0]) / 1024, 1) for name in ("Rss", "Pss")}


class Bench:
    def __init__(self, folder: Path, seconds: float, environment: dict[str, str]) -> None:
        self.folder, self.environment, self._seconds = folder, environment, seconds
        self.broker = Broker(folder)
        self.heard = Heard(self.broker.port)
        self.picture = Path(__import__("skimage").__file__).parent / "data/chelsea.png"

    def close(self) -> None:
        self.heard.close()
        self.broker.end()

    def to_config(self, more: dict[str, Any], state: Path, fps: float = 5.0) -> dict[str, Any]:
        """The pictures camera decodes its one file once, so that what is measured is the way of a frame."""
        return {
            "device": "bench",
            "state_folder": str(state),
            "camera": {"kind": "pictures", "source": str(self.picture), "fps": fps},
            "mqtt": {"host": "127.0.0.1", "port": self.broker.port},
        } | more

    def run(self, more: dict[str, Any], folder: Path, fps: float = 5.0) -> dict[str, Any]:
        """By process: share of a core in %, memory in MB; and results a second that were classified."""
        folder.mkdir(parents=True, exist_ok=True)
        self.heard.messages.clear()
        with edged_with(folder, self.to_config(more, folder / "state", fps), environment=self.environment) as edged:
            wait_for(lambda: self.heard.of("result"), 60, "a result")
            threading.Event().wait(WARM_S)
            vision = edged.vision_pid()
            assert vision is not None
            pids = {"courier": edged.process.pid, "vision": vision}
            before, began_s = {name: cpu_s(pid) for name, pid in pids.items()}, time.monotonic()
            threading.Event().wait(self._seconds)
            passed_s = time.monotonic() - began_s
            told = {
                name: {"cpu_percent": round((cpu_s(pid) - before[name]) / passed_s * 100, 2)} | memory_mb(pid)
                for name, pid in pids.items()
            }
            edged.end()
        print(json.dumps({folder.name: told}), flush=True)
        return told
