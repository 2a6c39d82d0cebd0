"""A model's file is read once for as long as it is the same, over starts too; and what is remembered is never believed too long."""

import hashlib
import json
import os
import shutil
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edged.daemon.state_folder import tidy
from edged.errors import ModelError
from edged.models.admission import Admission
from edged.models.fingerprints import Fingerprints, fingerprints_in, to_graph_facts
from edged.models.install import verify
from edged.models.measurements import Verdict
from edged.models.store import Store
from edged.rollout.last_good import LastGood
from edged.rollout.startup import begin, find_config
from edged.system.clock import Clock
from edged.system.files import shipped

SMALL, LARGE = "home_0.25_96", "home_0.25_128"
FAMILY = {path.name for path in shipped("models").glob("home_*.tflite")}

_counted: list[Counter[str]] = []  # by the last of them; a hook of the interpreter can not be taken away again
_hooked: list[bool] = []


def _count(event: str, told: tuple[Any, ...]) -> None:
    if event == "open" and _counted and isinstance(told[0], str | Path):
        path = Path(told[0])
        if path.suffix == ".tflite" or path.parent.name == "last_good":
            _counted[-1][path.name] += 1


@pytest.fixture
def opened() -> Iterator[Counter[str]]:
    """How often each model's file is opened by this process."""
    if not _hooked:
        sys.addaudithook(_count)
        _hooked.append(True)
    _counted.append(Counter())
    yield _counted[-1]
    _counted.clear()


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return Path(shutil.copy(shipped("models", f"{SMALL}.tflite"), tmp_path / "model.tflite"))


def later(folder: Path) -> Fingerprints:
    """As a process has it that starts when the files have rested."""
    return Fingerprints(folder, lambda: time.time() + 10)


def other_times(path: Path, write: bytes) -> None:
    """Written again with the size that it has, once the clock of the files has moved on."""
    before = path.stat().st_ctime_ns
    while path.stat().st_ctime_ns == before:
        path.write_bytes(write)


def start(folder: Path, name: str) -> str:
    config = folder / "edged.toml"
    camera = f'[camera]\nkind = "pictures"\nsource = "{folder}"\n'
    config.write_text(f'state_folder = "{folder}/state"\n{camera}[model]\nname = "{name}"\n')
    fingerprints_in.cache_clear()  # as a new process
    begun = begin(find_config(config), Clock(), 0)
    return begun.active.why


def admitted(state: Path, *names: str) -> None:
    state.mkdir(exist_ok=True)
    for name in names:
        admission = Admission(state)
        admission.remember(admission._key(Store(state).find(name)), Verdict(admitted=True))


@pytest.mark.parametrize(("name", "read"), [(SMALL, {f"{SMALL}.tflite"}), ("auto", FAMILY)])
def test_a_start_reads_each_model_once_and_the_next_one_none(
    tmp_path: Path, opened: Counter[str], name: str, read: set[str]
) -> None:
    admitted(tmp_path / "state", SMALL)
    (tmp_path / "state/fingerprints.json").unlink()
    opened.clear()
    why = start(tmp_path, name)
    assert opened == dict.fromkeys(read, 1)
    opened.clear()
    assert start(tmp_path, name) == why and not opened


def test_the_kept_copy_is_read_once_too(tmp_path: Path, opened: Counter[str]) -> None:
    admitted(tmp_path / "state", SMALL)
    config = tmp_path / "edged.toml"
    start(tmp_path, SMALL)
    begun = begin(find_config(config), Clock(), 0)
    LastGood(tmp_path / "state").remember(begun.intent.source, "", begun.active)
    prints = Fingerprints(tmp_path / "state", lambda: time.time() + 10)
    prints.sha256_of(tmp_path / "state/last_good" / begun.active.installed.sha256)
    opened.clear()
    start(tmp_path, SMALL)
    assert not {name for name in opened if name == begun.active.installed.sha256}


@pytest.mark.parametrize("how", ["written", "replaced", "link", "times set back"])
def test_a_file_that_changed_is_read_again(tmp_path: Path, model: Path, how: str) -> None:
    folder, content = tmp_path, model.read_bytes()
    assert later(folder).sha256_of(model) == (hashlib.sha256(content).hexdigest(), len(content))
    changed, before = content[:-1] + bytes([content[-1] ^ 1]), model.stat()
    if how in ("replaced", "link"):
        beside = tmp_path / "beside.tflite"
        beside.write_bytes(changed)
        if how == "link":
            model.unlink()
            model.symlink_to(beside)
        else:
            os.utime(beside, ns=(before.st_atime_ns, before.st_mtime_ns))
            beside.replace(model)
    else:
        other_times(model, changed)
        if how == "times set back":
            os.utime(model, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert later(folder).sha256_of(model)[0] == hashlib.sha256(changed).hexdigest()


def test_a_file_that_was_just_written_is_not_remembered(tmp_path: Path, model: Path, opened: Counter[str]) -> None:
    prints = Fingerprints(tmp_path)
    prints.sha256_of(model)
    prints.sha256_of(model)
    assert opened[model.name] == 2 and not (tmp_path / "fingerprints.json").exists()


@pytest.mark.parametrize("ctime_s", [3600.0, -3600.0])
def test_a_clock_that_is_wrong_only_costs_a_reading(tmp_path: Path, model: Path, ctime_s: float) -> None:
    prints = Fingerprints(tmp_path, lambda: time.time() + ctime_s)
    for _ in range(2):
        assert prints.sha256_of(model)[0] == hashlib.sha256(model.read_bytes()).hexdigest()


def test_the_graph_is_remembered_with_the_hash(tmp_path: Path, model: Path, opened: Counter[str]) -> None:
    facts = to_graph_facts(model.read_bytes())
    opened.clear()
    assert later(tmp_path).graph_of(model) == facts and later(tmp_path).graph_of(model) == facts
    assert opened[model.name] == 1


def test_no_graph_is_said_each_time(tmp_path: Path) -> None:
    path = tmp_path / "x.tflite"
    path.write_bytes(b"nothing")
    for _ in range(2):
        with pytest.raises(ModelError, match=r"not a \.tflite file"):
            later(tmp_path).graph_of(path)


@pytest.mark.parametrize("damage", [b"", b"{", b"[" * 5000, b'{"files": {"/x": {"inode": 1}}}', b'{"graphs": {"a": 1}}', b"null"])
def test_a_damaged_memory_is_none_and_is_told_at_the_start(tmp_path: Path, model: Path, damage: bytes) -> None:
    (tmp_path / "fingerprints.json").write_bytes(damage)
    assert later(tmp_path).sha256_of(model)[0] == hashlib.sha256(model.read_bytes()).hexdigest()
    (tmp_path / "fingerprints.json").write_bytes(damage)
    assert len(tidy(tmp_path)) == 1 and not (tmp_path / "fingerprints.json").exists()


def test_nothing_is_refused_for_what_is_only_remembered(tmp_path: Path) -> None:
    """Somebody wrote another hash into the memory: the file is read, and the memory is right again."""
    state = tmp_path / "state"
    state.mkdir()
    path = shipped("models", f"{SMALL}.tflite")
    right, _ = Store(state).find(SMALL).sha256, Store(state).find(LARGE)
    memory = state / "fingerprints.json"
    memory.write_text(memory.read_text().replace(right, "0" * 64))
    assert Fingerprints(state).sha256_of(path)[0] == "0" * 64
    fingerprints_in.cache_clear()
    assert Store(state).find(SMALL).sha256 == right and Fingerprints(state).sha256_of(path)[0] == right


def test_verify_reads_the_file_whatever_is_known_of_it(tmp_path: Path, opened: Counter[str]) -> None:
    state = tmp_path / "state"
    state.mkdir()
    Store(state).find(SMALL)
    opened.clear()
    assert verify(Store(state), SMALL, None) == "" and opened[f"{SMALL}.tflite"] >= 1


def test_a_folder_that_is_not_there_is_not_made(tmp_path: Path, model: Path, opened: Counter[str]) -> None:
    prints = later(tmp_path / "no")
    prints.sha256_of(model)
    prints.sha256_of(model)
    assert not (tmp_path / "no").exists() and opened[model.name] == 1


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("height", 0),
        ("width", 10**30),
        ("classes", -1),
        ("classes", 9),
        ("params", -(10**20)),
        ("thin", -5),
        ("pointwise", 10**300),
    ],
)
def test_a_graph_that_is_remembered_wrongly_refuses_nothing(tmp_path: Path, key: str, value: int) -> None:
    """One bit is enough for another number; the file itself is whole."""
    model = tmp_path / "own.tflite"
    model.write_bytes(shipped("models", f"{SMALL}.tflite").read_bytes() + b"\0")  # one that no card knows
    labels = str(shipped("models", "labels/home_8.txt"))
    later(tmp_path).sha256_of(model)
    book = json.loads((tmp_path / "fingerprints.json").read_text())
    book["graphs"][hashlib.sha256(model.read_bytes()).hexdigest()][key] = value
    (tmp_path / "fingerprints.json").write_text(json.dumps(book))
    fingerprints_in.cache_clear()
    assert Store(tmp_path).find(str(model), labels).card.label_count == 8
    few = tmp_path / "few.txt"
    few.write_text("one\ntwo\n")
    with pytest.raises(ModelError, match="2 labels, but the model gives 8 scores"):  # what is wrong is still told
        Store(tmp_path).find(str(model), str(few))
