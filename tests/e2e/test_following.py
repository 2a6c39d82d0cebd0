"""Switching by the config file, by `edged use` and by `model/set`, and the ways back, as a user meets them."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tomlkit

from edged.models.install import Wish, add
from edged.models.store import Store
from edged.system.files import shipped
from tests.e2e.running import HANG_S, Broker, Edged, Heard, edged_with, wait_for

SMALL, LARGE = "home_0.25_96", "home_0.25_128"


@pytest.fixture
def config(config: dict[str, Any]) -> dict[str, Any]:
    return config | {"model": {"name": SMALL}}


@pytest.fixture
def edged(tmp_path: Path, config: dict[str, Any], heard: Heard) -> Iterator[Edged]:
    with edged_with(tmp_path, config) as running:
        wait_for(lambda: heard.of("result"), 30, "a result")
        yield running
        assert running.end() == 0, running.said.read_text()
        frames = heard.of("health")[-1]["frames"]
        assert frames["captured"] == sum(frames[fate] for fate in ("inferred", "stale", "busy", "gated", "paused"))


def write(edged: Edged, config: dict[str, Any]) -> None:
    """As an editor does: another file, renamed."""
    beside = edged.config.with_suffix(".new")
    beside.write_text(tomlkit.dumps(config))
    beside.replace(edged.config)


def ask(edged: Edged, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "edged", words[0], "-c", str(edged.config), *words[1:]]
    return subprocess.run(command, capture_output=True, text=True, timeout=HANG_S, check=False)


def paused(heard: Heard) -> bool:
    return bool((heard.of("camera") or [{}])[-1].get("state") == "paused")


def card(heard: Heard) -> str:
    told = heard.of("model")
    return str(told[-1]["card"]) if told else ""


def degraded(heard: Heard) -> str:
    return " ".join(heard.of("health")[-1]["degraded"])


def test_a_model_in_the_file_is_followed_and_results_go_on(edged, config, heard):
    write(edged, config | {"model": {"name": LARGE}})
    wait_for(lambda: card(heard) == LARGE, 10, "the other model")
    wait_for(lambda: heard.of("result")[-1]["model"] == LARGE, 5, "results of it")
    frames = [result["frame"]["index"] for result in heard.of("result")]
    assert frames == sorted(frames)
    assert heard.of("model")[-1]["chosen"] == f"config: model.name = {LARGE}"
    assert not heard.of("model/error")


def test_thresholds_are_followed_at_once(edged, config, heard):
    wait_for(lambda: heard.of("label")[-1] != "unknown", 10, "a label")
    write(edged, config | {"decision": config["decision"] | {"enter": 1.0, "leave": 1.0}})
    wait_for(lambda: "config followed" in edged.said.read_text(), 10, "followed")
    wait_for(lambda: heard.of("label")[-1] == "unknown", 10, "nothing is sure enough any more")
    labels, seen = heard.of("label"), len(heard.of("result"))
    wait_for(lambda: len(heard.of("result")) > seen + 10, 10, "results go on")
    assert heard.of("label") == labels
    assert ask(edged, "reload").stdout == "nothing changed\n"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[camera]\nkind = 7\n", r"edged\.toml:2: camera\.kind: "),
        ("[model]\nname = 'home_0.25_69'\n", r"edged\.toml:2: model\.name: .*home_0\.25_96"),
        ("[broken\n", r"edged\.toml:1: not TOML"),
        ("", "vanished or became empty"),
    ],
)
def test_a_file_with_a_fault_changes_nothing_and_is_told(edged, config, heard, text, told):
    edged.config.write_text(text)
    wait_for(lambda: re.search(told, degraded(heard)), 3, f"{told} in degraded")
    seen = len(heard.of("result"))
    wait_for(lambda: len(heard.of("result")) > seen + 5, 5, "results go on")
    said = ask(edged, "reload")
    # a state folder that can't be read from the file any more leaves the command without its daemon
    assert said.returncode in (78, 69) and not said.stdout
    write(edged, config)
    wait_for(lambda: not re.search(told, degraded(heard)), 3, "all is well again")
    assert card(heard) == SMALL


def test_a_file_that_vanishes_changes_nothing(edged, config, heard):
    edged.config.unlink()
    wait_for(lambda: "vanished" in degraded(heard), 3, "told")
    write(edged, config | {"model": {"name": LARGE}})
    wait_for(lambda: card(heard) == LARGE, 10, "followed again")


def test_sighup_reads_the_file_again(edged, config, heard):
    edged.process.send_signal(signal.SIGHUP)
    wait_for(lambda: "config followed" in edged.said.read_text(), 5, "followed")


def test_another_camera_begins_a_new_vision_process(edged, config, heard, tmp_path):
    one = tmp_path / "one"
    one.mkdir()
    shutil.copy(next(Path(config["camera"]["source"]).glob("*")), one / "only.png")
    write(edged, config | {"camera": config["camera"] | {"source": str(one)}})
    wait_for(lambda: heard.of("result")[-1]["frame"]["picture"] == "only.png", 15, "the other pictures")
    assert heard.of("health")[-1]["vision_restarts"] == 0
    assert [told["state"] for told in heard.of("camera")].count("lost") == 0


def test_another_broker_gets_everything_from_then_on(edged, config, heard, tmp_path):
    other = Broker(tmp_path)
    there = Heard(other.port)
    try:
        write(edged, config | {"device": "moved", "mqtt": config["mqtt"] | {"port": other.port}})
        wait_for(lambda: there.of("event"), 15, "events at the other one")
        assert heard.of("status")[-1] == "offline" and there.of("status")[-1] == "online"
        assert all(topic.startswith("edged/moved/") for topic, _, _ in there.messages)

        def missing() -> set[int]:
            seqs = {one["seq"] for broker in (heard, there) for topic in ("event", "backlog") for one in broker.of(topic)}
            return set(range(1, max(seqs) + 1)) - seqs

        wait_for(lambda: not missing(), 15, "every event, here or there")
        write(edged, config)
        wait_for(lambda: heard.of("status")[-1] == "online", 15, "back")
        assert json.loads(ask(edged, "status", "--json").stdout)["health"]["broker_connects"] == 3
    finally:
        there.close()
        other.end()


def test_use_is_kept_over_a_restart_until_the_file_changes(tmp_path, config, heard):
    with edged_with(tmp_path, config) as edged:
        wait_for(lambda: heard.of("result"), 30, "a result")
        said = ask(edged, "use", LARGE, "--json")
        assert json.loads(said.stdout)["model"] == LARGE, said.stderr
        wait_for(lambda: card(heard) == LARGE and heard.of("model")[-1]["chosen"].startswith("use: "), 10, "it is told")
        assert "override  home_0.25_128 (by use" in ask(edged, "status").stdout
        assert 'override = "home_0.25_128"  # use; wins over [model]' in ask(edged, "check").stdout
        assert edged.end() == 0
    told = len(heard.of("model"))
    with edged_with(tmp_path, config) as edged:
        wait_for(lambda: len(heard.of("model")) > told, 30, "it runs again")
        # what ran for a minute before the wish goes on until the wish is proven again
        wait_for(lambda: heard.of("model")[-1]["chosen"].startswith("use: "), 30, "as it was wished")
        write(edged, config | {"decision": config["decision"] | {"k": 1}})
        wait_for(lambda: "config followed" in edged.said.read_text(), 5, "followed")
        assert card(heard) == LARGE
        write(edged, config | {"model": {"name": SMALL, "threads": 1}})
        wait_for(lambda: card(heard) == SMALL, 10, "the file's model again")
        assert ask(edged, "use", LARGE).returncode == 0
        assert ask(edged, "use", "--clear").stdout.startswith(f"{SMALL} is in use")
        assert edged.end() == 0


def test_use_writes_into_the_file_and_its_comments_stay(edged, config, heard):
    edged.config.write_text("# mine\n" + edged.config.read_text().replace("name =", "# which\nname ="))
    said = ask(edged, "use", LARGE, "--write")
    assert said.returncode == 0, said.stderr
    text = edged.config.read_text()
    assert "# mine\n" in text and "# which\n" in text and tomlkit.parse(text)["model"]["name"] == LARGE
    assert "override" not in ask(edged, "status").stdout


def test_model_set_takes_a_name_and_nothing_else(edged, config, heard):
    heard.publish("edged/test/model/set", LARGE.encode())
    wait_for(lambda: card(heard) == LARGE, 10, "the other model")
    for asked in (b"nonsense", b"/etc/passwd", b"../x.tflite", b"\xff", b"@nobody", b"a\nb"):
        errors = len(heard.of("model/error"))
        heard.publish("edged/test/model/set", asked)
        wait_for(lambda seen=errors: len(heard.of("model/error")) > seen, 10, f"{asked!r} is refused")
    assert card(heard) == LARGE
    heard.publish("edged/test/model/set", b"@file")
    wait_for(lambda: card(heard) == SMALL, 10, "what the file says")


def test_a_model_that_is_too_slow_is_taken_back(tmp_path, config, heard):
    with edged_with(tmp_path, config | {"budget": {"latency_ms": 0.001}}) as edged:
        wait_for(lambda: heard.of("result"), 30, "a result")
        said = ask(edged, "use", LARGE)
        assert said.returncode == 1 and re.search(r"refused: latency \d+ ms of 0\.001 ms", said.stderr), said.stderr
        at = len(heard.of("result"))
        wait_for(lambda: heard.of("result")[at:][-1:] and heard.of("result")[-1]["model"] == SMALL, 15, "the old one is back")
        assert "of 0.001 ms" in heard.of("model/error")[-1]["reason"]
        assert card(heard) == SMALL
        assert edged.end() == 0
    assert not (tmp_path / "state/override.json").exists()


@pytest.mark.parametrize(
    ("number", "why"),
    [(signal.SIGSEGV, "SIGSEGV"), (signal.SIGSTOP, "no sign of life")],
    ids=["crash", "hang"],
)
def test_trouble_on_trial_brings_the_old_model_back(tmp_path, config, heard, number, why):
    slow = config | {"camera": config["camera"] | {"fps": 1.0}}
    with edged_with(tmp_path, slow) as edged:
        wait_for(lambda: heard.of("result"), 30, "a result")
        heard.publish("edged/test/model/set", LARGE.encode())
        wait_for(lambda: heard.of("result")[-1]["model"] == LARGE, 10, "it is on trial")
        os.kill(edged.vision_pid() or 0, number)
        wait_for(lambda: heard.of("model/error"), 20, "it is refused")
        assert why in heard.of("model/error")[-1]["reason"]
        seen = len(heard.of("result"))
        wait_for(lambda: len(heard.of("result")) > seen, 10, "results again")
        assert {result["model"] for result in heard.of("result")[seen:]} == {SMALL} and card(heard) == SMALL
        assert edged.end() == 0


def test_wrong_labels_are_refused(edged, config, heard, tmp_path):
    labels = tmp_path / "labels.txt"
    labels.write_text("one\ntwo\n")
    write(edged, config | {"model": {"name": LARGE, "labels": str(labels)}})
    wait_for(lambda: "model.labels" in degraded(heard), 5, "the fault is told")
    assert card(heard) == SMALL


def test_a_profile_by_name_and_back(tmp_path, config, heard):
    night = {"model": {"name": LARGE}, "camera": {"fps": 4.0}}
    with edged_with(tmp_path, config | {"profile": {"night": night}}) as edged:
        wait_for(lambda: heard.of("result"), 30, "a result")
        said = ask(edged, "use", "@night")
        assert said.returncode == 0, said.stderr
        wait_for(lambda: heard.of("result")[-1]["model"] == LARGE, 10, "its model")
        assert ask(edged, "use", "@day").returncode == 1
        heard.publish("edged/test/model/set", b"@file")
        wait_for(lambda: card(heard) == SMALL, 10, "the file again")
        assert edged.end() == 0


def test_the_last_good_pair_survives_a_broken_file_and_a_swapped_model(tmp_path, config, heard):
    """The only test that waits for the good minute."""
    state = Path(config["state_folder"])
    add(Store(state), shipped("models", f"{LARGE}.tflite"), Wish(name="mine"), None)
    config |= {"model": {"name": "mine"}}
    with edged_with(tmp_path, config) as edged:
        wait_for(lambda: (state / "last_good/pair.json").exists(), 90, "the pair is remembered")
        kept = shipped("models", f"{SMALL}.tflite").read_bytes()
        with (state / "models/mine.tflite").open("r+b") as file:  # in place, under the running daemon
            file.write(kept)
        seen = len(heard.of("result"))
        wait_for(lambda: len(heard.of("result")) > seen + 5, 5, "results go on")
        os.kill(edged.vision_pid() or 0, signal.SIGKILL)
        wait_for(lambda: "can not be loaded any more" in degraded(heard), 15, "told")
        seen = len(heard.of("result"))
        wait_for(lambda: len(heard.of("result")) > seen + 5, 15, "the copy runs")
        edged.process.kill()
        edged.process.wait()
    good = tomlkit.dumps(config)
    for text in (good, good.replace("kind", "kin")):
        (tmp_path / "edged.toml").write_text(text)
        command = [sys.executable, "-m", "edged", "run", "-c", str(tmp_path / "edged.toml")]
        with (tmp_path / "again.log").open("ab") as log, subprocess.Popen(command, stderr=log) as again:
            seen = len(heard.of("result"))
            wait_for(lambda at=seen: len(heard.of("result")) > at + 5, 30, "results")
            assert "last good" in degraded(heard), degraded(heard)
            again.terminate()
            assert again.wait(HANG_S) == 0


def test_without_a_last_good_pair_a_broken_file_ends_with_78(tmp_path, config):
    with edged_with(tmp_path, config | {"camera": {"kind": "eye"}}) as edged:
        assert edged.process.wait(HANG_S) == 78


def test_starts_that_come_to_nothing_lead_to_safe_mode_and_out_of_it(tmp_path, config, heard):
    count = tmp_path / "state/starts.json"
    for n in range(1, 7):
        with edged_with(tmp_path, config) as edged:
            wait_for(lambda n=n: count.exists() and json.loads(count.read_text())["unfinished"] == n, 20, "it is counted")
            edged.process.kill()
            edged.process.wait()
    with edged_with(tmp_path, config) as edged:
        wait_for(lambda: heard.of("health") and "safe mode" in degraded(heard), 20, "safe mode")
        assert edged.vision_pid() is None and heard.of("camera")[-1]["fault"] == "safe_mode"
        seen = len(heard.of("result"))
        said = ask(edged, "reload")
        assert said.returncode == 0, said.stderr
        wait_for(lambda: len(heard.of("result")) > seen, 20, "results again")
        assert edged.end() == 0


def test_what_no_frame_has_proven_is_not_said_to_be_in_use(edged, heard):
    heard.publish("edged/test/control", b'{"action": "pause"}')
    wait_for(lambda: paused(heard), 20, "paused")
    done = ask(edged, "use", LARGE)
    note = f"it is proven when the camera gives frames; if it fails then, {SMALL} runs again"
    assert (done.returncode, done.stdout) == (0, f"{LARGE} is chosen; {note}\n"), done.stderr
    assert f"on trial  {LARGE}, until frames have proven it" in ask(edged, "status").stdout
    told = json.loads(ask(edged, "status", "--json").stdout)
    assert (told["model"], told["trial"], told["wish"]) == (SMALL, LARGE, LARGE)
    assert card(heard) == SMALL
    heard.publish("edged/test/control", b'{"action": "resume"}')
    wait_for(lambda: card(heard) == LARGE, 30, "it has proven itself")
    assert json.loads(ask(edged, "status", "--json").stdout)["trial"] == ""
    assert "on trial" not in ask(edged, "status").stdout
    assert ask(edged, "use", LARGE).stdout == f"{LARGE} is in use\n"
