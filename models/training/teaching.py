"""What `edged teach` is worth: three things are taught from 20 photographs each, and looked for in photographs that it did not see.

    python teaching.py --data PHOTOGRAPHS --models .. [--base home_0.5_160] [--draws 4]

Prints a JSON line for each task: the accuracy among the labels (mean of the labels), and at the card's thresholds the share of
the photographs that get a label, that get the right one, and of 500 photographs of other things that get none. The scores are
those of the file that was made. No bank holds what is looked for, what is taught here, or the 500 other things.
"""

import argparse
import csv
import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from banks import TAUGHT_IN_TESTS, ordinary
from collection import SEED, listed

from edged.vision.classifier import Classifier
from edged.vision.frame import Frame
from edged.vision.preprocess import to_tensor
from edged.vision.rewrite import head
from edged.vision.rewrite.copies import SIDE, to_thumb
from edged.vision.rewrite.embedding import Embedder, to_views
from edged.vision.rewrite.lesson import Examples, learn, load_bank
from edged.vision.rewrite.trunk import Trunk

EACH, OTHERS, MOST_TRIED = 20, 500, 100
ROOMS = ("bathroom", "bedroom", "kitchen")
VEHICLES = ("bus", "truck", "car")

Pair = tuple[list[list[str]], list[list[str]]]  # files of each label: to learn, to try


class Photographs:
    """The collection; features and thumbs of its files by one base, made when they are first asked for."""

    def __init__(self, data: Path, models: Path, base: str) -> None:
        self.data, self.rows = data, listed(data)
        path = models / f"{base}.tflite"
        self.model = path.read_bytes()
        self.trunk, self._embedder = Trunk(self.model), Embedder(self.model)
        self.bank = load_bank(models / f"{base}.bank.npz", hashlib.sha256(self.model).hexdigest(), self.trunk.features)
        self.in_bank = {row.file for row in ordinary(self.rows)[: len(self.bank)]}
        self._seen: dict[str, tuple[np.ndarray, bytes]] = {}
        self._views: dict[str, np.ndarray] = {}
        with (data / "SOURCES.tsv").open() as lines:
            self.sources = {row["file"]: row for row in csv.DictReader(lines, delimiter="\t")}

    def frame(self, file: str) -> Frame:
        pixels = cv2.imread(str(self.data / file))
        return Frame(pixels, "bgr", pixels.shape[1], pixels.shape[0], 0)

    def features(self, file: str) -> tuple[np.ndarray, bytes]:
        if file not in self._seen:
            frame = self.frame(file)
            self._seen[file] = (self._embedder.embed(frame, "full"), to_thumb(frame))
        return self._seen[file]

    def views(self, file: str) -> np.ndarray:
        """(v, features)."""
        if file not in self._views:
            self._views[file] = np.stack([self._embedder.embed(one, "full") for one in to_views(self.frame(file))])
        return self._views[file]

    def others(self) -> list[str]:
        """Half of kinds that are set aside, half of people, animals and rooms that were never learnt from."""
        rng = np.random.default_rng(SEED)
        aside = [row.file for row in self.rows if row.split == "strangers" and row.kind not in TAUGHT_IN_TESTS]
        known = [
            row.file
            for row in self.rows
            if row.split == "test" and row.file.split("/")[0] in ("person", "cat", "dog", "bird", "background")
        ]
        chosen = [rng.choice(files, OTHERS // 2, replace=False).tolist() for files in (aside, known)]
        return chosen[0] + chosen[1]


def vehicles(p: Photographs, rng: np.random.Generator) -> Pair:
    """Whole sources apart: what is looked for comes from collections of which nothing of that label was learnt."""
    learn_, try_ = [], []
    for label in VEHICLES:
        mine = [row for row in p.rows if row.file.startswith(f"{label}/")]
        sources = rng.permutation(sorted({row.collection for row in mine}))
        known = set(sources[: len(sources) // 2])
        free = [r for r in mine if r.split == "train" and r.file not in p.in_bank]
        learn_.append(_some(rng, [r.file for r in free if r.collection in known]))
        try_.append(_some(rng, [r.file for r in mine if r.collection not in known and r.split != "train"], MOST_TRIED))
    return learn_, try_


def vehicles_by_group(p: Photographs, rng: np.random.Generator) -> Pair:
    """Groups of photographs of the same origin apart, as the collection's own splits have them."""
    learn_, try_ = [], []
    for label in VEHICLES:
        mine = [row for row in p.rows if row.file.startswith(f"{label}/")]
        learn_.append(_some(rng, [r.file for r in mine if r.split == "train" and r.file not in p.in_bank]))
        try_.append(_some(rng, [r.file for r in mine if r.split == "test"], MOST_TRIED))
    return learn_, try_


def kinds(p: Photographs, rng: np.random.Generator) -> Pair:
    """Church, gas pump, golf ball."""
    found = [_some(rng, [row.file for row in p.rows if row.kind == kind], EACH + MOST_TRIED) for kind in TAUGHT_IN_TESTS]
    return [files[:EACH] for files in found], [files[EACH:] for files in found]


def rooms(p: Photographs, rng: np.random.Generator) -> Pair:
    """Bathroom, bedroom, kitchen, by what their collections call them; groups apart."""
    learn_, try_ = [], []
    for room in ROOMS:
        named = sorted(file for file, row in p.sources.items() if room in row["path"].lower() and file not in p.in_bank)
        mine = rng.permutation(named).tolist()
        known = {p.sources[file]["group"] for file in mine[:EACH]}
        learn_.append(mine[:EACH])
        try_.append([file for file in mine[EACH:] if p.sources[file]["group"] not in known][:MOST_TRIED])
    return learn_, try_


def _some(rng: np.random.Generator, files: list[str], count: int = EACH) -> list[str]:
    return rng.choice(sorted(files), min(count, len(files)), replace=False).tolist()


TASKS: dict[str, Callable[[Photographs, np.random.Generator], Pair]] = {
    "vehicles, whole sources apart": vehicles,
    "vehicles, groups apart": vehicles_by_group,
    "church, gas pump, golf ball": kinds,
    "rooms": rooms,
}


def tried(p: Photographs, task: str, seed: int) -> dict[str, float]:
    """One draw of a task."""
    to_learn, to_try = TASKS[task](p, np.random.default_rng(seed))
    seen = [(n, *p.features(file)) for n, files in enumerate(to_learn) for file in files]
    thumbs = np.stack([np.frombuffer(thumb, np.uint8) for _, _, thumb in seen]).reshape(-1, SIDE * SIDE).astype(np.float32)
    views = np.stack([p.views(file) for files in to_learn for file in files])
    examples = Examples(np.stack([features for _, features, _ in seen]), thumbs, np.array([n for n, _, _ in seen]), views)
    layers, figures = learn(examples, p.bank, len(to_learn), p.trunk)
    made = Classifier(p.trunk.with_head(*layers, shown=len(to_learn)), output="probabilities")
    score = lambda files: np.stack([made.classify(to_tensor(p.frame(file), made.facts.input)) for file in files])  # noqa: E731
    shown, truth = score([file for files in to_try for file in files]), np.repeat(range(len(to_try)), [len(f) for f in to_try])
    other, best = score(p.others()), shown.argmax(1)
    named = head.is_named(shown, figures["enter"])
    confusion = np.array(figures["confusion"])
    return {
        "accuracy": float(np.mean([np.mean(best[truth == n] == n) for n in range(len(to_try))])),
        "said": float(np.mean(confusion.diagonal() / confusion.sum(1))),
        "named": float(named.mean()),
        "named_rightly": float((named & (best == truth)).mean()),
        "others_quiet": float(1 - head.is_named(other, figures["enter"]).mean()),
        "enter": figures["enter"],
        "tried": float(len(truth)),
    }


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("data", "models"):
        ask.add_argument(f"--{name}", type=Path, required=True)
    ask.add_argument("--base", default="home_0.5_160")
    ask.add_argument("--draws", type=int, default=4)
    a = ask.parse_args()
    cv2.setNumThreads(1)
    p = Photographs(a.data, a.models, a.base)
    for task in TASKS:
        draws = [tried(p, task, seed) for seed in range(a.draws)]
        mean = {key: round(float(np.mean([draw[key] for draw in draws])), 3) for key in draws[0]}
        least = round(min(draw["accuracy"] for draw in draws), 3)
        print(json.dumps({"base": a.base, "task": task, "draws": a.draws} | mean | {"least_accuracy": least}), flush=True)


if __name__ == "__main__":
    main()
