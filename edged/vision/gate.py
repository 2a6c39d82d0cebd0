"""The gate: a scene that has not changed is not classified again, which saves power and heat."""

import cv2
import numpy as np
from numpy.typing import NDArray

from edged.system.shapes import Region
from edged.vision.frame import Frame

_WIDE, _HIGH = 32, 24
_SAMPLES = 4  # looked at for each of the 32 x 24 along each side: enough to average the sensor's noise away


class Gate:
    """Compares with the frame that was classified last, not with the one before, so that a slow change adds up. One thread."""

    def __init__(self, threshold: float, max_interval_s: float) -> None:
        """`threshold`: mean difference of brightness, 0..1, that counts as a change; classify at least every `max_interval_s`."""
        self._threshold, self._longest_ns = threshold * 255, max_interval_s * 1e9
        self._looked: NDArray[np.int16] | None = None
        self._looked_ns = 0

    def is_still(self, frame: Frame, region: Region) -> bool:
        """True when this frame need not be classified; else it is taken for the one that was."""
        now = small_luma(frame, region)
        still = (
            self._looked is not None
            and frame.captured_ns - self._looked_ns < self._longest_ns
            and float(np.abs(now - self._looked).mean()) < self._threshold
        )
        if not still:
            self._looked, self._looked_ns = now, frame.captured_ns
        return still

    def forget(self) -> None:
        """The next frame is classified: there is a new model, or somebody was away."""
        self._looked = None


def small_luma(frame: Frame, region: Region) -> NDArray[np.int16]:
    """(24, 32) brightness of the region, 0..255, from a few samples of each part. Pure."""
    x, y, w, h = region
    left, top = int(x * frame.width), int(y * frame.height)
    wide, high = max(1, int(w * frame.width)), max(1, int(h * frame.height))
    across, down = max(1, wide // (_WIDE * _SAMPLES)), max(1, high // (_HIGH * _SAMPLES))
    some = np.ascontiguousarray(frame.pixels[: frame.height][top : top + high : down, left : left + wide : across])
    small = cv2.resize(some, (_WIDE, _HIGH), interpolation=cv2.INTER_AREA)
    if small.ndim == 3:
        small = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY if frame.layout == "rgb" else cv2.COLOR_BGR2GRAY)
    return small.astype(np.int16)
