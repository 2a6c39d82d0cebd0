"""Root's commands where the service's user has planted something: nothing of root's is written, nothing is waited for."""

import os
import pwd
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from edged.system.files import shipped

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, and somebody else")

MODEL = str(shipped("models", "home_0.25_96.tflite"))
LABELS = str(next(shipped("models", "labels").glob("home*")))
ADD = ["models", "add", MODEL, "--labels", LABELS, "--as", "mine"]
PULL = ["models", "pull", "mobilenet_v1_0.25_128_quant", "--mirror"]
Plant = Callable[[Path, Path], object]


def link(name: str) -> Plant:
    return lambda state, victim: (state / name).symlink_to(victim)


def pipe(name: str) -> Plant:
    return lambda state, _victim: os.mkfifo(state / name)


def nothing(_state: Path, _victim: Path) -> None:
    pass


def folder_of_root(name: str) -> Plant:
    def plant(state: Path, victim: Path) -> None:
        if (state / name).is_dir():
            (state / name).rmdir()
        (state / name).symlink_to(victim.parent)

    return plant


def junk(*names: str) -> Plant:
    return lambda state, _victim: [(state / "models" / name).write_text("[[") for name in names]


def long_key(state: Path, _victim: Path) -> None:
    (state / "card").write_text("a." * 120_000 + "a = 1\n")


def sparse(state: Path, _victim: Path) -> None:
    (state / "large.tflite").touch()
    os.truncate(state / "large.tflite", 9 << 30)


def hard_link(state: Path, victim: Path) -> None:
    junk("x.toml")(state, victim)
    (state / "models/x.tflite").hardlink_to(victim)


# name → the command ({state}: the folder), what is planted, its exit code
CASES: dict[str, tuple[list[str], Plant, int]] = {
    "add": (ADD, nothing, 0),
    "add, model is a link": (ADD, link("models/mine.tflite"), 0),
    "add, card is a link": (ADD, link("models/mine.toml"), 0),
    "add, labels are a link": (ADD, link("models/mine.txt"), 0),
    "add, measurements are a link": (ADD, link("measurements.json"), 0),
    "add, models is root's folder": (ADD, folder_of_root("models"), 74),
    "add, a path for a name": ([*ADD[:-1], "../../x"], nothing, 1),
    "add, a card of one key": ([*ADD[:3], "--card", "{state}/card"], long_key, 1),
    "add, a card that is a pipe": ([*ADD[:3], "--card", "{state}/card"], pipe("card"), 1),
    "add, a model that is a pipe": (["models", "add", "{state}/m.tflite"], pipe("m.tflite"), 1),
    "add, a model of gigabytes": (["models", "add", "{state}/large.tflite"], sparse, 1),
    "remove a path": (["models", "remove", "../../victim"], nothing, 1),
    "remove a hard link": (["models", "remove", "x"], hard_link, 0),
    "list junk": (["models", "list"], junk("x\x1b[2J\n.toml", "\x1b]0;o\x07.tflite"), 0),
    "verify junk": (["models", "verify"], junk("x\x1b[2J\n.toml"), 1),
    "outbox, the lock is a link": (["outbox", "list"], link("edged.lock"), 69),
    "outbox, the database is a link": (["outbox", "retry", "all"], link("outbox.db"), 69),
    "outbox, the database is a pipe": (["outbox", "list"], pipe("outbox.db"), 69),
    "plot is a link": (["fit", "--plot", "{state}/plot.svg", "--json"], link("plot.svg"), 74),
    "classify a pipe": (["classify", "{state}/p.png"], pipe("p.png"), 1),
    "audit without an end": (["audit", "/dev/zero"], nothing, 1),
    "pull into root's folder": ([*PULL, "http://127.0.0.1:1"], folder_of_root("models/.pull"), 69),
    "pull of a file": ([*PULL, "file:///etc"], nothing, 69),
}


@pytest.mark.parametrize("name", CASES)
def test_nothing_of_roots_is_touched(tmp_path: Path, name: str) -> None:
    words, plant, code = CASES[name]
    state, roots = tmp_path / "state", tmp_path / "roots"
    (state / "models").mkdir(parents=True)
    roots.mkdir()
    victim, config = roots / "victim", tmp_path / "edged.toml"
    victim.write_text("of root")
    config.write_text(f'state_folder = "{state}"\n')
    plant(state, victim)
    nobody = pwd.getpwnam("nobody")
    for path in (state, *state.rglob("*")):
        if path.is_symlink() or path.stat().st_nlink == 1 or path.is_dir():
            os.chown(path, nobody.pw_uid, nobody.pw_gid, follow_symlinks=False)
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_uid == os.geteuid() and len(folder.parts) > 2:
            folder.chmod(folder.stat().st_mode | 0o011)
    option = [] if words[0] in ("classify", "audit") else ["-c", str(config)]
    command = [sys.executable, "-m", "edged", *(word.format(state=state) for word in words), *option]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False, timeout=180)
    said = done.stdout + done.stderr
    assert "Traceback" not in said and done.returncode == code, said[-800:]
    assert said.replace("\n", "").replace("\t", "").isprintable()
    assert victim.read_text() == "of root" and [path.name for path in roots.iterdir()] == ["victim"]
    made = [path for path in state.rglob("*") if not path.is_symlink() and path.lstat().st_uid == 0]
    assert made == ([] if "hard link" not in name or not (state / "models/x.tflite").exists() else [state / "models/x.tflite"])
