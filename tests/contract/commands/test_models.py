"""`edged models` and `edged fit` as a script meets them: JSON on stdout, one sentence on stderr, the documented exit codes."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from edged.config.reading import load_settings
from edged.errors import FAILED, OK, UNAVAILABLE, USAGE, ModelError
from edged.models import install
from edged.models.admission import Admission
from edged.models.measurements import Verdict
from edged.models.store import Store
from edged.rollout.override import save_override, to_override
from edged.system.files import shipped
from tests.terminal import in_terminal


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "edged.toml"
    path.write_text(f'state_folder = "{tmp_path / "state"}"\n[camera]\nkind = "pictures"\nsource = "{tmp_path}"\n')
    return path


def edged(*arguments: str, config: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "edged", *arguments, "-c", str(config)]
    return subprocess.run(command, capture_output=True, text=True, timeout=180)


def test_list_and_show(config: Path) -> None:
    rows = json.loads(edged("models", "list", "--json", config=config).stdout)
    bundled = [row for row in rows if row["installed"] == "bundled"]
    assert len(rows) >= 34 and bundled and all(row["family"] == "home" for row in bundled)
    shown = json.loads(edged("models", "show", "mobilenet_v1_0.25_192_quant", "--json", config=config).stdout)
    assert shown["announced"]["top1"] == 0.49 and shown["published"]["top1"] == 0.457
    assert shown["macs_deviation"] == pytest.approx(0.125, abs=0.01)
    lines = edged("models", "list", "--all", config=config).stdout.splitlines()
    assert len(lines) == len(rows) + 1 and lines[0].startswith("name\tpx\t")


@pytest.mark.parametrize("columns", [40, 80, 160])
@pytest.mark.parametrize("words", [("models", "list"), ("fit", "--latency-ms", "0.001")])
def test_a_table_is_whole_in_a_terminal_of_any_width(config: Path, words: tuple[str, ...], columns: int) -> None:
    """Before, the standard 80 columns of a terminal gave `3.0…` for a figure, and a reason in columns of four letters."""
    _, said = in_terminal(*words, "-c", config, columns=columns)
    table = said[: said.index("more models can" if "list" in words else "budget:")]
    assert "…" not in table and "home_1.0_192" in table
    assert ("  px: 96, " in table or "  top-1 (card): " in table) is (columns < (60 if "list" in words else 100))


def test_verify_finds_the_bundled_models_sound(config: Path) -> None:
    told = edged("models", "verify", "--json", config=config)
    assert told.returncode == OK and all(row["ok"] for row in json.loads(told.stdout))


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("models", "show", "nothing"), FAILED, 'no model "nothing"'),
        (("models", "add", "/nowhere.tflite"), FAILED, "cannot be read"),
        (("models", "add", __file__), FAILED, "not a .tflite file"),
        (("models", "remove", "home_0.25_96"), FAILED, "came with edged"),
        (("models", "pull"), USAGE, "name the models, or say --all"),
        (("models", "verify", "mobilenet_v1_1.0_224"), FAILED, "not installed"),
        (("fit", "--family", "nobody"), FAILED, 'family "nobody"'),
        (("fit", "--min-top1", "0.999", "--json"), UNAVAILABLE, ""),
    ],
)
def test_what_goes_wrong_is_one_sentence_and_a_code(config: Path, arguments: tuple[str, ...], code: int, says: str) -> None:
    told = edged(*arguments, config=config)
    assert told.returncode == code, told.stderr
    assert says in told.stderr and "Traceback" not in told.stderr


def test_fit_measures_once_and_draws(config: Path, tmp_path: Path) -> None:
    told = json.loads(edged("fit", "--json", "--plot", str(tmp_path / "fit.svg"), config=config).stdout)
    assert set(told) >= {"board", "budget", "chosen", "candidates", "measured", "seconds"}
    row = {"name", "top1", "predicted_ms", "p50_ms", "p95_ms", "memory_mb", "size_mb", "threads", "recast", "fits", "why_not"}
    assert all(set(candidate) == row for candidate in told["candidates"])
    assert told["chosen"] and 0 < told["measured"] <= 6
    assert (tmp_path / "fit.svg").read_text().startswith("<svg")
    again = json.loads(edged("fit", "--json", config=config).stdout)
    assert (again["measured"], again["chosen"]) == (0, told["chosen"])
    nothing = edged("fit", "--latency-ms", "0.001", config=config)
    assert nothing.returncode == UNAVAILABLE and "would fit with latency_ms" in nothing.stderr


# what somebody needs is not taken away; a running daemon is asked in tests/e2e/test_teach.py


@pytest.fixture
def own(config: Path, tmp_path: Path) -> Path:
    """A model of the operator's own, "own", in the store."""
    copy = tmp_path / "own.tflite"
    copy.write_bytes(shipped("models", "home_0.25_96.tflite").read_bytes())
    done = edged("models", "add", str(copy), "--as", "own", config=config)
    assert done.returncode == OK, done.stderr
    return tmp_path / "state" / "models" / "own.tflite"


def names(config: Path, lines: str) -> int:
    """The config says this, too; in which line it begins."""
    before = config.read_text()
    config.write_text(before + lines)
    return before.count("\n") + 1


@pytest.mark.parametrize(
    ("lines", "line", "key"),
    [
        ('[model]\nname = "own"\n', 1, "model.name"),
        ('[model]\nname = "state/models/own.tflite"\n', 1, "model.name"),
        ('[profile.night]\nmodel.name = "own"\n', 1, "profile.night.model.name"),
    ],
)
def test_what_the_config_names_is_not_removed(config: Path, own: Path, lines: str, line: int, key: str) -> None:
    line += names(config, lines)
    done = edged("models", "remove", "own", config=config)
    assert done.returncode == FAILED and own.is_file()
    assert done.stderr == f"own is named in {config}:{line}: give {key} another model there first\n"


def test_what_was_wished_for_is_not_removed(config: Path, own: Path, tmp_path: Path) -> None:
    save_override(tmp_path / "state", to_override(load_settings(config), "own", "use"))
    done = edged("models", "remove", "own", config=config)
    assert done.returncode == FAILED and own.is_file()
    assert done.stderr.startswith("own is what was wished for, and edged begins with it: ")
    save_override(tmp_path / "state", to_override(load_settings(config), "auto", "use"))
    assert edged("models", "remove", "own", config=config).returncode == OK
    assert not own.exists()


def test_what_can_not_be_used_is_needed_by_nobody(config: Path, own: Path) -> None:
    """To remove it is the cure that edged itself tells."""
    names(config, '[model]\nname = "own"\n')
    own.write_bytes(own.read_bytes()[:-1] + b"x")
    assert "'edged models remove own'" in edged("models", "verify", "own", config=config).stderr
    assert edged("models", "remove", "own", config=config).returncode == OK
    assert not own.exists()


@pytest.mark.parametrize("content", ["", "no TOML at all", "[[card]]\nname = 1\n"])
def test_a_card_that_was_destroyed_is_told_by_whatever_looks(config: Path, own: Path, content: str) -> None:
    own.with_suffix(".toml").write_text(content)
    cure = "it is left out: 'edged models remove own'"
    for words, code in (
        (("verify",), FAILED),
        (("verify", "own"), FAILED),
        (("show", "own"), FAILED),
        (("pull", "own"), FAILED),
        (("list",), OK),
        (("list", "--json"), OK),
    ):
        told = edged("models", *words, config=config)
        assert told.returncode == code, told.stderr
        (said,) = [line for line in told.stderr.splitlines() if str(own.with_suffix(".toml")) in line]
        assert said.endswith(cure)
    assert all(row["name"] != "own" for row in json.loads(told.stdout))
    rows = {row["name"]: row for row in json.loads(edged("models", "verify", "--json", config=config).stdout)}
    assert rows.pop("own")["error"].endswith(cure) and rows and all(row["ok"] for row in rows.values())


def test_a_model_that_was_refused_is_no_sound_one_until_it_is_tried_anew(config: Path, own: Path, tmp_path: Path) -> None:
    """As after a trial that failed for a reason that has passed: what is remembered of it keeps it from running."""
    state = tmp_path / "state"
    admission, one = Admission(state), Store(state).find("own")
    assert admission.admit(one).admitted
    (key,) = json.loads((state / "measurements.json").read_text())["verdicts"]
    admission.remember(key, Verdict(admitted=False, reason="the trial of it was killed"))
    sentence = "model own is refused: the trial of it was killed; 'edged models verify own --again' tries it anew"
    for words in (("verify", "own"), ("verify",)):  # without a name, the bundled one whose file it is is told too
        told = edged("models", *words, config=config)
        assert told.returncode == FAILED and sentence in told.stderr.splitlines() and "own: ok" not in told.stdout
    assert json.loads(edged("models", "verify", "own", "--json", config=config).stdout) == [
        {"name": "own", "ok": False, "error": sentence}
    ]
    assert edged("models", "verify", "own", "--again", config=config).stdout == "own: ok\n"
    assert edged("models", "verify", "own", config=config).stdout == "own: ok\n"


def test_the_same_again_changes_nothing_and_asks_nobody(tmp_path: Path) -> None:
    store = Store(tmp_path / "state")
    path = tmp_path / "own.tflite"
    path.write_bytes(shipped("models", "home_0.25_96.tflite").read_bytes())
    asked = list[str]()
    install.add(store, path, install.Wish(name="own"), None, asked.append)
    install.add(store, path, install.Wish(name="own"), None, asked.append)
    assert asked == []
    labels = tmp_path / "labels.txt"
    labels.write_text("".join(f"{n}\n" for n in range(8)))

    def refuse(name: str) -> None:
        raise ModelError(f"{name} runs now")

    with pytest.raises(ModelError, match="own runs now"):
        install.add(store, path, install.Wish(labels, name="own"), None, refuse)
    assert not (tmp_path / "state" / "models" / "own.txt").exists()
    install.add(store, path, install.Wish(labels, name="own"), None, asked.append)
    assert asked == ["own"] and (tmp_path / "state" / "models" / "own.txt").is_file()


@pytest.mark.parametrize("moved", [1, 2])
def test_an_install_that_was_killed_among_its_names_is_brought_to_its_end(config: Path, own: Path, moved: int) -> None:
    """Whole files lie beside, and some have their names already: what was there before is no model any more."""
    done = edged("models", "add", str(own), "--as", "other", "--labels", str(shipped("models", "labels/home_8.txt")), config=config)
    assert done.returncode == OK, done.stderr
    new = own.with_name(".other.new")
    new.mkdir()
    for suffix in (".tflite", ".txt", ".toml")[moved:]:
        own.with_name(f"other{suffix}").rename(new / f"other{suffix}")
    install.sweep(Store(own.parents[1]))
    assert not new.exists()
    assert edged("models", "verify", "other", config=config).stdout == "other: ok\n"


def test_an_install_that_was_killed_before_its_names_is_taken_away(config: Path, own: Path) -> None:
    new = own.with_name(".other.new")
    new.mkdir()
    for suffix in (".tflite", ".toml"):
        (new / f"other{suffix}").write_bytes(own.with_suffix(suffix).read_bytes())
    install.sweep(Store(own.parents[1]))
    assert sorted(path.name for path in own.parent.iterdir()) == ["own.tflite", "own.toml"]
