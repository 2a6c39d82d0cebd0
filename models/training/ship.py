"""From a trunk and a fitted head to the file that ships, and every figure of it, measured with that file.

    python ship.py --data PHOTOGRAPHS --work WORK --base MODELS/mobilenet_v1_0.5_128_quant.tflite --px 128 --name home_0.5_128
                   --models .. [--checkpoint WORK/tuned.pt] [--test]

Writes MODELS/NAME.tflite, where it is not there yet, and WORK/NAME.json. `enter` is chosen with the file, on the calibration
strangers. --test also measures `test` and the strangers: once, when the recipe is fixed.
"""

import argparse
import hashlib
import json
from pathlib import Path

import numpy as np
import torch
from collection import SEED, listed, picture_of, shrunk
from convert import Whole, quantised, runner
from features import CALIBRATION, load
from measure import accuracy, alarms, calibration_error, chosen_enter, confusion, curve, recall, recall_at
from network import MobileNet
from torch import nn

# parts of `test` that the published networks may have learnt from
IMAGENET_COLLECTIONS = ("imnette", "garbage", "tiny", "immini")


def shape_of(net: MobileNet, px: int) -> dict[str, object]:
    """Multiply-adds of the convolutions and the last layers, and parameters as the file has them."""
    macs, params, x = 0, 0, torch.zeros(1, 3, px, px)
    for layer in net.layers:
        x = layer(x)
        macs += layer.weight.numel() * x.shape[2] * x.shape[3]
        params += layer.weight.numel() + layer.bias.numel()
    for last in (net.names, net.head, net.meaning):
        macs += last.weight.numel()
        params += sum(p.numel() for p in last.parameters())
    return {"million_macs": round(macs / 1e6, 2), "million_params": round(params / 1e6, 3), "dtype": "int8"}


def judged(scores: np.ndarray, label: np.ndarray, enter: float) -> dict[str, object]:
    found = {"recall": round(recall(scores, label, enter), 3), "ece": calibration_error(scores, label)}
    return accuracy(scores, label) | {"photographs": len(label)} | found


def headed(net: MobileNet, head: Path) -> MobileNet:
    """With the fitted head, its factor for honest scores multiplied in."""
    saved = torch.load(head, weights_only=True)
    for part, name in ((net.head.weight, "weight"), (net.head.bias, "bias"), (net.meaning.weight, "meaning")):
        part.data.copy_(saved[name] * saved["factor"])
    return net


def changed(net: nn.Module, base: nn.Module) -> tuple[list[str], list[str]]:
    """Names of the convolutions that were tuned, and of those that were kept."""
    tuned, kept = [], []
    for n, (layer, before) in enumerate(zip(net.layers, base.layers, strict=True)):
        same = torch.equal(layer.weight, before.weight) and torch.equal(layer.bias, before.bias)
        (kept if same else tuned).append(f"conv_{n}")
    return tuned, kept


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("data", "work", "base", "models"):
        ask.add_argument(f"--{name}", type=Path, required=True)
    ask.add_argument("--px", type=int, required=True)
    ask.add_argument("--name", required=True)
    ask.add_argument("--from", dest="of", help="whose head: another name than NAME")
    ask.add_argument("--checkpoint", type=Path)
    ask.add_argument("--most", type=float, default=0.04, help="share of the calibration strangers that may get a certain name")
    ask.add_argument("--test", action="store_true")
    a = ask.parse_args()
    torch.set_num_threads(1)
    rows = listed(a.data)
    split, label = np.array([row.split for row in rows]), np.array([row.label for row in rows])
    path = a.models / f"{a.name}.tflite"
    net = load(a.base, a.checkpoint)
    if not path.exists():
        net = headed(net, a.work / f"{a.of or a.name}.head.pt")
    learnt = np.flatnonzero(split == "train")
    some = np.random.default_rng(SEED).choice(
        learnt, min(CALIBRATION, len(learnt)), replace=False
    )  # as features.py, so that the trunk is the same
    if not path.exists():
        quantised(Whole(net), a.px, np.stack([shrunk(picture_of(a.data, rows[n]), a.px) for n in some]), path)
    run = runner(path)
    scores_of = lambda which: np.array([run(shrunk(picture_of(a.data, rows[n]), a.px)) for n in which]).reshape(-1, 8)  # noqa: E731
    content, (tuned, kept) = path.read_bytes(), changed(net, load(a.base, None))
    val, calibration = (np.flatnonzero((split == name) & ((label >= 0) | (name != "val"))) for name in ("val", "calibration"))
    scores, strange = scores_of(val), scores_of(calibration)
    enter = chosen_enter(strange, a.most)
    saved = torch.load(a.checkpoint, weights_only=True) if a.checkpoint else {"done": 0}
    views = (saved["done"] + saved.get("before", 0)) * 64
    found: dict[str, object] = {
        "name": a.name, "sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content), "px": a.px,
        "base": a.base.stem, "base_sha256": hashlib.sha256(a.base.read_bytes()).hexdigest(), "views": views,
        **shape_of(net, a.px), "tuned": tuned, "kept": kept, "enter": enter, "margin": 0.1, "leave": round(enter - 0.2, 2),
        "val": judged(scores, label[val], enter),
        "recall_at_5": recall_at(scores, label[val], strange), "alarms_calibration": round(alarms(strange, enter), 3),
    }  # fmt: skip
    if a.test:
        test, strangers = np.flatnonzero((split == "test") & (label >= 0)), np.flatnonzero(split == "strangers")
        scores, strange = scores_of(test), scores_of(strangers)
        np.savez(a.work / f"{a.name}.test.npz", test=test, scores=scores, strangers=strangers, strange=strange)
        elsewhere = np.array([rows[n].collection not in IMAGENET_COLLECTIONS for n in test])
        kinds = np.array([rows[n].kind.startswith("n0") for n in strangers], bool)
        found |= {
            "test": judged(scores, label[test], enter),
            "test_without_imagenet": accuracy(scores[elsewhere], label[test][elsewhere]) | {"photographs": int(elsewhere.sum())},
            "strangers": {
                "photographs": len(strangers), "at_0.6": round(alarms(strange, 0.6), 3),
                "certain_wrong": round(alarms(strange, enter), 3),
                "imagenette": round(alarms(strange[kinds], enter), 3), "caltech": round(alarms(strange[~kinds], enter), 3),
            },
            "curve": curve(scores, label[test], strange), "confusion": confusion(scores, label[test]),
        }  # fmt: skip
    (a.work / f"{a.name}.json").write_text(json.dumps(found, indent=1))
    print(json.dumps(found))


if __name__ == "__main__":
    main()
