"""The real picamera2 on the real libcamera, whose virtual camera shows pictures. Needs the bed that libcamera/build makes."""

import json
import os
import signal
import subprocess
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.contract.vision.test_cameras import card
from tests.e2e.running import HANG_S, Edged, promised, wait_for
from tests.models import any_model_config
from tests.shared import SHARED, needs_shared

HERE = Path(__file__).parent / "libcamera"
ROOT = Path(os.environ.get("EDGED_BEDS", "/var/tmp/edged-beds"), "libcamera")

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or not (ROOT / "built").is_file(), reason=f"no libcamera bed in {ROOT}; `make bed` builds it (as root)"
)


def show(folder: Path, picture: np.ndarray) -> Path:
    """A folder with the picture as the virtual camera wants it."""
    folder.mkdir()
    for number in range(3):
        cv2.imwrite(str(folder / f"{number}.jpg"), cv2.resize(picture, (640, 480), interpolation=cv2.INTER_AREA))
    return folder


def in_bed(frames: Path, *command: str) -> list[str]:
    return [str(HERE / "run"), str(frames), *command]


def test_the_contract_of_cameras_holds_for_picamera2(tmp_path):
    tests = ["python", "-m", "pytest", "-p", "no:cacheprovider", "tests/contract/vision/test_cameras.py", "-k", "picamera2"]
    done = subprocess.run(
        in_bed(show(tmp_path / "frames", card()), *tests), capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
    assert "6 passed" in done.stdout, done.stdout


@needs_shared
@pytest.mark.parametrize("picture", ["bird.bmp", "cat.bmp", "parrot.jpg", "grace_hopper.bmp"])
def test_what_the_camera_sees_comes_out_of_mqtt_by_its_name(tmp_path, config, heard, picture):
    assert SHARED is not None
    reference = json.loads((SHARED / "facts" / "reference_predictions.json").read_text())
    label = reference[picture]["mobilenet_v1_1.0_224_quant"][0]["label"]
    config["camera"] = {"kind": "picamera2", "source": "0", "fps": 10.0}
    model = SHARED / "models" / "mobilenet_v1_1.0_224_quant.tflite"
    config["model"] = {"name": str(model), "labels": str(SHARED / "labels" / "imagenet_1001.txt")}
    frames = show(tmp_path / "frames", cv2.imread(str(SHARED / "pictures" / picture)))
    edged = Edged(tmp_path, config, python=in_bed(frames, "python"))
    try:
        results = wait_for(lambda: heard.of("result")[5:], 30, "results")
        assert heard.of("camera")[-1]["state"] == "ok"
        assert edged.end() == 0
    finally:
        edged.process.kill()
        edged.process.wait()
    print(picture, [(r["top"][0]["label"], r["top"][0]["score"], r["frame"]["age_ms"]) for r in results[:3]])
    for result in results:
        assert label == result["top"][0]["label"]
        assert result["frame"]["age_ms"] > 0
        promised("a result", result["frame"]["age_ms"] / 1000, 0.5)
        assert (result["frame"]["width"], result["frame"]["height"]) == (640, 480)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_libcamera_is_there_again_for_the_next_process(tmp_path, config, heard, number):
    """SIGSTOP is a library that hangs with the GIL held: only a kill from outside helps."""
    config["camera"] = {"kind": "picamera2", "source": "0", "fps": 10.0}
    config["model"] = any_model_config()
    edged = Edged(tmp_path, config, python=in_bed(show(tmp_path / "frames", card()), "python"))
    try:
        wait_for(lambda: heard.of("result"), 30, "results")
        first = edged.vision_pid()
        os.kill(first, number)
        wait_for(lambda: heard.of("camera")[-1]["state"] == "lost", 7, "lost")
        wait_for(lambda: heard.of("camera")[-1]["state"] == "ok", 15, "ok again")
        assert edged.vision_pid() != first
        assert heard.of("status") == ["online"]
        assert edged.end() == 0
    finally:
        edged.process.kill()
        edged.process.wait()


def test_init_finds_it_and_shows_what_it_sees(tmp_path):
    """As on a Pi with its camera: nothing is asked, and the config is one that `check` takes in the same place."""
    config = tmp_path / "edged.toml"
    frames = show(tmp_path / "frames", card())
    done = subprocess.run(
        in_bed(frames, "python", "-m", "edged", "init", "-c", str(config)),
        capture_output=True,
        text=True,
        timeout=HANG_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert 'kind = "picamera2"' in config.read_text() and 'source = "0"' in config.read_text()
    said = next(line for line in done.stdout.splitlines() if line.startswith("it sees"))
    assert "nothing yet" not in said and "640 × 480" in said, said
    checked = subprocess.run(
        in_bed(frames, "python", "-m", "edged", "check", "-c", str(config)),
        capture_output=True,
        text=True,
        timeout=HANG_S,
        check=False,
    )
    assert (checked.returncode, checked.stderr) == (0, ""), checked.stderr
    assert "camera: " not in checked.stdout
