"""Drawn pictures of simple things, each one different: enough for a network to be taught, and nobody's photographs."""

from pathlib import Path

import cv2
import numpy as np

THINGS = ("discs", "bars", "chequers")


def draw(thing: str, seed: int, side: int = 160) -> np.ndarray:
    """(side, side, 3) uint8 BGR: red discs, blue bars, or green chequers, on a background of chance."""
    rng = np.random.default_rng((THINGS.index(thing), seed))
    small = rng.integers(60, 200, (5, 5, 3), np.uint8)
    picture = cv2.resize(small, (side, side), interpolation=cv2.INTER_CUBIC)
    for _ in range(rng.integers(2, 6)):
        x, y, size = (int(n) for n in rng.integers(10, side - 10, 3))
        size = 8 + size // 8
        if thing == "discs":
            cv2.circle(picture, (x, y), size, (20, 20, 220), -1)
        elif thing == "bars":
            cv2.rectangle(picture, (x, 0), (x + size // 2, side), (220, 40, 20), -1)
        else:
            for a in range(6):
                for b in range(6):
                    if (a + b) % 2:
                        left, top = x + a * size // 2, y + b * size // 2
                        cv2.rectangle(picture, (left, top), (left + size // 2, top + size // 2), (30, 200, 30), -1)
    return picture


def album(folder: Path, thing: str, count: int, first: int = 0) -> Path:
    """A folder with `count` pictures of it."""
    folder.mkdir(parents=True, exist_ok=True)
    for seed in range(first, first + count):
        cv2.imwrite(str(folder / f"{thing}_{seed:03}.png"), draw(thing, seed))
    return folder
