"""`edged bench frame`: the contract of its JSON, and what it runs. No figure is judged here."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import tomlkit

from tests.graphs import LABELS, tiny_uint8

KEYS = {"pipeline_cpu_ms", "invoke_cpu_ms", "ratio", "pipeline_ms", "invoke_ms", "fps", "runtime", "delegate", "threads", "recast"}


@pytest.fixture
def asked(tmp_path: Path) -> list[str]:
    config = tmp_path / "edged.toml"
    config.write_text(tomlkit.dumps({"state_folder": str(tmp_path / "state")}))
    return [sys.executable, "-m", "edged", "bench", "frame", "-c", str(config), "--seconds", "1"]


def run(command: list[str], *more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*command, *more], capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize("layout", ["bgr", "nv12", "yuv420", "mjpeg"])
def test_every_format_gives_the_figures(asked: list[str], layout: str) -> None:
    done = run(asked, "--model", "home_0.25_96", "--format", layout, "--size", "352x256", "--threads", "1", "--fps", "0", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told.keys() >= KEYS and told["recast"] is False and told["threads"] == 1
    assert told["pipeline_cpu_ms"] > told["invoke_cpu_ms"] > 0 and told["ratio"] > 1
    for key in ("pipeline_ms", "invoke_ms"):
        assert told[key].keys() == {"p50", "p95"} and 0 < told[key]["p50"] <= told[key]["p95"]
    assert told["delegate"] == "XNNPACK" and told["fps"] > 0


def test_it_runs_the_file_that_the_daemon_would(asked: list[str], tmp_path: Path) -> None:
    (tmp_path / "tiny.tflite").write_bytes(tiny_uint8(5, px=160))
    (tmp_path / "labels.txt").write_text("".join(f"label {n}\n" for n in range(LABELS)))
    asked += ["--model", str(tmp_path / "tiny.tflite"), "--labels", str(tmp_path / "labels.txt"), "--json"]
    found = {}
    for more in ([], ["--no-recast"]):
        done = run(asked, *more)
        assert done.returncode == 0, done.stderr
        found[bool(more)] = json.loads(done.stdout)
    assert found[True]["recast"] is False
    ledger = json.loads((tmp_path / "state/measurements.json").read_text())
    (made,) = ledger["recasts"].values()
    faster = made["recast_ms"] < made["original_ms"]
    assert found[False]["recast"] is faster and (found[False]["sha256"] == made["sha256"]) is faster


@pytest.mark.parametrize(("more", "says"), [(["--size", "641x480"], "even"), (["--size", "big"], "WIDTHxHEIGHT")])
def test_a_size_that_is_none_is_said(asked: list[str], more: list[str], says: str) -> None:
    done = run(asked, *more)
    assert done.returncode == 2 and says in done.stderr and "Traceback" not in done.stderr


def test_a_model_that_is_not_there_is_said(asked: list[str]) -> None:
    done = run(asked, "--model", "nothing")
    assert done.returncode == 1 and 'there is no model "nothing"' in done.stderr
