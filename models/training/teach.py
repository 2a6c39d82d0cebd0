"""What the teachers say of every photograph, computed once and kept.

Reads the labelled and unlabelled photographs and writes to the work folder, one shard per process:
pictures (N, 128, 128, 3) uint8 RGB, the ImageNet teachers' logits (N, 1001) float16 each,
and of the unlabelled ones the detector's scores by class (N, 8, 2) float32 (best score, best score x area).

    python teach.py --data PHOTOGRAPHS --teachers MODELS --work WORK [--shard K/N]
"""

import argparse
import csv
from pathlib import Path

import cv2
import numpy as np
from ai_edge_litert.interpreter import Interpreter
from labels import COCO, FOLDERS

STORED_PX = 128
IMAGENET_TEACHERS = ("mobilenet_v2_1.0_224_quant", "mobilenet_v3_small_1.0_224_quant")
DETECTOR = "ssd_mobilenet_v1_1.0_coco_300_quant"


def listed(data: Path) -> list[tuple[str, int, str, str]]:
    """Every photograph as (file, class or -1, source, split); folders of one's own have no TSV and are all "train"."""
    rows = []
    sources = data / "SOURCES.tsv"
    if sources.exists():
        with sources.open() as lines:
            for row in csv.DictReader(lines, delimiter="\t"):
                folder, name = row["file"].split("/")
                if folder in FOLDERS:
                    rows.append((row["file"], FOLDERS[folder], name.split("_")[0], row["split"]))
    else:
        for folder, label in FOLDERS.items():
            rows += [(f"{folder}/{p.name}", label, "own", "train") for p in sorted((data / folder).glob("*.*"))]
    rows += [(f"unlabelled/{p.name}", -1, p.name.split("_")[0], "train") for p in sorted((data / "unlabelled").glob("*.*"))]
    return rows


class Teacher:
    def __init__(self, path: Path) -> None:
        self.net = Interpreter(str(path), num_threads=1)
        self.net.allocate_tensors()
        self.input = self.net.get_input_details()[0]
        self.outputs = self.net.get_output_details()

    def look(self, picture: np.ndarray) -> list[np.ndarray]:
        px = int(self.input["shape"][1])
        self.net.set_tensor(self.input["index"], cv2.resize(picture, (px, px))[None])
        self.net.invoke()
        return [self.net.get_tensor(o["index"])[0] for o in self.outputs]

    def logits(self, picture: np.ndarray) -> np.ndarray:
        scale, zero = self.outputs[0]["quantization"]
        values = (self.look(picture)[0].astype(np.float32) - zero) * scale
        if values.min() >= 0 and values.max() <= 1.01:  # probabilities, not logits
            values = np.log(values + scale / 2)
        return values


def seen_by(detector: Teacher, picture: np.ndarray) -> np.ndarray:
    boxes, kinds, scores, _ = detector.look(picture)
    seen = np.zeros((8, 2), np.float32)
    for (top, left, bottom, right), kind, score in zip(boxes, kinds, scores, strict=True):
        label = COCO.get(int(kind))
        if label is not None:
            area = float(np.clip(bottom, 0, 1) - np.clip(top, 0, 1)) * float(np.clip(right, 0, 1) - np.clip(left, 0, 1))
            seen[label, 0] = max(seen[label, 0], float(score))
            seen[label, 1] = max(seen[label, 1], float(score) * max(0.0, area))
    return seen


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--data", type=Path, required=True)
    ask.add_argument("--teachers", type=Path, required=True)
    ask.add_argument("--work", type=Path, required=True)
    ask.add_argument("--shard", default="0/1")
    ask.add_argument("--first", type=int, help="only so many photographs, to try it out")
    a = ask.parse_args()
    shard, shards = map(int, a.shard.split("/"))
    a.work.mkdir(parents=True, exist_ok=True)
    rows = listed(a.data)[shard::shards][: a.first]
    imagenet = [Teacher(a.teachers / f"{name}.tflite") for name in IMAGENET_TEACHERS]
    detector = Teacher(a.teachers / f"{DETECTOR}.tflite")
    pictures = np.zeros((len(rows), STORED_PX, STORED_PX, 3), np.uint8)
    logits = np.zeros((len(rows), len(imagenet), 1001), np.float16)
    boxes = np.zeros((len(rows), 8, 2), np.float32)
    for n, (file, label, *_rest) in enumerate(rows):
        picture = cv2.cvtColor(cv2.imread(str(a.data / file)), cv2.COLOR_BGR2RGB)
        pictures[n] = cv2.resize(picture, (STORED_PX, STORED_PX), interpolation=cv2.INTER_AREA)
        logits[n] = [teacher.logits(picture) for teacher in imagenet]
        if label < 0:
            boxes[n] = seen_by(detector, picture)
        if n % 1000 == 0:
            print(f"{n}/{len(rows)}", flush=True)
    np.savez(
        a.work / f"taught.{shard}.npz",
        name=np.array([r[0] for r in rows]),
        label=np.array([r[1] for r in rows]),
        source=np.array([r[2] for r in rows]),
        split=np.array([r[3] for r in rows]),
        pictures=pictures,
        logits=logits,
        boxes=boxes,
    )


if __name__ == "__main__":
    main()
