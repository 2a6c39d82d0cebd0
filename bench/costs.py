"""Where time and memory go: the start by phase, processes by model, and what grows with labels, rate and frames.

    make costs
    python bench/costs.py [--pairs 7] [--seconds 10] [--only start models labels rates] [--write]

Needs Mosquitto. Time is told as a ratio to a bare script beside it, in pairs, or as a share of one core. What `make soak` found
last (build/figures/soak.json) is told with it. --write: docs/costs.json, docs/costs_*.svg and the tables of docs/costs.md.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

TOP = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TOP), str(TOP / "bench")]

from costs_of_run import Bench, bytecode  # noqa: E402
from costs_of_start import measure_start  # noqa: E402
from costs_table import write_costs  # noqa: E402
from machine import to_machine  # noqa: E402

from edged.models.catalogue import load_catalogue  # noqa: E402
from tests.graphs import tiny_uint8  # noqa: E402

SMALL, LABELS, RATES = "home_0.25_128", (8, 100, 1001, 10_000), (1.0, 5.0, 15.0, 30.0)


def measure_models(bench: Bench, folder: Path) -> dict[str, Any]:
    names = [card.name for card in load_catalogue().cards if card.family == "home"]
    return {name: bench.run({"model": {"name": name}}, folder / name) for name in sorted(names)}


def measure_rates(bench: Bench, folder: Path) -> dict[str, Any]:
    return {f"{fps:g}": bench.run({"model": {"name": SMALL}}, folder / f"fps{fps:g}", fps=fps) for fps in RATES}


def measure_labels(bench: Bench, folder: Path) -> dict[str, Any]:
    """Networks of three convolutions, whose last layer has so many outputs."""
    found = {}
    for count in LABELS:
        place = folder / f"labels{count}"
        place.mkdir(parents=True)
        (place / "model.tflite").write_bytes(tiny_uint8(px=128, labels=count, beta=8.0))
        (place / "labels.txt").write_text("".join(f"label {number}\n" for number in range(count)))
        model = {"name": str(place / "model.tflite"), "labels": str(place / "labels.txt"), "recast": False}
        found[str(count)] = bench.run({"model": model}, place)
    return found


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = ("start", "models", "labels", "rates")
    ask.add_argument("--pairs", type=int, default=7)
    ask.add_argument("--seconds", type=float, default=10.0, help="that each running edged is watched")
    ask.add_argument("--only", nargs="*", choices=parts, default=list(parts))
    ask.add_argument("--write", action="store_true")
    wanted = ask.parse_args()
    docs, soak = TOP / "docs", TOP / "build/figures/soak.json"
    told: dict[str, Any] = json.loads((docs / "costs.json").read_text()) if (docs / "costs.json").exists() else {}
    told["machine"] = to_machine()
    with tempfile.TemporaryDirectory() as name, bytecode() as environment:
        folder = Path(name)
        bench = Bench(folder, wanted.seconds, environment)
        try:
            if "start" in wanted.only:
                told["start"] = measure_start(bench, wanted.pairs, TOP / f"models/{SMALL}.tflite")
            for part, measure in (("models", measure_models), ("labels", measure_labels), ("rates", measure_rates)):
                if part in wanted.only:
                    told[part] = measure(bench, folder / part)
        finally:
            bench.close()
    if soak.exists():
        told["frames"] = json.loads(soak.read_text())
    if wanted.write:
        write_costs(told, docs)
    else:
        print(json.dumps(told))


if __name__ == "__main__":
    main()
