"""The vision process by its pipe: what the courier may rely on."""

import hashlib
import importlib.resources
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edged.process.pipe import Pipe
from edged.system.files import shipped
from tests.e2e.running import HANG_S

MODEL = shipped("models", "home_0.25_128.tflite")
LABELS = 8


class Vision:
    def __init__(self) -> None:
        self.pipe, theirs = Pipe.pair()
        command = [sys.executable, "-m", "edged.vision", str(os.getpid()), str(theirs.fileno())]
        self.process = subprocess.Popen(command, pass_fds=(theirs.fileno(),), stderr=subprocess.DEVNULL)
        theirs.close()

    def next(self, kind: str) -> dict[str, Any]:
        """The next message of this kind; the others are passed over."""
        while (message := self.pipe.receive()) is not None:
            if message[0] == kind:
                return message[1]
        raise AssertionError(f"the process ended before it said {kind}")

    def configure(self, folder: Path, **more: Any) -> None:
        camera = {"kind": "pictures", "source": str(folder), "fps": 20.0, "loop": True}
        self.pipe.send("configure", {"camera": camera, "region": [0, 0, 1, 1], "crop": "full", "max_age_ms": 500} | more)

    def load(self, path: Path = MODEL, sha256: str = "", labels: int = LABELS) -> None:
        self.pipe.send("load", {"path": str(path), "sha256": sha256, "labels": labels, "output": None, "threads": 1})


@pytest.fixture
def vision() -> Iterator[Vision]:
    vision = Vision()
    assert vision.next("ready")["pid"] == vision.process.pid
    yield vision
    vision.process.kill()
    vision.process.wait()
    vision.pipe.close()


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    for name in ("astronaut", "chelsea"):
        (tmp_path / f"{name}.png").symlink_to(Path(str(importlib.resources.files("skimage.data"))) / f"{name}.png")
    return tmp_path


def test_it_says_what_really_runs(vision):
    vision.load(sha256=hashlib.sha256(MODEL.read_bytes()).hexdigest())
    facts = vision.next("loaded")["facts"]
    assert facts["delegate"] == "XNNPACK"
    assert 0 < facts["delegate_nodes"] <= facts["nodes"]
    assert facts["runtime"].split()[0] in ("ai-edge-litert", "tflite-runtime")
    assert (facts["threads"], facts["label_count"], facts["output"]) == (1, LABELS, "probabilities")


def test_frames_keep_their_order_and_the_account_balances(vision, photographs):
    vision.load()
    vision.configure(photographs)
    index = -1
    for _ in range(20):
        result = vision.next("result")
        assert result["index"] > index
        index = result["index"]
        frames = result["frames"]
        assert frames["captured"] == sum(frames.values()) - frames["captured"]
        assert sum(score for _, score in result["scores"]) == pytest.approx(1, abs=0.05)
        assert all(ms >= 0 for ms in result["timing_ms"].values())


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"sha256": "0" * 64}, "not the one"),
        ({"labels": 1000}, "8 scores, but there are 1000 labels"),
        ({"path": Path("/nowhere.tflite")}, "cannot be read"),
        ({"path": Path(__file__)}, "not a TFLite model"),
    ],
)
def test_a_bad_model_is_refused_and_the_old_one_goes_on(vision, photographs, wrong, said):
    vision.load()
    vision.configure(photographs)
    vision.next("result")
    vision.load(**wrong)
    assert said in vision.next("load_failed")["reason"]
    vision.next("result")


def test_paused_frames_are_counted_and_not_looked_at(vision, photographs):
    vision.load()
    vision.configure(photographs)
    vision.next("result")
    vision.pipe.send("pause", {"paused": True})
    while vision.next("beat")["frames"]["paused"] == 0:
        pass
    vision.pipe.send("pause", {"paused": False})
    vision.next("result")


def test_it_ends_with_the_pipe(vision):
    vision.pipe.close()
    assert vision.process.wait(HANG_S) == 0
