"""Teaching beside a running daemon: what the camera shows is marked, taught, run, and its events arrive."""

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.e2e.running import edged_with, wait_for
from tests.things import album as drawn
from tests.things import draw

CONTROL = "edged/test/control"


def edged(*words: object, config: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "edged", *map(str, words), "-c", str(config)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


def marks(folder: Path) -> list[Path]:
    return sorted((folder / "state" / "marks").rglob("*.jpg"))


@pytest.fixture
def shows(tmp_path, config):
    """The camera shows six discs, then six bars, each for a second."""
    folder = tmp_path / "scene"
    folder.mkdir()
    for place, thing in enumerate(["discs"] * 6 + ["bars"] * 6):
        for again in range(10):
            cv2.imwrite(str(folder / f"{place:02}_{again}.png"), draw(thing, 200 + place))
    config["camera"]["source"] = str(folder)
    config["model"] = {"name": "home_0.25_96"}
    del config["decision"]["enter"], config["decision"]["leave"], config["decision"]["margin"]  # the card's own


def test_a_taught_model_runs_and_its_events_arrive(tmp_path, config, heard, shows):
    shown = [word for thing in ("discs", "bars") for word in ("--label", f"{thing}={drawn(tmp_path / thing, thing, 12)}")]
    with edged_with(tmp_path, config) as running:
        wait_for(lambda: heard.of("result"), 60, "results")
        done = edged("teach", "things", *shown, "--base", "home_0.25_96", config=running.config)
        assert done.returncode == 0, done.stderr
        assert running.process.poll() is None and heard.of("model")[-1]["card"] == "home_0.25_96"
        done = edged("use", "things", config=running.config)
        assert done.returncode == 0 and "things is in use" in done.stdout, done.stderr
        wait_for(lambda: [one for one in heard.of("model") if one["card"] == "things"], 20, "the model is told")
        wanted = {("entered", "discs"), ("left", "discs"), ("entered", "bars"), ("left", "bars")}
        wait_for(
            lambda: wanted <= {(one["event_type"], one["label"]) for one in heard.of("event") if one["model"] == "things"},
            60,
            "its events",
        )
        # the running model is left alone, and so is its file
        before = {path: path.read_bytes() for path in (tmp_path / "state" / "models").iterdir()}
        (tmp_path / "names.txt").write_text("rings\nrods\n")
        again = tmp_path / "again.tflite"
        again.write_bytes((tmp_path / "state" / "models" / "things.tflite").read_bytes())
        for words in (
            ("models", "remove", "things"),
            ("models", "add", again, "--labels", tmp_path / "names.txt", "--as", "things"),
        ):
            done = edged(*words, config=running.config)
            assert done.returncode == 1 and done.stdout == ""
            assert done.stderr.startswith("things runs now, and the running model is left alone: let another one run first")
            assert len(done.stderr.splitlines()) == 1
        assert before == {path: path.read_bytes() for path in (tmp_path / "state" / "models").iterdir()}
        done = edged("teach", "things", *shown, "--base", "home_0.25_96", "--again", config=running.config)
        assert done.returncode == 1 and "things runs now" in done.stderr
        # and when another one runs it may go, although it is what edged would still go back to: of that it has a copy
        assert edged("use", "home_0.25_96", config=running.config).returncode == 0
        done = edged("models", "remove", "things", config=running.config)
        assert (done.returncode, done.stdout) == (0, "removed things\n"), done.stderr
        assert not any((tmp_path / "state" / "models").iterdir())
        assert running.end() == 0


def test_what_the_camera_sees_is_marked_as_the_model_sees_it(tmp_path, config, heard, shows):
    config["camera"] |= {"region": [0.5, 0.0, 0.5, 1.0], "crop": "full"}
    with edged_with(tmp_path, config) as running:
        wait_for(lambda: heard.of("result"), 60, "results")
        for _ in range(3):
            done = edged("teach", "mark", "left side", "--json", config=running.config)
            assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout) == {"label": "left side", "count": 3}
        kept = marks(tmp_path)
        assert len(kept) == 3 and all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in kept)
        rows = json.loads(edged("teach", "marks", "--json", config=running.config).stdout)
        assert [(row["label"], row["count"]) for row in rows] == [("left side", 3)]
        # one of the pictures that were shown, its right half made square
        seen = cv2.imread(str(kept[-1])).astype(float)
        assert seen.shape == (320, 320, 3)
        halves = [
            cv2.resize(cv2.imread(str(path))[:, 80:], (320, 320)).astype(float)
            for path in sorted((tmp_path / "scene").glob("*_0.png"))
        ]
        assert min(np.abs(seen - half).mean() for half in halves) < 8
        assert edged("teach", "forget", "left side", config=running.config).stdout == "erased 3 pictures\n"
        assert marks(tmp_path) == []
        for label, why in (("none", "no label is seen"), ("../x", "is no label"), ("x" * 100, "longer than 80 bytes")):
            done = edged("teach", "mark", label, config=running.config)
            assert done.returncode == 1 and why in done.stderr and len(done.stderr.splitlines()) == 1
        assert running.end() == 0


def test_nothing_is_marked_while_paused(tmp_path, config, heard, shows):
    with edged_with(tmp_path, config) as running:
        wait_for(lambda: heard.of("result"), 60, "results")
        heard.publish(CONTROL, b'{"action": "pause"}')
        wait_for(lambda: (heard.of("camera") or [{}])[-1].get("state") == "paused", 20, "paused")
        done = edged("teach", "mark", "discs", config=running.config)
        assert done.returncode == 1 and "edged is paused" in done.stderr
        assert marks(tmp_path) == []
        heard.publish(CONTROL, b'{"action": "resume"}')
        wait_for(lambda: edged("teach", "mark", "discs", config=running.config).returncode == 0, 30, "a mark again")
        assert running.end() == 0


def test_nothing_is_marked_where_pictures_are_not_allowed(tmp_path, config, heard, shows):
    config["snapshot"] = {"local": False}
    with edged_with(tmp_path, config) as running:
        wait_for(lambda: heard.of("result"), 60, "results")
        done = edged("teach", "mark", "discs", config=running.config)
        assert done.returncode == 1 and "local = false" in done.stderr
        assert marks(tmp_path) == [] and not os.path.lexists(tmp_path / "state" / "marks")
        assert running.end() == 0
