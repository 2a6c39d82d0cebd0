"""`edged models` and `edged fit` as a script meets them: JSON on stdout, one sentence on stderr, the documented exit codes."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from edged.errors import FAILED, OK, UNAVAILABLE, USAGE


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
    lines = edged("models", "list", config=config).stdout.splitlines()
    assert len(lines) == len(rows) + 1 and lines[0].startswith("name\tpx\t")


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
    row = {"name", "top1", "predicted_ms", "p50_ms", "p95_ms", "memory_mb", "size_mb", "threads", "fits", "why_not"}
    assert all(set(candidate) == row for candidate in told["candidates"])
    assert told["chosen"] and 0 < told["measured"] <= 6
    assert (tmp_path / "fit.svg").read_text().startswith("<svg")
    again = json.loads(edged("fit", "--json", config=config).stdout)
    assert (again["measured"], again["chosen"]) == (0, told["chosen"])
    nothing = edged("fit", "--latency-ms", "0.001", config=config)
    assert nothing.returncode == UNAVAILABLE and "would fit with latency_ms" in nothing.stderr
