"""Which kinds of things are set aside as strangers: whole kinds, drawn with a seed, before anything is trained or measured.

    python strangers.py --data PHOTOGRAPHS > strangers.toml

Two lists come out of it. `strangers` is only ever measured. `calibration` chooses each card's `enter`. Neither is learnt from,
distilled from or mined. The draw is among the kinds that are none of our classes by their name, of which SOURCES.tsv has no
labelled photograph, and that are not by nature photographs of people (somebody holds a fish, a horn, a chain saw).
"""

import argparse
import csv
from pathlib import Path

import numpy as np

SEED = 16
MOST = 300  # photographs of one kind that are measured, so that no kind decides the figure
# kind -> our class; these photographs count as labelled by their collection
OURS = {
    "n02102040": 3, "n03417042": 7,  # English springer, garbage truck
    "dalmatian": 3, "ibis": 4, "flamingo": 4, "flamingo_head": 4, "emu": 4, "rooster": 4, "pigeon": 4,
    "car_side": 5, "Motorbikes": 6,
}  # fmt: skip
WITH_PEOPLE = ("n01440764", "n03000684", "n03394916", "accordion", "euphonium", "saxophone")  # tench, chain saw, French horn
# neither ours nor strangers: what a camera at a house may well call a cat, a dog or a person
BETWEEN = ("Leopards", "cougar_body", "cougar_face", "wild_cat", "garfield", "snoopy", "buddha", "inline_skate", "wheelchair")


def kind_of(path: str) -> str:
    """`train/n01440764/a.JPEG` -> n01440764; `101_ObjectCategories/anchor/a.jpg` -> anchor."""
    return path.split("/")[1]


def draw(kinds: dict[str, int], labelled: set[str]) -> dict[str, dict[str, list[str]]]:
    """kinds: photographs of each kind. Three of imagenette and 30 of Caltech are strangers; one and 24 choose `enter`."""
    rng = np.random.default_rng(SEED)
    free = sorted(k for k in kinds if k not in OURS and k not in WITH_PEOPLE and k not in BETWEEN and k not in labelled)
    imagenette = rng.permutation([k for k in free if k.startswith("n0")]).tolist()
    caltech = rng.permutation([k for k in free if not k.startswith("n0")]).tolist()
    return {
        "strangers": {"imagenette": sorted(imagenette[:3]), "caltech": sorted(caltech[:30])},
        "calibration": {"imagenette": sorted(imagenette[3:4]), "caltech": sorted(caltech[30:54])},
    }


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--data", type=Path, required=True)
    a = ask.parse_args()
    kinds: dict[str, int] = {}
    with (a.data / "UNLABELLED.tsv").open() as lines:
        for row in csv.DictReader(lines, delimiter="\t"):
            kinds[kind_of(row["path"])] = kinds.get(kind_of(row["path"]), 0) + 1
    with (a.data / "SOURCES.tsv").open() as lines:
        labelled = {kind_of(row["path"]) for row in csv.DictReader(lines, delimiter="\t") if "Caltech" in row["source_repo"]}
    print(f"# Whole kinds that are set aside, drawn by strangers.py with seed {SEED}. Names are folders of the collections.")
    for name, lists in draw(kinds, labelled).items():
        print(f"\n[{name}]  # {sum(kinds[k] for ks in lists.values() for k in ks)} photographs")
        for collection, chosen in lists.items():
            print(f"{collection} = [\n    " + ",\n    ".join(f'"{k}"' for k in chosen) + ",\n]")


if __name__ == "__main__":
    main()
