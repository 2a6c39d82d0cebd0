"""SIGKILL of `edged teach` at random moments: no process, no file of it is left, and another one teaches as if nothing had been."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from inotify_simple import INotify, flags

from tests.campaigns.size import SEED, count, report
from tests.e2e.running import alive, command_line, wait_for
from tests.things import album

SHORT, FULL = 4, 50


def test_50_kills_leave_nothing_behind(tmp_path: Path) -> None:
    """Half of them at any moment, the others when something that is seen from outside goes on: each process, the install."""
    kills, rng = count(SHORT, FULL), random.Random(SEED)
    shown = [word for thing in ("discs", "bars") for word in ("--label", f"{thing}={album(tmp_path / thing, thing, 12)}")]
    config, state = tmp_path / "edged.toml", tmp_path / "state"
    config.write_text(f'device = "test"\nstate_folder = "{state}"\n')
    temporary, models = tmp_path / "tmp", state / "models"
    temporary.mkdir()
    environment = os.environ | {"TMPDIR": str(temporary)}
    command = [sys.executable, "-m", "edged", "teach", "things", *shown, "--base", "home_0.25_96", "-c", str(config)]

    def run() -> subprocess.Popen[bytes]:
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment)

    began = time.monotonic()
    assert run().wait() == 0
    took_s = time.monotonic() - began
    whole = _names(models)
    _remove(config)
    clean = _files(state)
    moments: dict[str, Callable[[set[int], str], bool]] = {
        "writing": lambda _, name: name.startswith("."),
        "any": lambda *_: True,
        "naming": lambda _, name: name in whole,
        "trying": lambda seen, _: _runs(seen, "edged.vision.probe"),
        "looking": lambda seen, _: _runs(seen, "edged.vision.rewrite.embedding"),
        "learning": lambda seen, _: _runs(seen, "edged.vision.rewrite.lesson"),
    }
    watched = INotify()
    watched.add_watch(models, flags.CREATE | flags.MOVED_TO)
    # "any" every second time
    order = [moment for moment in moments if moment != "any" for moment in (moment, "any")]
    done = left_at_once = installing = 0
    fell = dict.fromkeys(moments, 0)
    for number in range(kills):
        moment = order[number % len(order)]
        teaching = run()
        ends = time.monotonic() + rng.uniform(0.0, 1.1 * took_s) if moment == "any" else None
        seen = set[int]()
        watched.read(timeout=0)  # of before
        while teaching.poll() is None and (ends is None or time.monotonic() < ends):
            seen |= _below(teaching.pid)
            # whoever sleeps until something is written is woken at once, however busy the machine is
            names = [event.name for event in watched.read(timeout=2)]
            if ends is None and any(moments[moment](seen, name) for name in names or [""]):
                ends = time.monotonic() + (0 if names else rng.uniform(0, 0.2 * took_s))
        teaching.send_signal(signal.SIGKILL if number % 5 != 3 else signal.SIGINT)
        fell[moment] += teaching.wait() != 0
        wait_for(lambda seen=seen: not any(map(alive, seen)), 10, "no process of it lives on")
        left = _names(models)
        assert all(name.startswith(".") or name in whole for name in left), left
        left_at_once += _files(state) != clean
        installing += left not in ([], whole)
        if set(left) & set(whole):  # it is there, or its files had begun to get their names and the next command ends that
            done += left == whole
            _remove(config)
            assert _names(models) == []
    assert run().wait() == 0
    assert _names(models) == whole
    _remove(config)
    assert _files(state) == clean
    assert not list(temporary.iterdir())
    assert installing or kills < len(order), "no kill fell into the install"
    figures = {"kills": kills, "seed": SEED, "had_finished": done, "left_something_until_the_next": left_at_once}
    report("teach_kills", figures | {"while_installing": installing, "fell": fell})


def _names(models: Path) -> list[str]:
    try:
        return sorted(path.name for path in models.iterdir())
    except FileNotFoundError:
        return []


def _runs(pids: set[int], module: str) -> bool:
    return any(f"\0{module}\0".encode() in command_line(pid) for pid in pids)


def _remove(config: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "edged", "models", "remove", "things", "-c", str(config)], check=True, capture_output=True
    )


def _files(state: Path) -> set[str]:
    remembered = {"measurements.json", "fingerprints.json"}  # what was found out of files, whoever looked
    return {str(path.relative_to(state)) for path in state.rglob("*")} - remembered


def _below(pid: int) -> set[int]:
    try:
        return {int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()}
    except OSError:
        return set()
