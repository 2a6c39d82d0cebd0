"""The features of every example, by the int8 trunk that will ship, so that the head is fitted to what it will get.

    python features.py --data PHOTOGRAPHS --work WORK --base MODELS/mobilenet_v1_0.5_128_quant.tflite --px 160 --name home_0.5_160
                       [--checkpoint WORK/tuned.pt]

Writes WORK/NAME.trunk.tflite and WORK/NAME.features.npy (N, D) float16, WORK/NAME.more.npy: the same of one more view of each
learnt example (mirrored, cut, dark, blurred or far) and of made-up surfaces, WORK/NAME.aloft.npy: of things alone before a sky,
WORK/NAME.busts.npy: of heads and shoulders.
What is there already is not made again.
"""

import argparse
import json
import time
from pathlib import Path

import cv2
import numpy as np
import torch
from collection import SEED, busts, listed, picture_of, shrunk
from convert import Trunk, quantised, runner
from published import published
from views import aloft, surface, worn

SURFACES = 1500
ALOFT = 2500
CALIBRATION = 256


def load(base: Path, checkpoint: Path | None) -> "torch.nn.Module":
    net = published(base)
    if checkpoint:
        net.load_state_dict(torch.load(checkpoint, weights_only=True)["average"])
    return net


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("data", "work", "base"):
        ask.add_argument(f"--{name}", type=Path, required=True)
    ask.add_argument("--px", type=int, required=True)
    ask.add_argument("--name", required=True)
    ask.add_argument("--checkpoint", type=Path)
    a = ask.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    rows = listed(a.data)
    learnt = np.flatnonzero([row.split == "train" for row in rows])
    net = load(a.base, a.checkpoint)
    trunk = a.work / f"{a.name}.trunk.tflite"
    if not trunk.exists():
        some = np.random.default_rng(SEED).choice(learnt, min(CALIBRATION, len(learnt)), replace=False)
        quantised(Trunk(net), a.px, np.stack([shrunk(picture_of(a.data, rows[n]), a.px) for n in some]), trunk)
    run = runner(trunk)
    began = time.monotonic()
    kept = a.work / f"{a.name}.features.npy"
    if not kept.exists():
        made = np.stack([run(shrunk(picture_of(a.data, row), a.px)) for row in rows]).astype(np.float16)
        np.save(kept, made)
    more = a.work / f"{a.name}.more.npy"
    if not more.exists():
        rng = np.random.default_rng(SEED)
        made = [run(worn(rng, picture_of(a.data, rows[n]), a.px)) for n in learnt]
        made += [run(surface(rng, a.px)) for _ in range(SURFACES)]
        np.save(more, np.stack(made).astype(np.float16))
    alone = a.work / f"{a.name}.aloft.npy"
    things = [row for row in rows if row.collection == "caltech" and row.split == "train" and row.label < 0]
    if not alone.exists() and things:
        rng = np.random.default_rng(SEED)
        np.save(
            alone,
            np.stack([run(aloft(rng, picture_of(a.data, things[rng.integers(len(things))]), a.px)) for _ in range(ALOFT)]).astype(
                np.float16
            ),
        )
    people, chosen = a.work / f"{a.name}.busts.npy", busts(a.data)
    if not people.exists() and chosen:
        np.save(people, np.stack([run(shrunk(picture_of(a.data, row), a.px)) for row in chosen]).astype(np.float16))
    print(
        json.dumps(
            {"name": a.name, "examples": len(rows), "more": len(learnt) + SURFACES, "seconds": round(time.monotonic() - began)}
        )
    )


if __name__ == "__main__":
    main()
