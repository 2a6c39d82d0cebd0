"""A still scene with noise, decoded beforehand, whose capture costs nothing. From frame EDGED_CHANGE_AT on it is another one."""

import os
import time
from typing import Any

import numpy as np
from skimage import data

from edged.vision.frame import Frame

_NOISE, _VARIANTS = 3.0, 8


class StillCamera:
    def __init__(self, source: str, *, fps: float, **_: Any) -> None:
        chance = np.random.default_rng(1)
        noise = [chance.normal(0, _NOISE, (400, 400, 3)) for _ in range(_VARIANTS)]
        self._scenes = [
            [(np.clip(scene[:400, :400] + layer, 0, 255)).astype(np.uint8) for layer in noise]
            for scene in (data.astronaut(), data.coffee()[:, 100:])
        ]
        self._change_at, self._period_s = int(os.environ["EDGED_CHANGE_AT"]), 1 / fps
        self._number = 0

    def read(self) -> Frame:
        time.sleep(self._period_s)  # this is how a camera makes one wait for its frames
        pixels = self._scenes[self._number >= self._change_at][self._number % _VARIANTS]
        self._number += 1
        return Frame(pixels, "rgb", 400, 400, time.monotonic_ns())

    def close(self) -> None:
        return
