"""From exposure to the subscriber: the daemon as a user runs it, a camera of pictures, a Mosquitto on loopback.

    python bench/latency.py [--models FOLDER] [--results 300] [--fps 5 30] [--networks 0.25_128 …] [--nodelay]

Needs Mosquitto. Prints a line of JSON for each network and rate. `whole_ms` is the age that a result has when the subscriber reads
it; `over_ms` what of it is not its own inference; messages carry whole milliseconds, so that both are up to one too long.
"""

import argparse
import json
import statistics
import sys
import tempfile
import threading
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt

TOP = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TOP), str(TOP / "bench")]

from networks import NAMES, to_file  # noqa: E402

from edged.models.install import Wish, add  # noqa: E402
from edged.models.store import Store  # noqa: E402
from tests.conftest import *  # noqa: E402, F403  # where Mosquitto is looked for
from tests.e2e.running import Broker, edged_with, wait_for  # noqa: E402

_WARM = 20


class Subscriber:
    """The results of one broker, each with the wall clock at its arrival."""

    def __init__(self, port: int) -> None:
        self.arrived: list[tuple[float, dict[str, Any]]] = []
        self._client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
        self._client.on_message = lambda _c, _u, message: self.arrived.append((time.time(), json.loads(message.payload)))
        subscribed = threading.Event()
        self._client.on_subscribe = lambda *_: subscribed.set()
        self._client.on_connect = lambda client, *_: client.subscribe("edged/+/result")
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        assert subscribed.wait(10)

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


def measure(folder: Path, model: Path, name: str, fps: float, results: int, broker_lines: list[str]) -> dict[str, Any]:
    album = folder / "album"
    album.mkdir()
    source = Path(__import__("skimage").__file__).parent / "data"
    for number, picture in enumerate(("chelsea", "coffee", "motorcycle_left", "astronaut")):
        (album / f"{number}.png").symlink_to(source / f"{picture}.png")
    state = folder / "state"
    add(Store(state), model, Wish(name="measured"), None)
    broker = Broker(folder, *broker_lines)
    heard = Subscriber(broker.port)
    config = {
        "device": "latency",
        "state_folder": str(state),
        "camera": {"kind": "pictures", "source": str(album), "fps": fps},
        "model": {"name": "measured", "threads": 1},
        "mqtt": {"host": "127.0.0.1", "port": broker.port, "result_fps": 240.0},
    }
    try:
        with edged_with(folder, config) as edged:
            wait_for(lambda: len(heard.arrived) >= results + _WARM, 60 + 2 * results / fps, "results")
            edged.end()
    finally:
        heard.close()
        broker.end()
    told = heard.arrived[_WARM : results + _WARM]
    invoke_ms = [result["timing_ms"]["invoke"] for _, result in told]
    whole_ms = []
    for at_s, result in told:
        published_s = datetime.fromisoformat(result["time"]).timestamp()
        whole_ms.append((at_s - published_s) * 1000 + result["frame"]["age_ms"])
    over_ms = [whole - one for whole, one in zip(whole_ms, invoke_ms, strict=True)]
    return {
        "network": name,
        "fps": fps,
        "results": len(told),
        "invoke_ms": _spread(invoke_ms),
        "whole_ms": _spread(whole_ms),
        "over_ms": _spread(over_ms),
    }


def _spread(values: list[float]) -> dict[str, float]:
    return {"p50": round(statistics.median(values), 2), "p95": round(statistics.quantiles(values, n=20)[-1], 2)}


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    beside = TOP.parent / "shared/models"
    ask.add_argument("--models", type=Path, default=beside if beside.is_dir() else None)
    ask.add_argument("--results", type=int, default=300)
    ask.add_argument("--fps", type=float, nargs="*", default=[5.0, 30.0])
    ask.add_argument("--networks", nargs="*", default=list(NAMES), choices=NAMES)
    ask.add_argument("--nodelay", action="store_true", help="Mosquitto's set_tcp_nodelay, which is off where nobody sets it")
    wanted = ask.parse_args()
    lines = ["set_tcp_nodelay true"] if wanted.nodelay else []
    with tempfile.TemporaryDirectory() as made:
        for name in wanted.networks:
            model, _ = to_file(name, wanted.models, Path(made))
            for fps in wanted.fps:
                folder = Path(made) / f"{name}_{fps:g}"
                folder.mkdir()
                print(json.dumps(measure(folder, model, name, fps, max(20, wanted.results), lines)), flush=True)


if __name__ == "__main__":
    main()
