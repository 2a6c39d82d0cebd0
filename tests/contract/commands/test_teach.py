"""`edged teach` as a person runs it, with drawn pictures: a model comes of it, or one sentence with the reason."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import cv2
import numpy as np
import pytest

from edged.system.files import shipped
from tests.shared import SHARED, needs_shared
from tests.system_folders import needs_own_folders
from tests.things import album, draw

BASE = ("--base", "home_0.25_96")


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "edged.toml"
    path.write_text(f'device = "test"\nstate_folder = "{tmp_path}/state"\n')
    return path


@pytest.fixture(scope="session")
def things(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("things")
    return {thing: album(folder / thing, thing, 12) for thing in ("discs", "bars", "chequers")}


def edged(*words: object, config: Path, code: int = 0) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "edged", *map(str, words), "-c", str(config)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done


def teach(name: str, shown: dict[str, Path], *more: object, config: Path, code: int = 0) -> subprocess.CompletedProcess[str]:
    labels = [word for label, folder in shown.items() for word in ("--label", f"{label}={folder}")]
    return edged("teach", name, *labels, *more, config=config, code=code)


def refused(name: str, shown: dict[str, Path], *more: object, config: Path) -> str:
    """The one sentence; nothing was installed, and nothing lies about."""
    done = teach(name, shown, *more, config=config, code=1)
    assert done.stdout == ""
    models = config.parent / "state" / "models"
    assert not models.exists() or not any(models.iterdir())
    lines = [line for line in done.stderr.splitlines() if not line.startswith("left out: ")]
    assert len(lines) == 1, done.stderr
    return lines[0]


def test_a_taught_model_is_an_ordinary_model(config: Path, things: dict[str, Path], tmp_path: Path) -> None:
    told = json.loads(teach("things", things, *BASE, "--json", config=config).stdout)
    assert told["taught"]["accuracy"] >= 0.9 and told["taught"]["others_named"] <= 0.2
    assert told["based_on"]["name"] == "home_0.25_96" and 0 < told["leave"] < told["enter"] < 1
    assert sorted(path.suffix for path in (tmp_path / "state" / "models").iterdir()) == [".svg", ".tflite", ".toml", ".txt"]
    assert "discs" in " ".join(ElementTree.parse(told["report"]).getroot().itertext())
    rows = {row["name"]: row for row in json.loads(edged("models", "list", "--json", config=config).stdout)}
    assert rows["things"]["installed"] == "yes"
    assert "things: ok" in edged("models", "verify", "things", "--again", config=config).stdout
    right = 0
    for thing in things:
        fresh = album(tmp_path / "fresh" / thing, thing, 5, first=100)
        done = edged("classify", fresh, "-m", "things", "--json", config=config)
        right += sum(json.loads(line)["top"][0]["label"] == thing for line in done.stdout.splitlines())
    assert right >= 13
    edged("models", "remove", "things", config=config)
    assert not any((tmp_path / "state" / "models").iterdir())


def test_it_is_carried_to_another_board_with_its_card(config: Path, things: dict[str, Path], tmp_path: Path) -> None:
    """Its files lie side by side: the labels are found by the card that names them, under a new name too."""
    teach("two", {thing: things[thing] for thing in ("discs", "bars")}, *BASE, config=config)
    (tmp_path / "other").mkdir()
    other = tmp_path / "other" / "edged.toml"
    other.write_text(config.read_text().replace(f"{tmp_path}/state", f"{tmp_path}/other/state"))
    kept = tmp_path / "state" / "models"
    edged("models", "add", kept / "two.tflite", "--card", kept / "two.toml", "--as", "theirs", config=other)
    facts = [
        json.loads(edged("models", "show", name, "--json", config=at).stdout) for name, at in (("two", config), ("theirs", other))
    ]
    assert all(facts[0][key] == facts[1][key] for key in ("enter", "taught", "sha256", "labels_sha256"))
    done = edged("classify", things["bars"], "-m", "theirs", "--json", config=other)
    assert {json.loads(line)["top"][0]["label"] for line in done.stdout.splitlines()} <= {"discs", "bars"}


def test_what_was_not_taught_gets_no_name(config: Path, things: dict[str, Path], tmp_path: Path) -> None:
    told = json.loads(teach("two", {thing: things[thing] for thing in ("discs", "bars")}, *BASE, "--json", config=config).stdout)
    rng = np.random.default_rng(1)
    for n in range(20):
        colours = rng.integers(0, 256, (8, 8, 3), np.uint8)
        cv2.imwrite(str(tmp_path / f"other_{n}.png"), cv2.resize(colours, (160, 160), interpolation=cv2.INTER_NEAREST))
    done = edged("classify", *sorted(tmp_path.glob("other_*.png")), "-m", "two", "--json", config=config)
    named = sum(json.loads(line)["top"][0]["score"] >= told["enter"] for line in done.stdout.splitlines())
    assert named <= 6


def test_a_second_time_needs_a_word(config: Path, things: dict[str, Path]) -> None:
    two = {thing: things[thing] for thing in ("discs", "bars")}
    teach("two", two, *BASE, config=config)
    assert "--again replaces it" in teach("two", two, *BASE, config=config, code=1).stderr
    before = (config.parent / "state" / "models" / "two.txt").read_text()
    teach("two", {"bars": things["bars"], "chequers": things["chequers"]}, *BASE, "--again", config=config)
    assert (config.parent / "state" / "models" / "two.txt").read_text() != before
    edged("models", "verify", "two", config=config)


def test_a_label_that_the_config_ignores_is_told(config: Path, things: dict[str, Path]) -> None:
    shown = {"background": things["discs"], "bars": things["bars"]}
    done = teach("home_0.25_96", shown, *BASE, config=config, code=1)  # that name is taken: it ends there
    assert done.stderr.startswith("decision.ignore names background: edged will tell it as none, as an empty place\n")


@pytest.mark.parametrize("name", ["mark", "marks", "forget"])
def test_a_model_is_not_named_as_a_command(name: str, config: Path, things: dict[str, Path]) -> None:
    done = edged("teach", name, "--label", f"a={things['discs']}", config=config, code=2)
    assert "Usage" in done.stderr or "no such option" in done.stderr.lower()


@pytest.mark.parametrize("name", ["home_0.25_96", "mobilenet_v1_0.5_160"])
def test_a_model_is_not_named_as_one_of_ours(name: str, config: Path, things: dict[str, Path]) -> None:
    assert "choose another name" in refused(name, things, *BASE, config=config)


def test_too_few_are_refused_and_the_unreadable_ones_named(config: Path, things: dict[str, Path], tmp_path: Path) -> None:
    few = album(tmp_path / "few", "bars", 9)
    (few / "bars_000.png").write_bytes(b"no picture")
    (few / "bars_001.png").write_bytes(b"")
    said = refused("x", {"discs": things["discs"], "bars": few}, *BASE, config=config)
    assert said.startswith('"bars" has 7 pictures (2 were left out: ') and "bars_000.png" in said


def test_an_unreadable_one_is_named_and_left_out(config: Path, things: dict[str, Path], tmp_path: Path) -> None:
    some = album(tmp_path / "some", "bars", 10)
    (some / "bars_000.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"x" * 50)
    done = teach("x", {"discs": things["discs"], "bars": some}, *BASE, config=config)
    assert "left out: " in done.stderr and "bars_000.png" in done.stderr and "bars: " in done.stdout


def test_the_same_picture_on_both_sides_is_refused(config: Path, things: dict[str, Path], tmp_path: Path) -> None:
    both = album(tmp_path / "both", "bars", 10)
    cv2.imwrite(str(both / "again.jpg"), draw("discs", 3))
    said = refused("x", {"discs": things["discs"], "bars": both}, *BASE, config=config)
    assert "they are the same picture" in said and "discs_003.png" in said and "again.jpg" in said


def test_labels_that_look_alike_are_refused(config: Path, tmp_path: Path) -> None:
    shown = {label: album(tmp_path / label, "discs", 15, first) for label, first in (("left", 0), ("right", 50))}
    said = refused("x", shown, *BASE, config=config)
    assert said.startswith('"left" and "right" look alike to this base')


def test_copies_of_one_picture_are_no_twenty_pictures(config: Path, things: dict[str, Path], tmp_path: Path) -> None:
    for n in range(20):
        (tmp_path / "copies").mkdir(exist_ok=True)
        noisy = np.clip(draw("bars", 1) + np.random.default_rng(n).normal(0, 3, (160, 160, 3)), 0, 255)
        cv2.imwrite(str(tmp_path / "copies" / f"{n}.png"), noisy.astype(np.uint8))
    said = refused("x", {"discs": things["discs"], "bars": tmp_path / "copies"}, *BASE, config=config)
    assert 'the pictures of "bars" are near copies of only 1' in said


def test_a_folder_that_is_given_twice_has_no_more_pictures(config: Path, things: dict[str, Path]) -> None:
    twice = ("--label", f"discs={things['discs']}")
    told = json.loads(
        teach("x", {thing: things[thing] for thing in ("discs", "bars")}, *twice, *BASE, "--json", config=config).stdout
    )
    assert told["taught"]["pictures"] == {"discs": 12, "bars": 12}


def test_without_a_name_it_is_asked_for(config: Path, things: dict[str, Path]) -> None:
    done = edged("teach", "--label", f"a={things['discs']}", config=config, code=2)
    assert "the model needs a name" in done.stderr


def test_folders_that_are_not_there_or_empty(config: Path, things: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert "there is no such folder" in refused("x", {"a": tmp_path / "nowhere", "b": things["bars"]}, config=config)
    assert "no pictures in it" in refused("x", {"a": tmp_path / "empty", "b": things["bars"]}, config=config)


@needs_shared
@pytest.mark.parametrize("base", ["mobilenet_v1_0.25_128_quant", "mobilenet_v1_0.25_224", "mobilenet_v2_1.0_224_quant"])
def test_a_published_network_can_be_the_base_with_others(base: str, config: Path, things: dict[str, Path], tmp_path: Path) -> None:
    assert SHARED is not None
    edged("models", "add", SHARED / "models" / f"{base}.tflite", "--as", "theirs",
          "--labels", SHARED / "labels" / "imagenet_1001.txt", config=config)  # fmt: skip
    two = {thing: things[thing] for thing in ("discs", "bars")}
    done = teach("x", two, "--base", "theirs", config=config, code=1)
    assert "the base theirs has no bank of ordinary things" in done.stderr and "--other" in done.stderr
    others = album(tmp_path / "others", "chequers", 24)
    told = json.loads(teach("x", two, "--base", "theirs", "--other", others, "--json", config=config).stdout)
    assert told["taught"]["accuracy"] >= 0.9
    edged("models", "verify", "x", "--again", config=config)


def test_a_file_that_nobody_knows_can_be_the_base_without_its_labels(config: Path, things: dict[str, Path], tmp_path: Path) -> None:
    """What it called its scores is not taught: there is no option for it either."""
    (tmp_path / "own.tflite").write_bytes(shipped("models", "home_0.25_96.tflite").read_bytes() + b"\0")
    two, others = {thing: things[thing] for thing in ("discs", "bars")}, album(tmp_path / "others", "chequers", 24)
    done = teach("x", two, "--base", tmp_path / "own.tflite", "--other", others, "--json", config=config)
    told = json.loads(done.stdout)
    assert told["based_on"]["name"] == "own"
    assert "x: ok" in edged("models", "verify", "x", "--again", config=config).stdout


def test_a_base_that_can_not_be_taught_is_refused(config: Path, things: dict[str, Path], tmp_path: Path) -> None:
    said = refused("x", things, "--base", "nothing_like_it", config=config)
    assert 'there is no model "nothing_like_it"' in said
    broken = tmp_path / "broken.tflite"
    broken.write_bytes(b"\0\0\0\0TFL3" + bytes(100))
    (tmp_path / "labels.txt").write_text("a\nb\n")
    assert "broken.tflite" in refused("x", things, "--base", broken, config=config)


def test_marks_without_a_daemon(config: Path, tmp_path: Path) -> None:
    """They are listed and erased; what teaches takes them."""
    from edged.models.teach.marks import Marks

    (tmp_path / "state").mkdir()
    marks = Marks(tmp_path / "state")
    for thing in ("discs", "bars"):
        for seed in range(10):
            marks.add(thing, cv2.imencode(".jpg", draw(thing, seed, side=320))[1].tobytes())
    rows = json.loads(edged("teach", "marks", "--json", config=config).stdout)
    assert [(row["label"], row["count"]) for row in rows] == [("bars", 10), ("discs", 10)]
    told = json.loads(edged("teach", "x", "--marked", *BASE, "--json", config=config).stdout)
    assert told["taught"]["pictures"] == {"bars": 10, "discs": 10}
    assert "erased 10 pictures" in edged("teach", "forget", "bars", config=config).stdout
    assert "no marks" in edged("teach", "forget", "bars", config=config, code=1).stderr
    assert "erased 10 pictures" in edged("teach", "forget", config=config).stdout
    assert not (tmp_path / "state" / "marks").exists()
    assert "no edged answers" in edged("teach", "mark", "bars", config=config, code=69).stderr


def test_what_is_no_file_is_not_waited_for(config: Path, things: dict[str, Path], tmp_path: Path) -> None:
    some = album(tmp_path / "some", "bars", 10)
    os.mkfifo(some / "bars_fifo.png")
    done = teach("x", {"discs": things["discs"], "bars": some}, *BASE, config=config)
    assert "bars_fifo.png is not a file" in done.stderr


@needs_own_folders
def test_who_may_not_write_the_daemon_s_folder_keeps_the_model_and_is_told_where(
    config: Path, things: dict[str, Path], tmp_path: Path
) -> None:
    state, own = tmp_path / "state", tmp_path / "own"
    state.mkdir()
    enter = 'mount --bind "$0" "$0"; mount -o remount,bind,ro "$0"; exec "$@"'

    def without_rights(*words: object) -> subprocess.CompletedProcess[str]:
        command = ["unshare", "--mount", "bash", "-ec", enter, state, sys.executable, "-m", "edged", *words, "-c", config]
        env = os.environ | {"XDG_STATE_HOME": str(own)}
        return subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=300, check=False, env=env)

    labels = [word for thing in ("discs", "bars") for word in ("--label", f"{thing}={things[thing]}")]
    done = without_rights("teach", "x", *labels, *BASE)
    assert done.returncode == 0 and "no running edged looks there" in done.stderr and str(own) in done.stderr
    assert "edged use" not in done.stdout and (own / "edged/models/x.tflite").is_file()
    assert "was taught before" in without_rights("teach", "x", *labels, *BASE).stderr
    assert without_rights("models", "show", "x").returncode == 0
    assert without_rights("models", "remove", "x").stdout == "removed x\n"
    assert not any((own / "edged/models").iterdir()) and not any(state.iterdir())


def test_the_example_of_the_document_word_by_word(tmp_path: Path) -> None:
    pytest.importorskip("skimage", reason="the demo's photographs are not installed")
    text = (Path(__file__).parents[3] / "docs" / "teach.md").read_text()
    example = text[text.index("## Try it") : text.index("## Good pictures")]
    said = ""
    for block in re.findall(r"```sh\n(.*?)```", example, re.DOTALL):
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        done = subprocess.run(
            ["bash", "-ec", block],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
            env={**os.environ, "PATH": path},
        )
        assert done.returncode == 0, done.stderr
        said += done.stdout
    tried = re.findall(r"try/(\w+)/\S+: (\w+) (\S+)", said)
    assert len(tried) == 12 and sum(truth == label for truth, label, _ in tried) >= 11
    other = re.search(r"coffee\.png: \w+ (\S+)", said)
    assert other is not None and float(other[1]) < 0.3
