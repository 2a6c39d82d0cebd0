"""What may be asked of a running daemon besides how it is: a picture, another level of its log, a file for whoever helps."""

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from edged.commands.snapshot import to_lines
from edged.vision.snapshot import draw
from tests.e2e.running import HANG_S, edged_with, wait_for

REGION = [0.25, 0.2, 0.5, 0.6]


def ask(*words: object, start_new_session: bool = False) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "edged", *map(str, words)]
    return subprocess.run(command, capture_output=True, timeout=HANG_S, check=False, start_new_session=start_new_session)


@pytest.fixture
def one_picture(tmp_path: Path, config: dict) -> dict:
    album = tmp_path / "one"
    album.mkdir()
    cv2.imwrite(str(album / "grey.png"), np.full((240, 320, 3), 200, np.uint8))
    config["camera"] = {"kind": "pictures", "source": str(album), "fps": 10.0, "region": REGION}
    config["model"] = {"name": "home_0.25_96"}  # auto takes another one as soon as the machine has measured it
    return config


def test_a_snapshot_shows_what_is_seen_and_what_was_made_of_it(tmp_path, one_picture, heard):
    with edged_with(tmp_path, one_picture) as running:
        wait_for(lambda: heard.of("result"), 60, "a result")
        option = ["-c", running.config]
        file = tmp_path / "x.jpg"
        done = ask("snapshot", "-o", file, *option)
        assert done.returncode == 0, done.stderr
        assert file.stat().st_mode & 0o777 == 0o600
        best = heard.of("result")[-1]["top"][0]["label"]
        said = done.stdout.decode()
        assert said.startswith(f"{file}: ") and "leads by 0." in said and best in said and "enter 0.4, margin 0.05" in said
        drawn = cv2.imread(str(file))
        assert drawn.shape[0] > 240 * drawn.shape[1] // 320, "the lines are below the picture"
        height = drawn.shape[1] * 240 // 320
        inside, outside = drawn[height // 2, drawn.shape[1] // 2], drawn[height // 20, drawn.shape[1] // 20]
        assert inside.mean() > 190 and outside.mean() < 80, "what lies outside of the region is dark"
        assert drawn[height + 10 :].max() > 200, "something is written"
        assert ask("snapshot", "-o", file, "--plain", "--view", "region", *option).returncode == 0
        plain = cv2.imread(str(file))
        assert plain.shape[:2] == (144, 160) and plain.mean() > 190
        told = ask("snapshot", "-o", "-", "--plain", "--view", "model", "--json", *option)
        model = cv2.imdecode(np.frombuffer(told.stdout, np.uint8), cv2.IMREAD_COLOR)
        about = json.loads(told.stderr)
        assert model.shape[0] == model.shape[1] and model.shape[0] == 96
        assert about["region"] == REGION and about["top"][0][0] == best and "jpeg" not in about
        folder = ask("snapshot", "-o", tmp_path, *option)
        assert (folder.returncode, folder.stderr.decode()) == (74, f"{tmp_path}: cannot be written: Is a directory\n")
        nobody = ask("snapshot", "-o", "/dev/tty", *option, start_new_session=True)
        assert nobody.returncode == 74 and nobody.stderr.decode().startswith("/dev/tty: cannot be written: "), "no terminal"
        assert ask("use", "home_0.25_128", *option).returncode == 0, "and nothing was disturbed"
        running.end()


@pytest.mark.parametrize("how", ["paused", "not allowed", "no daemon"])
def test_where_no_picture_may_be_shown_there_is_one_sentence_and_no_file(tmp_path, one_picture, heard, how):
    one_picture["snapshot"] = {"local": how != "not allowed"}
    file = tmp_path / "x.jpg"
    with edged_with(tmp_path, one_picture) as running:
        wait_for(lambda: heard.of("result"), 60, "a result")
        if how == "paused":
            heard.publish("edged/test/control", b'{"action": "pause"}')
            wait_for(lambda: heard.of("camera")[-1]["state"] == "paused", 10, "paused")
        if how == "no daemon":
            running.end()
        done = ask("snapshot", "-o", file, "-c", running.config)
        running.end()
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (69, b"", 1)
    assert (b"no edged answers at" if how == "no daemon" else b"no picture: ") in done.stderr
    assert not file.exists()


@pytest.mark.parametrize(
    ("shows", "region", "dark"),
    [([0, 0, 1, 1], [0, 0, 1, 1], False), ([0, 0, 1, 1], [0.5, 0, 0.5, 1], True), ([0.5, 0, 0.5, 1], [0.5, 0, 0.5, 1], False)],
)
def test_only_what_lies_outside_of_the_region_is_darkened(shows, region, dark):
    _, jpeg = cv2.imencode(".jpg", np.full((300, 600, 3), 200, np.uint8))
    drawn = cv2.imdecode(np.frombuffer(draw(jpeg.tobytes(), ["cat ✓"], shows=shows, region=region), np.uint8), cv2.IMREAD_COLOR)
    assert bool(drawn[150, 100].mean() < 100) is dark and drawn[150, 500].mean() > 180


def test_what_is_drawn_says_label_score_and_lead():
    about = {"top": [["person", 0.83], ["dog", 0.1]], "lead": 0.73, "rules": {"enter": 0.79, "margin": 0.1}, "age_ms": 31.4}
    second = ["person 0.83 | dog 0.10", "enter 0.79, margin 0.1, 31 ms old"]
    assert to_lines(about | {"label": "person"}) == ["person 0.83 (leads by 0.73)", *second]
    assert to_lines(about | {"label": "unknown"})[0] == "unknown (leads by 0.73)"


def test_the_log_is_told_another_level_while_it_runs(tmp_path, config, heard):
    with edged_with(tmp_path, config) as running:
        wait_for(lambda: heard.of("event"), 60, "an event")
        done = ask("log", "error", "-c", running.config)
        assert (done.returncode, done.stdout) == (0, b"it logs from error on; before it was info\n")
        events = len(heard.of("event"))
        wait_for(lambda: len(heard.of("event")) >= events + 2, 60, "what was on its way into the log is there")
        length, events = len(running.said.read_text()), len(heard.of("event"))
        wait_for(lambda: len(heard.of("event")) >= events + 6, 60, "more events")
        assert "INFO" not in running.said.read_text()[length:]
        assert json.loads(ask("log", "debug", "-c", running.config, "--json").stdout) == {"level": "debug", "before": "error"}
        events = len(heard.of("event"))
        wait_for(lambda: len(heard.of("event")) >= events + 2, 60, "more events")
        wait_for(lambda: "INFO entered" in running.said.read_text()[length:], 10, "it logs again")
        refused = ask("log", "loud", "-c", running.config)
        assert refused.returncode == 2 and b"loud" in refused.stderr
        running.end()


def test_a_bundle_holds_what_a_helper_needs_and_nothing_that_was_seen(tmp_path, config, heard):
    (tmp_path / "password").write_text("open-sesame-42\n")
    (tmp_path / "password").chmod(0o600)
    config["mqtt"] |= {"user": "somebody", "password_file": str(tmp_path / "password")}
    file = tmp_path / "bundle.txt"
    with edged_with(tmp_path, config) as running:
        wait_for(lambda: heard.of("event"), 60, "an event")
        done = ask("doctor", "--bundle", file, "-c", running.config)
        running.end()
    assert done.returncode in (0, 1) and b"read it before you send it" in done.stderr
    text = file.read_text()
    assert file.stat().st_mode & 0o777 == 0o600
    for part in ("edged", "system", "doctor", f"config: {running.config}", "status", "state folder", "log"):
        assert f"== {part}\n" in text, part
    assert "open-sesame" not in text and "somebody" not in text and "mqtt.user = (set)" in text
    assert '"uptime_s"' in text and '"label_since"' not in text and "outbox.db" in text
    device_id = heard.of("info")[-1]["device_id"]
    assert device_id not in text
