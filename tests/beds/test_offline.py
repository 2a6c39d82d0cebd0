"""edged in a network that holds nothing but the broker: it works from the start, and tries to reach nothing else, ever."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tomlkit

from tests.e2e.running import HANG_S, MOSQUITTO, wait_for

LAY = Path(__file__).parent / "offline" / "lay"
MISSING = [tool for tool in ("ip", "nft") if shutil.which(tool) is None]

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or bool(MISSING), reason=f"needs root{''.join(f', {tool}' for tool in MISSING)} to lay a network of its own"
)


class Island:
    """The network namespace of edged, the one of the broker, and what went out of the first."""

    def __init__(self, name: str) -> None:
        self.name = name
        subprocess.run([LAY, name], check=True)

    def close(self) -> None:
        subprocess.run([LAY, self.name, "away"], check=True)

    def on(self, *command: str) -> list[str]:
        return ["ip", "netns", "exec", self.name, *command]

    def at_broker(self, *command: str) -> list[str]:
        return ["ip", "netns", "exec", f"{self.name}-broker", *command]

    def counted(self) -> dict[str, int]:
        """Packets by where they went; from zero again afterwards."""
        told = subprocess.run(self.on("nft", "--json", "reset", "counters"), check=True, capture_output=True).stdout
        counters = (entry["counter"] for entry in json.loads(told)["nftables"] if "counter" in entry)
        return {counter["name"]: counter["packets"] for counter in counters}


@pytest.fixture
def island() -> Iterator[Island]:
    island = Island(f"edged-{os.getpid()}")
    yield island
    island.close()


@contextlib.contextmanager
def started(command: list[str], **more: Any) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(command, **more)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def settings(tmp_path: Path, album: Path) -> Path:
    """The device's name is left to the default, which is the host's."""
    path = tmp_path / "edged.toml"
    config = {
        "state_folder": str(tmp_path / "state"),
        "camera": {"kind": "pictures", "source": str(album), "fps": 10.0, "show_s": 0.0},
        "mqtt": {"host": "10.83.0.1"},
    }
    path.write_text(tomlkit.dumps(config))
    return path


EDGED = (sys.executable, "-m", "edged")
TRIES = """
import contextlib, socket
with contextlib.suppress(OSError):
    socket.getaddrinfo("example.org", 80)
for family, address in ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1")):
    with contextlib.suppress(OSError), socket.socket(family) as one:
        one.settimeout(0.1)
        one.connect((address, 443))
with contextlib.suppress(OSError):
    socket.create_connection(("127.0.0.1", 9))
"""


def test_whoever_tries_is_counted(island):
    """Else the next tests would prove nothing."""
    subprocess.run(island.on(sys.executable, "-c", TRIES), check=True)
    counted = island.counted()
    assert counted["names"] >= 1 and counted["others"] >= 2 and counted["loopback"] >= 1
    assert island.counted()["others"] == 0


def test_the_service_reaches_for_nothing_but_its_broker(island, settings, tmp_path):
    """From the start, before the broker is there, to the end; with a model that is fitted meanwhile (auto)."""
    heard, log = tmp_path / "heard", tmp_path / "edged.log"
    broker = tmp_path / "mosquitto.conf"
    broker.write_text("listener 1883 10.83.0.1\nallow_anonymous true\nuser root\n")
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with log.open("wb") as said, started(island.on(*EDGED, "run", "-c", str(settings)), stderr=said) as edged:
        wait_for(lambda: "model home" in log.read_text(), 30, "a model, with no broker")
        with (
            started(island.at_broker(MOSQUITTO, "-c", str(broker)), **quiet),
            heard.open("wb") as lines,
            started(island.at_broker(*EDGED, "watch", "-h", "10.83.0.1", "--json"), stdout=lines, stderr=subprocess.DEVNULL),
        ):
            wait_for(lambda: {"result", "event", "model", "health"} <= topics(heard), 40, "each kind of message")
            wait_for(lambda: (tmp_path / "state/measurements.json").exists(), 30, "the model is fitted")
            edged.terminate()
            assert edged.wait(HANG_S) == 0
    counted = island.counted()
    assert counted["broker"] > 10
    assert (counted["names"], counted["others"], counted["loopback"]) == (0, 0, 0), counted


@pytest.mark.parametrize("words", [["fit"], ["check"], ["models", "list"], ["--version"]], ids="-".join)
def test_a_command_reaches_for_nothing(island, settings, words):
    config = ["-c", str(settings)] if words[0] in ("fit", "check") else []
    done = subprocess.run(island.on(*EDGED, *words, *config), capture_output=True, text=True, timeout=HANG_S, check=False)
    assert done.returncode == 0, done.stderr
    counted = island.counted()
    assert {name for name, packets in counted.items() if packets} <= {"neighbours"}, counted


def topics(heard: Path) -> set[str]:
    return {
        json.loads(line)["topic"].rpartition("/")[2] for line in heard.read_text().splitlines(keepends=True) if line.endswith("\n")
    }
