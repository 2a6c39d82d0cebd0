"""The photographs and what is known of each: file, part of the picture, class, collection, split.

A row is a photograph or a part of one: whole scenes are cut round, beside and between the boxes of the people in them.
"""

import csv
import tomllib
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from labels import CLASSES, FOLDERS
from strangers import MOST, OURS, kind_of

Part = tuple[float, float, float, float]  # left, top, right, bottom in 0..1
WHOLE: Part = (0.0, 0.0, 1.0, 1.0)
SEED = 16
# a left-out run drops everything that comes from the same place
TOGETHER = {"cal": ("cal", "calobj", "caltech"), "voc": ("voc", "voccrop", "scenevoc"), "voccrop": ("voc", "voccrop", "scenevoc")}


@dataclass(frozen=True)
class Row:
    """One example. label: row of CLASSES, -1 where nobody said; share: how much of that label it deserves (a far person: 0.5)."""

    file: str
    part: Part
    label: int
    share: float
    collection: str
    split: str  # train | val | test | strangers | calibration
    kind: str = ""


def listed(data: Path) -> list[Row]:
    """All examples in a fixed order. Without SOURCES.tsv (your own photographs) one in eight is `val` and one in eight `test`."""
    rows = _labelled(data)
    if (data / "UNLABELLED.tsv").exists():
        rows += _unlabelled(data)
    if (data / "SCENES.tsv").exists():
        rows += _scenes(data)
    return rows


def _table(path: Path) -> list[dict[str, str]]:
    with path.open() as lines:
        return list(csv.DictReader(lines, delimiter="\t"))


def _labelled(data: Path) -> list[Row]:
    rows = []
    if (data / "SOURCES.tsv").exists():
        for row in _table(data / "SOURCES.tsv"):
            folder, name = row["file"].split("/")
            if folder in FOLDERS:
                rows.append(Row(row["file"], WHOLE, FOLDERS[folder], 1.0, name.split("_")[0], row["split"]))
        return rows
    for folder, label in FOLDERS.items():
        for n, path in enumerate(sorted((data / folder).glob("*.*"))):
            rows.append(Row(f"{folder}/{path.name}", WHOLE, label, 1.0, "own", {0: "val", 4: "test"}.get(n % 8, "train")))
    return rows


def _unlabelled(data: Path) -> list[Row]:
    aside = tomllib.loads(Path(__file__).with_name("strangers.toml").read_text())
    split_of = {kind: split for split, lists in aside.items() for kinds in lists.values() for kind in kinds}
    rows, taken = [], {}
    table = _table(data / "UNLABELLED.tsv")
    for n in np.random.default_rng(SEED).permutation(len(table)):
        kind = kind_of(table[n]["path"])
        split = split_of.get(kind, "train")
        taken[kind] = taken.get(kind, 0) + 1
        if split != "train" and taken[kind] > MOST:
            continue
        collection = "imagenette" if kind.startswith("n0") else "caltech"
        rows.append(Row(table[n]["file"], WHOLE, OURS.get(kind, -1), 1.0, collection, split, kind))
    return rows


_SCENE_CLASS = {"person": 1, "cat": 2, "car": 5, "bus": 7, "train": 0}


def _scenes(data: Path) -> list[Row]:
    """Parts of whole scenes: round each box that is large enough, and places with none of the annotated things in them."""
    rng = np.random.default_rng(SEED)
    rows = []
    for row in _table(data / "SCENES.tsv"):
        source = "scene" + row["file"].split("/")[1].split("_")[0]
        boxes = []
        for text in filter(None, row["boxes"].split(";")):
            name, numbers = text.split(":")
            x, y, wide, high = map(float, numbers.split(","))
            boxes.append((_SCENE_CLASS[name], (x, y, x + wide, y + high)))
        for label, box in boxes:
            high = box[3] - box[1]
            if high < 0.25:  # less than 36 pixels in the stored scenes
                continue
            times = 3 if label == 1 else 1
            for _ in range(times):
                part = _round(rng, box)
                seen = [(other, _within(b, part), _area(b) / _area(part)) for other, b in boxes]
                best = max((area * within, other) for other, within, area in seen if within > 0.5)
                label_here = best[1] if best[0] > 0 else label
                tall = max(min(1.0, (b[3] - b[1]) / (part[3] - part[1])) for o, b in boxes if o == label_here)
                rows.append(Row(row["file"], part, label_here, float(np.clip((tall - 0.15) / 0.3, 0.3, 1)), source, "train"))
        nobody = row["annotated"] == "nobody"
        for _ in range(3 if nobody or boxes else 1):
            side = rng.uniform(0.35, 1.0)
            left, top = rng.uniform(0, 1 - side, 2)
            part = (left, top, left + side, top + side)
            if all(_within(part, b) == 0 and _within(b, part) == 0 for _, b in boxes):
                rows.append(Row(row["file"], part, 0 if nobody else -1, 1.0, source, "train", "beside"))
    return rows


FULL_LENGTH = ("inria",)  # collections in which a person fills the picture from head to foot


def busts(data: Path) -> list[Row]:
    """Heads and shoulders, cut from learnt photographs and boxes of whole people: somebody who stands at the door."""
    rng = np.random.default_rng(SEED)
    people = [
        (row.file, row.part, row.collection) for row in _labelled(data) if row.split == "train" and row.collection in FULL_LENGTH
    ]
    for row in _table(data / "SCENES.tsv") if (data / "SCENES.tsv").exists() else []:
        for text in row["boxes"].split(";"):
            if text.startswith("person:"):
                x, y, wide, high = map(float, text[7:].split(","))
                people += [(row["file"], (x, y, x + wide, y + high), "scene" + row["file"].split("/")[1].split("_")[0])] * 2
    made = []
    for file, (left, top, right, bottom), collection in people:
        tall, wide = bottom - top, right - left
        if tall < 0.35:  # no face in that
            continue
        broad = wide * rng.uniform(1.0, 1.6)
        x = np.clip((left + right - broad) / 2 + rng.normal(0, 0.1) * wide, 0, max(0.0, 1 - broad))
        y = np.clip(top - rng.uniform(0, 0.1) * tall, 0, 1)
        part = (float(x), float(y), float(min(1.0, x + broad)), float(min(1.0, y + tall * rng.uniform(0.3, 0.7))))
        made.append(Row(file, part, 1, 1.0, collection, "train", "bust"))
    return made


def _round(rng: np.random.Generator, box: Part) -> Part:
    """A part of the scene that holds the box, up to 2.5 times as high, the box anywhere in it."""
    wide, high = box[2] - box[0], box[3] - box[1]
    tall = min(1.0, high * rng.uniform(1.0, 2.5))
    broad = min(1.0, max(wide * 1.1, tall * rng.uniform(0.7, 1.3)))
    left = np.clip(box[0] - rng.uniform(0, 1) * max(0.0, broad - wide), 0, 1 - broad)
    top = np.clip(box[1] - rng.uniform(0, 1) * max(0.0, tall - high), 0, 1 - tall)
    return (float(left), float(top), float(left + broad), float(top + tall))


def _area(part: Part) -> float:
    return max(0.0, part[2] - part[0]) * max(0.0, part[3] - part[1])


def _within(inner: Part, outer: Part) -> float:
    """Share of `inner` that lies in `outer`."""
    both = (max(inner[0], outer[0]), max(inner[1], outer[1]), min(inner[2], outer[2]), min(inner[3], outer[3]))
    return _area(both) / max(_area(inner), 1e-9)


def is_left_out(rows: list[Row], names: str) -> np.ndarray:
    """(N,) bool: the labelled photographs of these collections, and everything else that comes from the same place."""
    dropped = {part for name in filter(None, names.split(",")) for part in TOGETHER.get(name, (name,))}
    return np.array([row.collection in dropped for row in rows])


def picture_of(data: Path, row: Row) -> np.ndarray:
    """(height, width, 3) uint8 RGB."""
    picture = cv2.imread(str(data / row.file))
    if picture is None:
        raise SystemExit(f"{data / row.file}: not a picture; take it out of the folder")
    high, wide = picture.shape[:2]
    left, top, right, bottom = row.part
    picture = picture[
        int(top * high) : max(int(bottom * high), int(top * high) + 8),
        int(left * wide) : max(int(right * wide), int(left * wide) + 8),
    ]
    return cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)


def shrunk(picture: np.ndarray, px: int) -> np.ndarray:
    """(px, px, 3) uint8, as edged's preprocessing makes it: linear to twice the side, then the mean of each 2 x 2."""
    twice = cv2.resize(picture, (px * 2, px * 2), interpolation=cv2.INTER_LINEAR)
    return cv2.resize(twice, (px, px), interpolation=cv2.INTER_AREA)


def stored(data: Path, work: Path, rows: list[Row], side: int = 160) -> np.ndarray:
    """(N, side, side, 3) uint8, memory-mapped from WORK/pictures.npy, which is made when it is not there."""
    path = work / "pictures.npy"
    if not path.exists():
        half = path.with_suffix(".half.npy")
        made = np.lib.format.open_memmap(half, "w+", np.uint8, (len(rows), side, side, 3))
        for n, row in enumerate(rows):
            made[n] = shrunk(picture_of(data, row), side)
        made.flush()
        half.rename(path)
    kept = np.load(path, mmap_mode="r")
    if len(kept) != len(rows):
        raise SystemExit(f"{path}: made from {len(kept)} examples, there are {len(rows)} now; delete it")
    return kept


def classes_of(rows: list[Row]) -> str:
    counts = np.bincount([row.label for row in rows if row.label >= 0], minlength=len(CLASSES))
    return ", ".join(f"{name} {n}" for name, n in zip(CLASSES, counts, strict=True))
