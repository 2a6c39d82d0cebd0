"""What the page costs: the courier with the page off and on, the page's process, and a viewer at five pictures a second.

    python bench/page.py [SECONDS] [--base CHECKOUT]      CHECKOUT: another edged, side by side with this one, page off

Needs Mosquitto. Prints processor time as a share of one core, and resident memory.
"""

import argparse
import contextlib
import http.client
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import tomlkit

TOP = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TOP), str(TOP / "bench")]

from machine import cpu_s  # noqa: E402

from tests.conftest import *  # noqa: E402, F403  # where Mosquitto is looked for
from tests.e2e.paged import Paged, page_with  # noqa: E402
from tests.e2e.running import Broker, Edged, edged_with, free_port, wait_for  # noqa: E402

FPS = 5.0


def memory_mb(pid: int) -> float:
    return next(
        int(line.split()[1]) / 1024 for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS")
    )


class Viewer(threading.Thread):
    """What the page's own script asks for: the stream, five pictures a second, the hour every ten seconds."""

    def __init__(self, page: Paged) -> None:
        super().__init__(daemon=True)
        self._page, self._cookie, self.pictures, self._ended = page, page.log_in(page.tokens.view), 0, threading.Event()

    def run(self) -> None:
        stream = http.client.HTTPConnection("127.0.0.1", self._page.port)
        stream.request("GET", "/live", headers={"Cookie": self._cookie})
        connection = stream.sock  # the answer takes it over
        assert connection is not None
        answer = stream.getresponse()
        drained = threading.Thread(target=lambda: [None for _ in iter(lambda: answer.read1(65536), b"")], daemon=True)
        drained.start()
        begun = last = time.monotonic()
        while not self._ended.wait(max(0.0, begun + self.pictures / FPS - time.monotonic())):
            self.pictures += self._page.get("/picture?view=whole", self._cookie)[2][:2] == b"\xff\xd8"
            if time.monotonic() - last > 10:
                last = time.monotonic()
                self._page.get("/hour", self._cookie)
        with contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)
        stream.close()

    def end(self) -> None:
        self._ended.set()
        self.join(10)


def spent(seconds: float, **pids: int) -> dict[str, float]:
    """Percent of one core, of each process."""
    before = {name: cpu_s(pid) for name, pid in pids.items()}
    began = time.monotonic()
    threading.Event().wait(seconds)
    passed = time.monotonic() - began
    return {name: round((cpu_s(pid) - before[name]) / passed * 100, 2) for name, pid in pids.items()}


def to_config(folder: Path, broker: Broker, *, page: bool) -> dict[str, Any]:
    (folder / "album").mkdir(parents=True)
    source = Path(__import__("skimage").__file__).parent / "data"
    for number in range(20):
        (folder / "album" / f"{number:02}.png").symlink_to(source / ("chelsea.png" if number < 10 else "coffee.png"))
    return {
        "device": folder.name,
        "state_folder": str(folder / "state"),
        "camera": {"kind": "pictures", "source": str(folder / "album"), "fps": FPS},
        "model": {"name": "home_0.25_96"},
        "mqtt": {"host": "127.0.0.1", "port": broker.port},
    } | ({"page": {"enabled": True, "port": free_port()}} if page else {})


def started(edged: Edged) -> None:
    wait_for(lambda: "camera ok" in edged.said.read_text() and edged.vision_pid(), 60, "edged sees")
    threading.Event().wait(8)


def against(base: Path, folder: Path, broker: Broker, seconds: float) -> None:
    config = folder / "base" / "edged.toml"
    values = to_config(folder / "base", broker, page=False)
    config.write_text(tomlkit.dumps(values))
    said = (folder / "base/log").open("wb")
    other = subprocess.Popen(
        [sys.executable, "-m", "edged", "run", "-c", str(config)], cwd=base, env=os.environ | {"PYTHONPATH": str(base)}, stderr=said
    )
    try:
        with edged_with(mine := folder / "mine", to_config(mine, broker, page=False)) as edged:
            started(edged)
            told = spent(seconds, base=other.pid, this=edged.process.pid)
            print(json.dumps({"courier, page off, % of a core": told}))
            print(json.dumps({"courier, page off, MB": {"base": memory_mb(other.pid), "this": memory_mb(edged.process.pid)}}))
    finally:
        other.terminate()
        other.wait(10)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("seconds", nargs="?", type=float, default=20.0)
    parser.add_argument("--base", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        broker = Broker(folder)
        try:
            if given.base is not None:
                against(given.base, folder, broker, given.seconds)
                return
            one = folder / "one"
            config = to_config(one, broker, page=True)
            with edged_with(one, config) as edged, page_with(one, edged.config, config["page"]["port"]) as page:
                started(edged)
                vision = edged.vision_pid()
                assert vision is not None
                pids = {"courier": edged.process.pid, "vision": vision, "page": page.process.pid}
                print(json.dumps({"nobody looks, %": spent(given.seconds, **pids)}))
                viewer = Viewer(page)
                viewer.start()
                threading.Event().wait(2)
                began = viewer.pictures
                told = spent(given.seconds, **pids)
                print(json.dumps({"a viewer, %": told, "pictures a second": round((viewer.pictures - began) / given.seconds, 2)}))
                print(json.dumps({"MB": {name: round(memory_mb(pid), 1) for name, pid in pids.items()}}))
                viewer.end()
                threading.Event().wait(4)
                print(json.dumps({"nobody any more, %": spent(given.seconds, **pids)}))
        finally:
            broker.end()


if __name__ == "__main__":
    main()
