"""From exec to the first result that a subscriber has, beside the bare script of bench/peers/first_picture.py, in pairs."""

import json
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import tomlkit
from costs_of_run import Bench

from tests.e2e.running import wait_for

BARE = Path(__file__).parent / "peers/first_picture.py"


def measure_start(bench: Bench, pairs: int, model: Path) -> dict[str, Any]:
    """Each pair in turn the other way round; the first one only warms. Seconds, and the phases of the start in the middle."""
    found: list[tuple[float, float]] = []
    phases: list[list[dict[str, Any]]] = []
    for turn in range(pairs + 1):
        steps = [lambda: bare_s(bench, model), lambda: edged_s(bench, model.stem)]
        first = turn % 2
        told = {first: steps[first](), 1 - first: steps[1 - first]()}
        (ours_s, seen) = told[1]
        if turn:
            found.append((told[0], ours_s))
            phases.append(seen)
            print(json.dumps({"bare_s": round(told[0], 3), "edged_s": round(ours_s, 3)}), flush=True)
    ratios = [ours / bare for bare, ours in found]
    return {
        "pairs": pairs,
        "bare_s": round(statistics.median(bare for bare, _ in found), 3),
        "edged_s": round(statistics.median(ours for _, ours in found), 3),
        "ratio": round(statistics.median(ratios), 2),
        "ratios": [round(ratio, 2) for ratio in sorted(ratios)],
        "phases": to_middle(phases),
    }


def bare_s(bench: Bench, model: Path) -> float:
    began_s = time.monotonic()
    command = [sys.executable, str(BARE), str(model), str(bench.picture)]
    subprocess.run(command, check=True, capture_output=True, env=bench.environment)
    return time.monotonic() - began_s


def edged_s(bench: Bench, model: str) -> tuple[float, list[dict[str, Any]]]:
    file = bench.folder / "start.toml"
    file.write_text(tomlkit.dumps(bench.to_config({"model": {"name": model}}, bench.folder / "start")))
    command = [sys.executable, "-m", "edged", "run", "-q", "--timings", "--json", "-c", str(file)]
    bench.heard.messages.clear()
    bench.heard.first_s_of.clear()
    began_s = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=bench.environment)
    wait_for(lambda: bench.heard.of("result"), 60, "a result")
    heard_s = bench.heard.first_s_of["edged/bench/result"] - began_s
    assert process.stdout is not None
    phases = json.loads(process.stdout.readline())["phases"]
    process.terminate()
    process.communicate()
    return heard_s, phases


def to_middle(starts: list[list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """The median of each phase over all starts, in the order of their ends."""
    by_name: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for phases in starts:
        for one in phases:
            by_name.setdefault((one["process"], one["name"]), []).append(one)
    middle = [
        {"process": process, "name": name}
        | {key: round(statistics.median(one[key] for one in seen), 1) for key in ("took_ms", "at_ms")}
        for (process, name), seen in by_name.items()
        if len(seen) * 2 > len(starts)
    ]
    return sorted(middle, key=lambda one: (one["process"], one["at_ms"]))
