"""A detector looks once at every photograph that nobody labelled: who and what of our classes is in it.

    python look.py --data PHOTOGRAPHS --teachers MODELS --work WORK

Writes WORK/look.npz: seen (N, 8) float32, the best score of each class weighed by size (0 for labelled rows). The strangers of
both lists are not looked at.
"""

import argparse
from pathlib import Path

import cv2
import numpy as np
from ai_edge_litert.interpreter import Interpreter
from collection import listed, picture_of
from labels import COCO

DETECTOR = "ssd_mobilenet_v1_1.0_coco_300_quant"


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("data", "teachers", "work"):
        ask.add_argument(f"--{name}", type=Path, required=True)
    a = ask.parse_args()
    rows = listed(a.data)
    net = Interpreter(str(a.teachers / f"{DETECTOR}.tflite"), num_threads=1)
    net.allocate_tensors()
    given, made = net.get_input_details()[0], [d["index"] for d in net.get_output_details()]
    px = int(given["shape"][1])
    seen = np.zeros((len(rows), 8), np.float32)
    for n, row in enumerate(rows):
        if row.label >= 0 or row.split != "train":
            continue
        net.set_tensor(given["index"], cv2.resize(picture_of(a.data, row), (px, px))[None])
        net.invoke()
        boxes, kinds, scores = (net.get_tensor(index)[0] for index in made[:3])
        sides = (boxes[:, 2:] - boxes[:, :2]).clip(0, 1)
        for (high, wide), kind, score in zip(sides, kinds, scores, strict=True):
            label = COCO.get(int(kind))
            if label is not None:
                sure = np.clip((score - 0.35) / 0.25, 0, 1) * np.clip((high * wide - 0.01) / 0.12, 0, 1)
                seen[n, label] = max(seen[n, label], sure)
    np.savez(a.work / "look.npz", seen=seen)
    print(f"looked at {sum(r.label < 0 and r.split == 'train' for r in rows)}; more than half sure: {(seen > 0.5).sum(0).tolist()}")


if __name__ == "__main__":
    main()
