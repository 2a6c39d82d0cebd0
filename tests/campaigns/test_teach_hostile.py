"""300 hostile inputs to `edged teach`: pictures, names, bases and marks. Each ends in sentences, or in a model that verifies."""

import random
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from edged.models.teach.marks import Marks
from edged.system.files import shipped
from tests.campaigns.mutations import mutated
from tests.campaigns.size import SEED, count, report
from tests.things import album

SHORT, FULL = 8, 300
_PICTURES = 12
_NASTY = (
    "none", "unknown", "other", "", " ", "a\nb", "\x1b[2J", "..", "../../etc", "x" * 300, "a=b", "🐈", "a/b", "auto", "mark",
    "marks", "forget", "home_0.25_96", "-x", "--", "%s%n", "\u202eabc", "NUL", "a b", ".hidden", "Ä", "'; rm -rf /", "\u0000",
)  # fmt: skip


def test_300_hostile_inputs_end_in_sentences(tmp_path: Path) -> None:
    wanted, rng = count(SHORT, FULL), random.Random(SEED)
    good = {thing: album(tmp_path / "good" / thing, thing, _PICTURES) for thing in ("discs", "bars")}
    outcome, slowest = {"taught": 0, "refused": 0}, (0.0, "")
    kinds = list(_KINDS)
    for number in range(wanted):
        kind = kinds[number % len(kinds)]
        folder = tmp_path / f"{number}"
        folder.mkdir()
        config = folder / "edged.toml"
        config.write_text(f'device = "test"\nstate_folder = "{folder}/state"\n')
        for words in _KINDS[kind](rng, folder, good, number):
            words = [word.replace("\0", "") for word in words]  # no argument of a process can hold one
            done, cpu_s = _measured(*words, "-c", str(config))
            slowest = max(slowest, (round(cpu_s, 1), f"{kind} {number}"))
            said = done.stdout + done.stderr
            assert done.returncode in (0, 1, 2, 65, 69), (kind, words, done.returncode, said)
            assert "Traceback" not in said and "\x1b[" not in said, (kind, words, said)
            assert done.returncode == 0 or done.stderr.strip(), (kind, words)
            outcome["taught" if done.returncode == 0 else "refused"] += 1
            left = [path.name for path in (folder / "state" / "models").glob("*")] if (folder / "state" / "models").exists() else []
            assert not [name for name in left if name.startswith(".")], left
            if done.returncode != 0 and words[1] != "marks":
                assert not left, (kind, words, left)
        for model in (folder / "state" / "models").glob("*.toml") if (folder / "state").exists() else []:
            verified = _edged("models", "verify", model.stem, "-c", str(config))
            assert verified.returncode == 0, (kind, verified.stderr)
    report("teach_hostile", {"inputs": wanted, "seed": SEED, "slowest_cpu_s": slowest} | outcome)
    assert outcome["refused"]


def _edged(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "edged", *words], capture_output=True, text=True, errors="replace", timeout=300, check=False
    )


def _measured(*words: str) -> tuple[subprocess.CompletedProcess[str], float]:
    """What it said, and the processor time that it and all below it took."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = _edged(*words)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return done, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _teach(name: str, shown: dict[str, Path], *more: str) -> list[str]:
    return ["teach", name, *(word for label, folder in shown.items() for word in ("--label", f"{label}={folder}")), *more]


Words = Iterator[list[str]]


def _pictures(rng: random.Random, folder: Path, good: dict[str, Path], number: int) -> Words:
    """Some or all of the pictures of one label are damaged."""
    original = sorted(good["bars"].iterdir())
    damaged = folder / "bars"
    damaged.mkdir()
    for n, (path, (_, data)) in enumerate(
        zip(original, mutated(original[0].read_bytes(), seed=SEED + number, count=len(original)), strict=True)
    ):
        (damaged / path.name).write_bytes(data if n < rng.choice((2, 4, len(original))) else path.read_bytes())
    yield _teach("x", {"discs": good["discs"], "bars": damaged}, "--base", "home_0.25_96")


def _names(rng: random.Random, folder: Path, good: dict[str, Path], number: int) -> Words:
    name, label = rng.choice(_NASTY), rng.choice(_NASTY)
    yield _teach(name or "x", {label: good["discs"], "bars": good["bars"]}, "--base", "home_0.25_96")


def _bases(rng: random.Random, folder: Path, good: dict[str, Path], number: int) -> Words:
    """A damaged copy of a base, given as a file with labels that fit."""
    original = shipped("models", "home_0.25_96.tflite").read_bytes()
    ((_, data),) = mutated(original, seed=SEED + number, count=1)
    base = folder / "base.tflite"
    base.write_bytes(data)
    (folder / "labels.txt").write_bytes(shipped("models", "labels/home_8.txt").read_bytes())
    yield ["models", "add", str(base), "--labels", str(folder / "labels.txt"), "--as", "base"]
    others = album(folder / "others", "chequers", 20)
    yield _teach("x", dict(good), "--base", rng.choice(("base", str(base))), "--other", str(others))


def _marks(rng: random.Random, folder: Path, good: dict[str, Path], number: int) -> Words:
    """Damaged marks, and things in their folder that are none."""
    (folder / "state").mkdir()
    marks = Marks(folder / "state")
    originals = [path.read_bytes() for path in sorted(good["bars"].iterdir())]
    for n, data in enumerate(originals):
        ((_, worse),) = mutated(data, seed=SEED + 1000 * number + n, count=1)
        marks.add("bars", worse if rng.random() < 0.4 else data)
    (folder / "state" / "marks" / "bars" / rng.choice(("x.jpg", "20260101-000000-7.jpg", "a" * 200))).mkdir(exist_ok=True)
    (folder / "state" / "marks" / rng.choice(("%00", "%2e%2e", "a%2Fb", "none", "%ff%fe"))).mkdir(exist_ok=True)
    yield ["teach", "marks"]
    yield _teach("x", {"discs": good["discs"]}, "--marked", "--base", "home_0.25_96")


_KINDS = {"pictures": _pictures, "names": _names, "bases": _bases, "marks": _marks}
