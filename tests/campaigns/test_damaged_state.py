"""Damaged state folders: every file of ours × every kind of damage, then random ones. edged starts, soon, and stays small."""

import asyncio
import contextlib
import os
import random
import resource
import shutil
import signal
import socket
import sqlite3
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from edged.config.reading import read_settings
from edged.daemon.identity import load_device_id
from edged.daemon.state_folder import tidy
from edged.delivery.announced import FILE as ANNOUNCED
from edged.delivery.announced import save_known
from edged.delivery.discovery import _load as announced
from edged.delivery.outbox.repair import open_outbox
from edged.delivery.outbox.tail import name_of
from edged.delivery.outbox.writer import Outbox
from edged.models.admission import Admission
from edged.models.install import Wish, add
from edged.models.measurements import Measured
from edged.models.store import Store
from edged.rollout.active import Active
from edged.rollout.last_good import LastGood
from edged.rollout.override import save_override, to_override
from edged.rollout.startup import Start, Starts, begin, find_config
from edged.system.clock import Clock
from edged.system.files import shipped
from edged.system.lock import claimed
from tests.campaigns.mutations import MUTATIONS
from tests.campaigns.size import SEED, count, report
from tests.e2e.conftest import album, broker, config, heard  # noqa: F401
from tests.e2e.running import edged_with, wait_for

LIMIT_S, GROWTH_MB = 60, 4
TAIL = ("0badcafe.changes", "0badcafe.accepted")  # what an outbox had not yet committed, of an earlier boot

Damage = Callable[[Path], object]


def build(folder: Path) -> Path:
    """A state folder with one of everything that edged keeps, and the config of it."""
    state, path = folder / "state", folder / "edged.toml"
    path.write_text(f'state_folder = "{state}"\n[camera]\nkind = "pictures"\nsource = "/nowhere"\n[model]\nname = "home_0.25_96"\n')
    reading = read_settings(path)
    store, admission = Store(state), Admission(state)
    installed = store.find("home_0.25_96")
    bundled = shipped("models", store.held_by_name("home_0.25_96").card.file)
    own = tmp_labels(folder, installed.labels)
    add(store, bundled, Wish(labels=own, name="mine"), admission)
    admission.admit(installed)
    admission.remember("a key", Measured(p50_ms=1.0, p95_ms=2.0, memory_mb=50.0, threads=1, runs=20))
    LastGood(state).remember(reading.source, "", Active(installed, 1, "config"))
    save_override(state, to_override(reading.settings, "home_0.25_96", "use"))
    Starts(state).begin()
    save_known(state / ANNOUNCED, {"homeassistant/device/edged_0123abcd/config": {"label": "sensor"}})
    load_device_id(state, folder / "no machine")
    outbox = open_outbox(state, Clock())
    asyncio.run(run_once(outbox))
    with contextlib.closing(sqlite3.connect(state / "outbox.db")) as db:
        assert db.execute("PRAGMA application_id").fetchone()[0]
    return path


async def run_once(outbox: Outbox) -> None:
    outbox.start(lambda: None)
    outbox.put('{"event_type": "entered"}', time.monotonic_ns())
    outbox.close(10)


def tmp_labels(folder: Path, labels: tuple[str, ...]) -> Path:
    path = folder / "labels.txt"
    path.write_text("\n".join(labels) + "\n")
    return path


def targets(state: Path) -> list[str]:
    """Names below the state folder: what is there, and what may be there at another time."""
    there = [str(path.relative_to(state)) for path in state.rglob("*") if path.is_file()]
    later = ("outbox.db-wal", "outbox.db-shm", "outbox.db.mended", "outbox.db.building", "models/x.toml", "edged.lock", *TAIL)
    return sorted({*there, *later})


def to_path(state: Path, name: str) -> Path:
    """The names of an outbox's tail depend on where it lies."""
    return state / (name if name not in TAIL else f"{name_of(state)}{name}")


def _replace(path: Path, make: Callable[[], None]) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    make()


def _sparse(path: Path) -> None:
    path.unlink(missing_ok=True)
    with path.open("wb") as file:
        file.truncate(3 << 30)


KINDS: dict[str, Damage] = {
    "nested": lambda p: _replace(p, lambda: p.write_bytes(b"[" * 200_000)),
    "nested objects": lambda p: _replace(p, lambda: p.write_bytes(b'{"unfinished":' * 50_000 + b"1" + b"}" * 50_000)),
    "dotted": lambda p: _replace(p, lambda: p.write_bytes(b"a." * 5000 + b"a = 1\n")),
    "dotted as long as a file": lambda p: _replace(p, lambda: p.write_bytes(b"[[card]]\n" + b"a." * 120_000 + b"a = 1\n")),
    "pipe": lambda p: _replace(p, lambda: os.mkfifo(p)),
    "link to /dev/zero": lambda p: _replace(p, lambda: p.symlink_to("/dev/zero")),
    "link to itself": lambda p: _replace(p, lambda: p.symlink_to(p)),
    "link to nothing": lambda p: _replace(p, lambda: p.symlink_to("/nowhere/at/all")),
    "sparse": _sparse,
    "folder": lambda p: _replace(p, lambda: (p / "inside").mkdir(parents=True)),
    "empty": lambda p: _replace(p, lambda: p.write_bytes(b"")),
    "zeros": lambda p: _replace(p, lambda: p.write_bytes(bytes(8192))),
    "no text": lambda p: _replace(p, lambda: p.write_bytes(bytes(range(256)) * 40)),
    "escapes": lambda p: _replace(p, lambda: p.write_bytes(b'{"wish": "\x1b]0;x\x07", "unfinished": "\\u001b[2J"}\n[[card]]\n')),
    "huge number": lambda p: _replace(p, lambda: p.write_bytes(b'{"unfinished": ' + b"9" * 5000 + b"}")),
    "socket": lambda p: _replace(p, lambda: _socket(p)),
    "not to be read": lambda p: p.chmod(0) if p.exists() else p.touch(0),
}


def _socket(path: Path) -> None:
    here = Path.cwd()
    os.chdir(path.parent)  # a socket's name is short
    try:
        with socket.socket(socket.AF_UNIX) as one:
            one.bind(path.name)
    finally:
        os.chdir(here)


@contextlib.contextmanager
def within(seconds: int) -> Iterator[None]:
    """A start that waits for ever is a failure, and not the end of the campaign."""

    def late(*_: object) -> None:
        raise AssertionError(f"not within {seconds} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def start(path: Path) -> tuple[Start, tuple[str, ...], list[str]]:
    """As `edged run` begins, up to the event loop."""
    with within(LIMIT_S):
        clock, found = Clock(), find_config(path)
        with claimed(found.state_folder):
            damaged = tidy(found.state_folder)
            starts = Starts(found.state_folder)
            begun = begin(found, clock, starts.begin())
            outbox = open_outbox(found.state_folder, clock)
            assert len(load_device_id(found.state_folder, path.parent / "no machine")) == 32
            announced(found.state_folder / ANNOUNCED)
            told = [*damaged, *begun.selector.damaged, *begun.damaged, *outbox.degraded]
            asyncio.run(run_once(outbox))
            starts.end()
    return begun, damaged, told


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    return build(folder)


def fresh(whole: Path, folder: Path) -> Path:
    """A copy of the whole one at a place of its own."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(whole.parent / "state", folder / "state")
    path = folder / "edged.toml"
    path.write_text(whole.read_text().replace(str(whole.parent / "state"), str(folder / "state")))
    return path


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def test_a_whole_one_says_nothing(whole: Path, tmp_path: Path) -> None:
    begun, _, told = start(fresh(whole, tmp_path))
    assert told == [] and begun.active.name == "home_0.25_96"


def test_the_group_reads_models_and_measurements_and_nothing_else(whole: Path) -> None:
    """What may hold a copy of the config, with a camera's password, or an event is its owner's alone."""
    state = whole.parent / "state"
    modes = {str(path.relative_to(state)): stat.S_IMODE(path.stat().st_mode) for path in state.rglob("*") if path.is_file()}
    assert {"outbox.db", "override.json", "last_good/pair.json", "models/mine.txt", "measurements.json"} <= set(modes)
    shared = {name for name in modes if name.startswith("models/") or name == "measurements.json"}
    assert {name: oct(mode) for name, mode in modes.items()} == {name: oct(0o640 if name in shared else 0o600) for name in modes}


def test_every_file_with_every_damage(whole: Path, tmp_path: Path) -> None:
    names = targets(whole.parent / "state")
    cases = [(name, kind) for name in names for kind in KINDS]
    chosen = random.Random(SEED).sample(cases, min(len(cases), count(60, len(cases))))
    slowest_s, before_mb = 0.0, peak_mb()
    for name, kind in chosen:
        path = fresh(whole, tmp_path / "one")
        KINDS[kind](to_path(tmp_path / "one/state", name))
        began = time.monotonic()
        try:
            begun, _, told = start(path)
        except BaseException as error:
            raise AssertionError(f"{name}: {kind}: {error!r}") from error
        slowest_s = max(slowest_s, time.monotonic() - began)
        assert begun.active.name == "home_0.25_96", (name, kind)
        assert all(sentence.isprintable() for sentence in told), (name, kind, told)
    assert peak_mb() - before_mb < GROWTH_MB
    figures = {"files": len(names), "kinds": len(KINDS), "started": len(chosen), "refused": 0, "slowest_s": round(slowest_s, 2)}
    report("damaged_state", figures | {"grown_mb": round(peak_mb() - before_mb), "seed": SEED})


def test_random_damage(whole: Path, tmp_path: Path) -> None:
    wanted, rng, told_of = count(60, 2000), random.Random(SEED), 0
    names = targets(whole.parent / "state")
    for number in range(wanted):
        path = fresh(whole, tmp_path / "one")
        done = []
        for name in rng.sample(names, rng.choice((1, 1, 2, 4, len(names)))):
            target = to_path(tmp_path / "one/state", name)
            if rng.random() < 0.3 or not target.is_file():
                kind = rng.choice([kind for kind in KINDS if kind != "sparse" or number % 10 == 0])
                KINDS[kind](target)
            else:
                kind = rng.choice(list(MUTATIONS))
                target.write_bytes(MUTATIONS[kind](rng, target.read_bytes()))
            done.append((name, kind))
        try:
            begun, _, told = start(path)
        except BaseException as error:
            raise AssertionError(f"{number}: {done}: {error!r}") from error
        assert begun.active.name, done
        assert all(sentence.isprintable() for sentence in told), (done, told)
        told_of += bool(told)
    report("damaged_state_random", {"folders": wanted, "refused": 0, "told": told_of, "seed": SEED})


def test_a_damaged_copy_is_kept_twice_and_no_more(whole: Path, tmp_path: Path) -> None:
    path = fresh(whole, tmp_path / "one")
    state = tmp_path / "one/state"
    for number in range(4):
        (state / "override.json").write_text(f"damage {number}")
        told = start(path)[2]
        assert len(told) == 1 and "override.json.damaged-1" in told[0]
    kept = {path.name: path.read_text() for path in state.glob("override.json*")}
    assert kept == {"override.json.damaged-1": "damage 3", "override.json.damaged-2": "damage 2"}


def test_the_daemon_itself_starts_and_says_so(whole: Path, tmp_path: Path, config: dict[str, Any], heard: Any) -> None:  # noqa: F811
    """All at once, through the real door."""
    fresh(whole, tmp_path / "one")
    state = tmp_path / "one/state"
    os.mkfifo(state / "models/pipe.toml")
    (state / "models/x.toml").write_text("[[card]]\nname = ")
    (state / "starts.json").write_bytes(b"[" * 100_000)
    (state / "override.json").unlink()
    (state / "override.json").symlink_to("/dev/zero")
    _sparse(state / "measurements.json")
    with edged_with(tmp_path, config | {"state_folder": str(state), "model": {"name": "home_0.25_96"}}) as edged:
        wait_for(lambda: heard.of("camera") and heard.of("camera")[-1]["state"] == "ok", 60, "camera ok")
        degraded = " | ".join(heard.of("health")[-1]["degraded"])
        for name in ("pipe.toml", "x.toml", "starts.json", "override.json", "measurements.json"):
            assert name in degraded
        for words in (["reload"], ["use", "home_0.25_128"], ["models", "list"], ["models", "remove", "x"]):
            done = subprocess.run(
                [sys.executable, "-m", "edged", *words, "-c", str(edged.config)], capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, (words, done.stderr)
        assert not (state / "models/x.toml").exists()
        assert edged.end() == 0
