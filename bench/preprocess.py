"""From a camera's frame to the tensor: edged's way against the loop that one writes first, in turn, in one run.

    python bench/preprocess.py [--rounds 200]

Prints medians in ms and the ratio pair by pair; only the ratio is worth quoting, for machines differ.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import cv2
import numpy as np

from edged.vision.frame import Frame
from edged.vision.preprocess import Input, to_tensor

WANTED = Input(224, 224, "uint8", 1 / 128, 128)


def first_loop(pixels: np.ndarray) -> np.ndarray:
    """Convert the whole picture's colour, then shrink it without aliasing."""
    rgb = cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)
    return cv2.resize(rgb, (WANTED.width, WANTED.height), interpolation=cv2.INTER_AREA)[None]


def took_ms(what: Callable[[], object]) -> float:
    began = time.perf_counter_ns()
    what()
    return (time.perf_counter_ns() - began) / 1e6


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--rounds", type=int, default=200)
    rounds = ask.parse_args().rounds
    cv2.setNumThreads(1)
    rng = np.random.default_rng(0)
    print(f"{'frame':>12} {'first loop':>12} {'edged':>10} {'ratio':>8} {'mean difference':>16}")
    for width, height in ((640, 480), (1280, 720), (1920, 1080)):
        coarse = rng.integers(0, 256, (height // 16, width // 16, 3), np.uint8)
        pixels = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
        frame = Frame(pixels, "bgr", width, height, 0)
        pairs = [(took_ms(lambda p=pixels: first_loop(p)), took_ms(lambda f=frame: to_tensor(f, WANTED))) for _ in range(rounds)]
        theirs, ours = (statistics.median(times) for times in zip(*pairs, strict=True))
        ratio = statistics.median(a / b for a, b in pairs)
        apart = np.abs(first_loop(pixels).astype(int) - to_tensor(frame, WANTED)).mean()
        print(f"{f'{width}x{height}':>12} {theirs:>9.2f} ms {ours:>7.2f} ms {ratio:>7.1f}x {apart:>9.2f} of 255")


if __name__ == "__main__":
    main()
