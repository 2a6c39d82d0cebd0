"""An upgrade from a state folder that an earlier edged wrote: its events, its model and its last good pair are still there."""

import contextlib
import json
import os
import socket
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import tomlkit

from edged.config.reading import read_settings, to_hint
from tests.e2e.running import HANG_S, edged_with, wait_for

TOP = Path(__file__).parents[2]
EARLIER = "0f8b9b7"  # the last one with an abstract socket as its lock, and readable copies of the config


def checkout(folder: Path) -> Path:
    """The earlier code, or the reason why it is not to be had."""
    if subprocess.run(["git", "cat-file", "-e", f"{EARLIER}^{{commit}}"], cwd=TOP, check=False, capture_output=True).returncode:
        pytest.skip(f"the commit {EARLIER} is not in this clone")
    folder.mkdir()
    archive = subprocess.run(["git", "archive", EARLIER], cwd=TOP, check=True, capture_output=True).stdout
    subprocess.run(["tar", "-x", "-C", folder], input=archive, check=True)
    return folder


def free_of_listeners() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_events_models_and_last_good_are_kept(tmp_path: Path, config: dict[str, Any], heard: Any) -> None:
    earlier, state = checkout(tmp_path / "earlier"), tmp_path / "state"
    environment = os.environ | {"PYTHONPATH": str(earlier)}

    def old(*words: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "edged", *map(str, words)]
        return subprocess.run(command, env=environment, cwd=earlier, capture_output=True, text=True, check=False, timeout=120)

    whole = config | {"state_folder": str(state), "model": {"name": "home_0.25_96"}}
    path = tmp_path / "edged.toml"
    camera = {key: value for key, value in whole["camera"].items() if key != "show_s"}  # which was not yet known
    away = whole | {"camera": camera, "mqtt": whole["mqtt"] | {"port": free_of_listeners()}}
    path.write_text(tomlkit.dumps(away))
    model = next((earlier / "models").glob("home_0.25_96*.tflite"))
    labels = next((earlier / "models/labels").glob("home*.txt"))
    added = old("models", "add", model, "--labels", labels, "--as", "mine", "-c", path)
    assert added.returncode == 0, added.stderr
    # it looks for a good minute, with no broker to tell: its events wait, and what runs is remembered
    log = (tmp_path / "earlier.log").open("wb")
    daemon = subprocess.Popen(
        [sys.executable, "-P", "-m", "edged", "run", "-c", path], env=environment, cwd=earlier, stdout=log, stderr=log
    )
    try:
        wait_for(lambda: (state / "last_good/pair.json").exists() or daemon.poll() is not None, 120, "it is remembered")
        assert daemon.poll() is None, (tmp_path / "earlier.log").read_text()[-500:]
    finally:
        daemon.terminate()
        assert daemon.wait(HANG_S) == 0
        log.close()
    pair = json.loads((state / "last_good/pair.json").read_text())
    with contextlib.closing(sqlite3.connect(state / "outbox.db")) as db:
        waiting = set(db.execute("SELECT boot, seq FROM rows WHERE state = 0").fetchall())
    assert waiting
    assert stat.S_IMODE((state / "last_good" / pair["config_sha256"]).stat().st_mode) == 0o644

    def arrived() -> set[tuple[str, int]]:
        return {(one["boot"], one["seq"]) for one in heard.of("backlog") + heard.of("event")}

    with edged_with(tmp_path, whole) as edged:
        wait_for(lambda: waiting <= arrived(), 60, "all that waited is told, under its own boot and number")
        wait_for(lambda: heard.of("model"), 60, "the model is told")
        assert edged.end() == 0
    assert not [one for one in heard.of("backlog") if one["event_type"] == "gap"]
    heard.messages.clear()
    listed = subprocess.run(
        [sys.executable, "-m", "edged", "models", "list", "--json", "-c", path], capture_output=True, text=True, check=True
    ).stdout
    assert any(row["name"] == "mine" and row["installed"] for row in json.loads(listed))
    for name in ("outbox.db", "last_good/pair.json", f"last_good/{pair['config_sha256']}"):
        assert stat.S_IMODE((state / name).stat().st_mode) == 0o600, name
    assert stat.S_IMODE((state / "models/mine.toml").stat().st_mode) == 0o640
    assert not any("damaged" in one.name for one in state.rglob("*"))

    # a broken config: what the earlier one remembered is what runs
    broken = tmp_path / "broken"
    broken.mkdir()
    with edged_with(broken, whole | {"device": "NO GOOD"}) as edged:
        wait_for(lambda: edged.process.poll() is not None or "last good config runs" in edged.said.read_text(), 60, "last good")
        assert edged.process.poll() is None, edged.said.read_text()[-800:]
        assert edged.end() == 0


def test_the_config_of_the_earlier_package_is_read_as_it_lies_there(tmp_path: Path) -> None:
    """As it was installed, and with the port of its [web] set."""
    text = (checkout(tmp_path / "earlier") / "config/edged.toml").read_text()
    path = tmp_path / "edged.toml"
    path.write_text(text)
    assert not read_settings(path).faults
    path.write_text(changed := text.replace("[web]\n", "[web]\nport = 8099\n"))
    assert changed != text
    reading = read_settings(path)
    assert not reading.faults and (reading.settings.page.port, reading.settings.page.enabled) == (8099, False)
    assert "[web] is read as [page]" in to_hint(reading.source)
