"""A frame: pixels, and when they were exposed."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Layout = Literal["bgr", "rgb", "gray", "nv12", "yuv420"]
PLANAR = frozenset({"nv12", "yuv420"})  # brightness in whole, then colour at half the width and height


def to_pixel_shape(layout: Layout, width: int, height: int) -> tuple[int, ...]:
    """The shape of a frame's pixels."""
    if layout == "gray":
        return height, width
    if layout in PLANAR:
        return height * 3 // 2, width
    return height, width, 3


@dataclass(frozen=True, slots=True)
class Frame:
    """One picture of a camera.

    pixels: uint8; (height, width, 3) for bgr and rgb, (height, width) for gray, and for nv12 and yuv420 the planes below one
    another, (height * 3 / 2, width), strides already taken off.
    captured_ns: CLOCK_MONOTONIC at the exposure where the camera tells it, else at the read.
    index: counts every frame that the camera gave, also those that nobody looked at; set by the capture thread.
    picture: the file's name, for cameras that show files; else "".
    cropped: the camera has already cut the configured region out; the pixels are the region.
    """

    pixels: NDArray[np.uint8]
    layout: Layout
    width: int
    height: int
    captured_ns: int
    index: int = 0
    picture: str = ""
    cropped: bool = False

    def to_dict(self) -> dict[str, Any]:
        """What the courier is told of it."""
        told: dict[str, Any] = {"index": self.index, "captured_ns": self.captured_ns, "picture": self.picture}
        return told | {"width": self.width, "height": self.height}


def to_timing_ms(captured_ns: int, taken_ns: int, prepared_ns: int, invoked_ns: int, done_ns: int) -> dict[str, float]:
    """What each step of one frame took. Pure."""
    return {
        "capture": round((taken_ns - captured_ns) / 1e6, 3),
        "preprocess": round((prepared_ns - taken_ns) / 1e6, 3),
        "invoke": round((invoked_ns - prepared_ns) / 1e6, 3),
        "postprocess": round((done_ns - invoked_ns) / 1e6, 3),
    }
