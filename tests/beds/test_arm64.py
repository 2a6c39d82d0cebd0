"""The packages for the Pi on Debian arm64 of each suite, under qemu-user. Needs the bed that arm64/build makes."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import tomlkit

from tests.e2e.running import wait_for
from tests.shared import SHARED

HERE = Path(__file__).parent / "arm64"
BED = Path(os.environ.get("EDGED_BEDS", "/var/tmp/edged-beds"), "arm64")
SUITES = {"bookworm": "3.11", "trixie": "3.13"}
SLOW_S = 240  # under qemu everything is so slow, and more so on a busy machine

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or not all((BED / f"{suite}.package").is_file() for suite in SUITES),
    reason=f"no arm64 bed in {BED}; `make bed-arm64` builds it (as root)",
)


@pytest.fixture(params=SUITES)
def suite(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def pictures(tmp_path: Path, album: Path) -> Path:
    """As files of the bed: those of ../shared, where they are, and the photographs of the demo."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    found = [*sorted(album.glob("?0_*.png")), *(sorted((SHARED / "pictures").iterdir()) if SHARED else [])]
    for picture in found:
        shutil.copyfile(picture, folder / picture.name)
    return folder


def in_bed(suite: str, *command: str) -> list[str]:
    return [str(HERE / "run"), suite, *command]


def said_in_bed(suite: str, *command: str) -> str:
    done = subprocess.run(in_bed(suite, *command), capture_output=True, text=True, timeout=SLOW_S, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_its_own_packages_and_those_of_apt_live_together(suite, tmp_path):
    """As picamera2 will: a module of apt's, compiled against apt's NumPy, gets ours. And a stray file stands in for nothing."""
    (tmp_path / "numpy.py").write_text("raise SystemExit('this is not NumPy')\n")
    script = tmp_path / "script.py"
    script.write_text("""
import json, platform, sys
import bottleneck, cv2, numpy
mean = bottleneck.nanmean(numpy.array([1.0, 3.0, numpy.nan]))
versions = [sys.version_info[:2], platform.machine(), numpy.__version__, cv2.__version__]
print(json.dumps([*versions, numpy.__file__, bottleneck.__file__, mean]))
""")
    words = ["env", "-C", str(tmp_path), "PYTHONSAFEPATH=1", "/usr/lib/edged/bin/python3", str(script)]
    version, machine, numpy_version, cv2_version, numpy_file, apts, mean = json.loads(said_in_bed(suite, *words))
    assert (".".join(map(str, version)), machine, mean) == (SUITES[suite], "aarch64", 2.0)
    assert numpy_file.startswith("/usr/lib/edged/") and apts.startswith("/usr/lib/python3/dist-packages/")
    if suite == "bookworm":
        assert numpy_version < "2" and tuple(map(int, cv2_version.split(".")[:2])) < (4, 12)


NEAR = 0.05  # two labels that are nearer are a tie: a JPEG is not decoded to the same bytes by every libjpeg


def test_the_same_is_seen_as_on_this_machine(suite, pictures, tmp_path):
    (tmp_path / "numpy.py").write_text("raise SystemExit('this is not NumPy')\n")
    asks = [["-m", "home_0.25_128"]]
    if SHARED is not None:
        for name in ("models/mobilenet_v1_0.25_128_quant.tflite", "labels/imagenet_1001.txt"):
            shutil.copyfile(SHARED / name, tmp_path / Path(name).name)
        asks.append(["-m", str(tmp_path / "mobilenet_v1_0.25_128_quant.tflite"), "-l", str(tmp_path / "imagenet_1001.txt")])
    for ask in asks:
        words = ["classify", "--json", *ask, str(pictures)]
        here = subprocess.run([sys.executable, "-m", "edged", *words], capture_output=True, text=True, check=True).stdout
        there = said_in_bed(suite, "env", "-C", str(tmp_path), "edged", *words)
        seen_there, seen_here = scores(there), scores(here)
        assert seen_there.keys() == seen_here.keys() and len(seen_here) >= 7
        for picture, found in seen_here.items():
            first = max(seen_there[picture], key=seen_there[picture].__getitem__)
            assert found.get(first, 0.0) >= max(found.values()) - NEAR, (picture, found, seen_there[picture])


def scores(said: str) -> dict[str, dict[str, float]]:
    """By picture, the best labels."""
    lines = [json.loads(line) for line in said.splitlines()]
    return {Path(line["picture"]).name: {one["label"]: one["score"] for one in line["top"]} for line in lines}


@pytest.fixture
def running(suite: str, tmp_path: Path, config: dict, pictures: Path) -> Iterator[subprocess.Popen]:
    config["camera"] = {"kind": "pictures", "source": str(pictures), "fps": 1.0, "show_s": 0.0}
    config["model"] = {"name": "home_0.25_96"}
    path = tmp_path / "edged.toml"
    path.write_text(tomlkit.dumps(config))
    with (tmp_path / "edged.log").open("wb") as log:
        process = subprocess.Popen(in_bed(suite, "edged", "run", "-c", str(path)), stdout=log, stderr=log)
    yield process
    process.kill()
    process.wait()


def test_a_pi_tells_the_broker_of_this_machine_what_it_sees(suite, tmp_path, running, heard):
    try:
        results = wait_for(lambda: heard.of("result")[7:], SLOW_S, "results")
        events = wait_for(lambda: heard.of("event"), SLOW_S, "an event")
        assert heard.of("status") == ["online"]
        assert heard.of("camera")[-1]["state"] == "ok"
        model = heard.of("model")[-1]
        assert (model["card"], model["delegate"]) == ("home_0.25_96", "XNNPACK")
        assert events[0]["event_type"] == "entered" and events[0]["seq"] == 1
        assert all(result["top"][0]["score"] > 0 for result in results)
        running.terminate()
        assert running.wait(SLOW_S) == 0
        assert heard.of("status")[-1] == "offline"
    except AssertionError:
        sys.stdout.write((tmp_path / "edged.log").read_text())
        raise
