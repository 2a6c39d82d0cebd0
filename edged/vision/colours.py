"""Is red still red? Every layout that a camera may give, through the conversion that its frames go through."""

import numpy as np
from numpy.typing import NDArray

from edged.vision.frame import Frame, Layout
from edged.vision.preprocess import to_rgb

_SIDE = 32
_RED = {"bgr": (0, 0, 255), "rgb": (255, 0, 0)}
_LUMA, _U, _V = 81, 90, 240  # the same red in BT.601


def swapped_layouts() -> list[str]:
    """The layouts in which red does not come out as red; none, where OpenCV does what it says."""
    layouts: tuple[Layout, ...] = ("bgr", "rgb", "nv12", "yuv420")
    return [layout for layout in layouts if not _is_red(to_rgb(to_red(layout), _SIDE, _SIDE))]


def to_red(layout: Layout) -> Frame:
    pixels = np.empty((_SIDE, _SIDE, 3), np.uint8)
    if layout in _RED:
        pixels[:] = _RED[layout]
        return Frame(pixels, layout, _SIDE, _SIDE, 0)
    pixels = np.full((_SIDE * 3 // 2, _SIDE), _LUMA, np.uint8)
    below = pixels[_SIDE:]
    if layout == "nv12":
        below[:, 0::2], below[:, 1::2] = _U, _V
    else:
        below[: _SIDE // 4], below[_SIDE // 4 :] = _U, _V
    return Frame(pixels, layout, _SIDE, _SIDE, 0)


def _is_red(rgb: NDArray[np.uint8]) -> bool:
    red, green, blue = rgb.reshape(-1, 3).mean(0)
    return bool(red > 200 and green < 60 and blue < 60)
