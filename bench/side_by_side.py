"""edged's whole way from a frame to a sent result beside what one would use instead: in turn, in one run, each in its own process.

    make bench
    python bench/side_by_side.py [--models FOLDER] [--rounds 15] [--sizes 640x480 …] [--networks 0.25_128 …] [--write]

Each peer has an environment of its own under .venv-bench/. What can't be had is named, and left out. Networks are those of
--models (../shared/models where that is), else stand-ins of the same shape, as fast. --write: docs/bench.json, .svg, .md.
"""

import argparse
import hashlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

TOP = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TOP), str(TOP / "bench")]

from machine import to_machine  # noqa: E402
from networks import NAMES, to_file  # noqa: E402
from table import write_documents  # noqa: E402

from edged.vision.rewrite.recast import recast  # noqa: E402

HERE, ENVIRONMENTS = TOP / "bench/peers", TOP / ".venv-bench"
OURS = sys.executable
# peer → script, what its environment holds, and the Python that it needs
PEERS = {
    "bare": ("bare.py", ["ai-edge-litert", "numpy"], ""),
    "edged": ("edged_frame.py", [], OURS),
    "edged, not recast": ("edged_frame.py", [], OURS),
    "naive cv2 loop": ("naive_cv2.py", ["ai-edge-litert", "opencv-python-headless"], ""),
    "official PIL loop": ("pil_loop.py", ["ai-edge-litert", "pillow"], ""),
    "MediaPipe Tasks": ("mediapipe_tasks.py", ["mediapipe"], ""),
    "tflite-runtime 2.14, bare": ("bare.py", ["tflite-runtime==2.14.0", "numpy<2"], "python3.11"),
}
_TURN_MS = 80.0


class Peer:
    """One process of one peer for one network and one size of frame."""

    def __init__(self, python: str, script: str, model: Path, width: int, height: int) -> None:
        command = [python, str(HERE / script), str(model), str(width), str(height)]
        env = os.environ | {"PYTHONPATH": str(TOP) if python == OURS else "", "GLOG_minloglevel": "3"}
        self._said = tempfile.TemporaryFile()  # noqa: SIM115
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=self._said, text=True, env=env)
        self.name = str(self._answer()["name"])
        one = self.ask(5)
        self._count = max(3, round(_TURN_MS / max(0.01, one["cpu_ms"])))

    def ask(self, count: int = 0) -> dict[str, float]:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{count or self._count}\n")
        self._process.stdin.flush()
        return self._answer()

    def close(self) -> None:
        self._process.kill()
        self._process.wait()

    def _answer(self) -> dict:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self._said.seek(0)
            said = self._said.read().decode(errors="replace").strip().splitlines()
            raise RuntimeError(said[-1][:200] if said else "it ended")
        return json.loads(line)


def to_python(name: str, requirements: list[str], python: str) -> str:
    """The interpreter of a peer's own environment, which is made the first time. Raises RuntimeError with the reason."""
    if python == OURS:
        return OURS
    folder = ENVIRONMENTS / hashlib.sha256(" ".join([name, *requirements]).encode()).hexdigest()[:12]
    mine, made = str(folder / "bin/python"), folder / "made"
    if made.exists():
        return mine
    wanted = python or OURS
    if not shutil.which(wanted):
        raise RuntimeError(f"{wanted} is not here")
    shutil.rmtree(folder, ignore_errors=True)
    for command in ([wanted, "-m", "venv", str(folder)], [mine, "-m", "pip", "install", "--quiet", *requirements]):
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or ["it could not be installed"]
            raise RuntimeError(lines[-1][:200])
    made.touch()
    return mine


def measure(network: str, model: Path, sibling: Path, size: str, rounds: int, pythons: dict[str, str]) -> tuple[dict, dict]:
    """By peer the figures of all rounds; and why a peer is missing."""
    width, height = map(int, size.split("x"))
    peers, missing = dict[str, Peer](), dict[str, str]()
    for name, python in pythons.items():
        try:
            peers[name] = Peer(python, PEERS[name][0], sibling if name == "edged" else model, width, height)
        except RuntimeError as error:
            missing[name] = str(error)
    if "bare" not in peers:
        raise SystemExit(f"there is nothing to compare with: {missing.get('bare', 'bare is not here')}")
    found: dict[str, dict[str, list[float]]] = {name: {"cpu_ms": [], "wall_ms": []} for name in peers}
    for turn in range(rounds + 1):
        names = list(peers)
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            told = peers[name].ask()
            for key in found[name] if turn else ():  # the first round warms
                found[name][key].append(told[key])
    figures = {}
    for name, peer in peers.items():
        ratios = [a / b for a, b in zip(found[name]["cpu_ms"], found["bare"]["cpu_ms"], strict=True)]
        figures[name] = {"what": peer.name, "ratio": to_spread(ratios)} | {k: to_spread(v) for k, v in found[name].items()}
        peer.close()
    told = ", ".join(f"{name} {one['cpu_ms'][1]:.2f} ms ({one['ratio'][1]:.2f})" for name, one in figures.items())
    print(f"{network} {size}: {told}", flush=True)
    return figures, missing


def compare_sizes(network: str, sibling: Path, sizes: list[str], rounds: int) -> dict[str, list[float]]:
    """edged alone, its processes with frames of each size in turn: ms of processor time more than with the first size."""
    peers = [Peer(OURS, PEERS["edged"][0], sibling, *map(int, size.split("x"))) for size in sizes]
    found: list[list[float]] = [[peer.ask()["cpu_ms"] for peer in peers] for _ in range(rounds + 1)][1:]
    for peer in peers:
        peer.close()
    more = {size: to_spread([row[n] - row[0] for row in found]) for n, size in enumerate(sizes) if n}
    print(f"{network}: more than {sizes[0]}: " + ", ".join(f"{size} {one[1]:+.2f} ms" for size, one in more.items()), flush=True)
    return more


def to_spread(values: list[float]) -> list[float]:
    """Lower quartile, median, upper quartile."""
    low, middle, high = statistics.quantiles(values, n=4)
    return [round(low, 4), round(middle, 4), round(high, 4)]


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    beside = TOP.parent / "shared/models"
    ask.add_argument("--models", type=Path, default=beside if beside.is_dir() else None)
    ask.add_argument("--rounds", type=int, default=15)
    ask.add_argument("--sizes", nargs="*", default=["640x480", "1280x720", "352x256"])
    ask.add_argument("--networks", nargs="*", default=list(NAMES), choices=NAMES)
    ask.add_argument("--write", action="store_true")
    wanted = ask.parse_args()
    pythons, missing = dict[str, str](), dict[str, str]()
    for name, (_, requirements, python) in PEERS.items():
        try:
            pythons[name] = to_python(name, requirements, python)
        except RuntimeError as error:
            missing[name] = str(error)
    told = {"machine": to_machine()}
    told |= {"rounds": wanted.rounds, "threads": 1, "networks": {}, "more_ms": {}, "published": True}
    with tempfile.TemporaryDirectory() as made:
        for network in wanted.networks:
            model, is_published = to_file(network, wanted.models, Path(made))
            sibling = Path(made) / f"{network}_int8.tflite"
            sibling.write_bytes(recast(model.read_bytes()))
            told["published"] = told["published"] and is_published
            sizes = told["networks"][network] = {}
            for size in wanted.sizes:
                sizes[size], lost = measure(network, model, sibling, size, max(2, wanted.rounds), pythons)
                missing |= lost
            told["more_ms"][network] = compare_sizes(network, sibling, wanted.sizes, max(2, wanted.rounds))
    told["missing"] = missing
    for name, why in missing.items():
        print(f"not here: {name}: {why}")
    if wanted.write:
        write_documents(told, TOP / "docs")
    else:
        print(json.dumps(told))


if __name__ == "__main__":
    main()
