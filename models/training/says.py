"""What files of the family say of every learnt example, for the --teacher of tune.py and head.py: the mean of several.

    python says.py --data PHOTOGRAPHS --to WORK/family.says.npy ../home_0.5_160.tflite ../home_1.0_160.tflite

Writes (N, 8) float16; rows of other splits are zero. They say it of photographs that they have learnt from, so they are surer
than what head.py writes with --folds; no features have to be made for it.
"""

import argparse
from pathlib import Path

import cv2
import numpy as np
from collection import listed, picture_of, shrunk
from convert import runner, side


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--data", type=Path, required=True)
    ask.add_argument("--to", type=Path, required=True)
    ask.add_argument("files", type=Path, nargs="+")
    a = ask.parse_args()
    cv2.setNumThreads(1)
    rows = listed(a.data)
    says = np.zeros((len(rows), 8), np.float32)
    runs = [(runner(path), side(path)) for path in a.files]
    for n, row in enumerate(rows):
        if row.split == "train":
            picture = picture_of(a.data, row)
            says[n] = np.mean([run(shrunk(picture, px)) for run, px in runs], 0)
    np.save(a.to, says.astype(np.float16))
    print(f"{a.to}: {sum(row.split == 'train' for row in rows)} examples, {len(runs)} files")


if __name__ == "__main__":
    main()
