"""What the way back leads to, and what was kept for it: with real files, and no daemon."""

import asyncio
import shutil
import tracemalloc
from dataclasses import replace
from pathlib import Path

import pytest

from edged.config.reading import to_settings
from edged.config.source import Source, parse_source
from edged.errors import ModelError
from edged.models.fingerprints import fingerprints_in
from edged.models.store import Store
from edged.rollout.active import Active
from edged.rollout.desired import Intent
from edged.rollout.last_good import LastGood
from edged.rollout.rollback import find_another, load_pair
from edged.system.clock import Clock
from tests.unit.daemon.played import LARGE, SMALL, admit

LARGEST = "home_1.0_192"


def config(folder: Path, text: str = "") -> Source:
    return parse_source(folder / "edged.toml", f'state_folder = "{folder}/state"\n{text}'.encode())


def running(folder: Path, name: str = SMALL) -> Active:
    return Active(Store(folder / "state").find(name), 1, "config")


def intent(folder: Path, text: str = "") -> Intent:
    reading = to_settings(config(folder, text))
    assert not reading.faults
    return Intent(folder / "edged.toml", reading, Clock())


@pytest.fixture
def kept(tmp_path: Path) -> LastGood:
    last_good = LastGood(tmp_path / "state")
    last_good.remember(config(tmp_path, "[camera]\nfps = 3.0\n"), "", running(tmp_path))
    return last_good


def test_nothing_kept_leads_nowhere(tmp_path: Path) -> None:
    now = intent(tmp_path)
    last_good = LastGood(tmp_path / "state")
    assert load_pair(last_good, now, now.settings(), running(tmp_path), "why") is None and last_good.wish == ""


@pytest.mark.parametrize(
    ("text", "name", "is_new"), [("[camera]\nfps = 3.0\n", SMALL, False), ("", SMALL, True), ("[camera]\nfps = 3.0\n", LARGE, True)]
)
def test_it_is_known_whether_the_pair_is_what_runs(tmp_path: Path, kept: LastGood, text: str, name: str, is_new: bool) -> None:
    now = intent(tmp_path, text)
    pair = load_pair(kept, now, now.settings(), running(tmp_path, name), "it crashed")
    assert pair is not None and pair.is_new is is_new and pair.settings.camera.fps == 3.0
    assert pair.active.why == "last good: it crashed" and pair.active.name == SMALL


def test_a_wish_for_a_profile_that_the_pair_does_not_have_is_left_out(tmp_path: Path) -> None:
    last_good = LastGood(tmp_path / "state")
    last_good.remember(config(tmp_path), "@night", running(tmp_path))
    now = intent(tmp_path)
    pair = load_pair(last_good, now, now.settings(), running(tmp_path), "why")
    assert pair is not None and pair.settings == now.settings()


@pytest.mark.parametrize("damage", ["config", "labels", "model", "pair"])
def test_a_pair_that_is_not_whole_is_none(tmp_path: Path, kept: LastGood, damage: str) -> None:
    folder, active = tmp_path / "state/last_good", kept.running()
    assert active is not None
    files = [path for path in folder.iterdir() if path.name not in ("pair.json", active.installed.sha256)]
    text = next(path for path in files if b"state_folder" in path.read_bytes())
    labels = next(path for path in files if path != text)
    path = {"config": text, "labels": labels, "model": folder / active.installed.sha256, "pair": folder / "pair.json"}[damage]
    path.write_bytes(path.read_bytes()[:-2])
    now = intent(tmp_path)
    assert load_pair(kept, now, now.settings(), running(tmp_path), "why") is None


def test_what_is_remembered_already_is_not_written_again(tmp_path: Path, kept: LastGood) -> None:
    pair = tmp_path / "state/last_good/pair.json"
    before = pair.stat().st_ino
    kept.remember(config(tmp_path, "[camera]\nfps = 3.0\n"), "", running(tmp_path))
    assert pair.stat().st_ino == before
    kept.remember(config(tmp_path), "", running(tmp_path, LARGE))
    assert pair.stat().st_ino != before and len(list(pair.parent.iterdir())) == 4, "what the old pair had is gone"


def test_a_file_that_is_not_the_one_that_runs_is_not_remembered(tmp_path: Path) -> None:
    """It was replaced under the running model."""
    path = Path(shutil.copy(running(tmp_path).installed.path, tmp_path / "model.tflite"))
    active = running(tmp_path)
    replaced = replace(active, installed=replace(active.installed, path=path))
    path.write_bytes(running(tmp_path, LARGE).installed.path.read_bytes())
    last_good = LastGood(tmp_path / "state")
    with pytest.raises(ModelError, match="the file is not the one that runs, so it is not remembered"):
        last_good.remember(config(tmp_path), "", replaced)
    assert last_good.running() is None and last_good.reading() is None
    assert not [path for path in (tmp_path / "state/last_good").iterdir() if path.stat().st_size > 100_000], "nor a part of it"


def test_no_model_is_ever_in_memory_as_a_whole(tmp_path: Path) -> None:
    """The courier, which does this a minute after each switch, would keep that memory: 9 MB with the largest of the family."""
    active, last_good = running(tmp_path, LARGEST), LastGood(tmp_path / "state")
    tracemalloc.start()
    try:
        last_good.remember(config(tmp_path), "", active)
        last_good.remember(config(tmp_path), "", active)  # what is there is looked at
        fingerprints_in.cache_clear()
        assert LastGood(tmp_path / "state").running() is not None  # as at the next start
        _, most_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most_bytes < active.installed.path.stat().st_size / 4


def test_the_defaults_are_kept_as_none(tmp_path: Path) -> None:
    last_good = LastGood(tmp_path / "state")
    last_good.remember(Source(), "", running(tmp_path))
    reading = last_good.reading()
    assert reading is not None and reading.source.file == ""


def test_for_a_model_that_is_gone_there_is_the_kept_one_or_the_smallest(tmp_path: Path, kept: LastGood) -> None:
    settings = intent(tmp_path).settings()
    other = asyncio.run(find_another(kept, settings, running(tmp_path, LARGE), "it is gone"))
    assert other.name == SMALL and other.why == "last good: it is gone" and "last_good" in str(other.installed.path)
    admit(tmp_path / "state", SMALL)
    again = asyncio.run(find_another(kept, settings, other, "it is damaged"))
    assert again.why.startswith("the smallest: ") and "last_good" not in str(again.installed.path)
