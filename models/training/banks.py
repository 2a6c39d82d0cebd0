"""The bank of each bundled model: the features of many ordinary things, so that `edged teach` knows what was not taught.

    python banks.py --data PHOTOGRAPHS --models .. [NAME...]

Writes MODELS/NAME.bank.npz for each card of home.toml, or for those named: vectors, no pictures; at most half a megabyte each.
They are of learnt photographs and of unlabelled ones, dealt out kind by kind. Left out, so that teaching can be measured
honestly: whole kinds that are set aside (strangers.toml: the strangers and those that chose `enter`), what
tests/training/test_teach.py teaches (church, gas pump, golf ball), and the splits `val` and `test`. The 500 other things of that
test are from those as well.
"""

import argparse
import io
from pathlib import Path

import cv2
import numpy as np
from collection import SEED, WHOLE, Row, listed

from edged.models.catalogue import load_catalogue
from edged.vision.frame import Frame
from edged.vision.rewrite.embedding import Embedder

MOST_BYTES = 500_000
MOST = 2500
TAUGHT_IN_TESTS = ("n03028079", "n03425413", "n03445777")  # church, gas pump, golf ball


def ordinary(rows: list[Row]) -> list[Row]:
    """What may be in a bank, each photograph once, kind after kind: the first of each, then the second of each …"""
    may = [row for row in rows if row.split == "train" and row.part == WHOLE and row.kind not in TAUGHT_IN_TESTS]
    kinds: dict[str, list[Row]] = {}
    seen: set[str] = set()
    for n in np.random.default_rng(SEED).permutation(len(may)):
        row = may[n]
        if row.file in seen:  # a scene of which several parts are the whole
            continue
        seen.add(row.file)
        kinds.setdefault(f"{row.file.split('/')[0]} {row.kind or row.collection}", []).append(row)
    return [kinds[kind][n] for n in range(max(map(len, kinds.values()))) for kind in sorted(kinds) if n < len(kinds[kind])]


def packed(steps: np.ndarray, scale: float, zero: int, sha256: str) -> bytes:
    file = io.BytesIO()
    np.savez_compressed(file, features=steps, scale=np.float32(scale), zero=np.int32(zero), base=np.str_(sha256))
    return file.getvalue()


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("data", "models"):
        ask.add_argument(f"--{name}", type=Path, required=True)
    ask.add_argument("names", nargs="*")
    a = ask.parse_args()
    cv2.setNumThreads(1)
    chosen = ordinary(listed(a.data))[:MOST]
    pictures = [cv2.imread(str(a.data / row.file)) for row in chosen]
    for card in load_catalogue(a.models).family("home"):
        if a.names and card.name not in a.names:
            continue
        embedder = Embedder((a.models / card.file).read_bytes())
        scale, zero = embedder.quantisation
        seen = [embedder.embed(Frame(one, "bgr", one.shape[1], one.shape[0], 0), "full") for one in pictures]
        steps = np.clip(np.rint(np.stack(seen) / scale + zero), -128, 127).astype(np.int8)  # exactly what the file holds
        count = len(steps)
        while len(content := packed(steps[:count], scale, zero, card.sha256)) > MOST_BYTES:
            count = int(count * MOST_BYTES / len(content)) - 1
        (a.models / f"{card.name}.bank.npz").write_bytes(content)
        print(f"{card.name}: {count} vectors, {len(content)} bytes")


if __name__ == "__main__":
    main()
