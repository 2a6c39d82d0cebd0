"""From a frame to the tensor of a MobileNet: region, crop, size, colour, quantisation — the costly steps at the smallest size.

Size: INTER_LINEAR to twice the model's side, then the exact mean of each 2 x 2, which is as free of aliasing as INTER_AREA
from the full picture and 5-13 times cheaper. Colour is converted after that, never on the full frame.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from edged.system.shapes import WHOLE, Region
from edged.vision.frame import Frame, Layout

Crop = Literal["full", "centre", "letterbox"]

CENTRE = 0.875  # of each side: what the published accuracies were measured with
_GREY = 128  # the bars of a letterbox
_SIGN = np.uint8(128)  # the bit by which a byte less 128 differs from it

_TO_RGB: dict[Layout, int] = {
    "bgr": cv2.COLOR_BGR2RGB,
    "gray": cv2.COLOR_GRAY2RGB,
    "nv12": cv2.COLOR_YUV2RGB_NV12,
    "yuv420": cv2.COLOR_YUV2RGB_I420,
}
# what pixels 0..255 may mean to a graph; a quantised input tells it by the values it can hold
_RANGES = ((-1.0, 1.0), (0.0, 1.0), (0.0, 255.0))


# what a side must be a multiple of: the halved planes of yuv420 lie below one another in whole rows
_GRID = {"yuv420": 4, "nv12": 2}


@dataclass(frozen=True, slots=True)
class Input:
    """What the graph wants to be fed. scale and zero are the tensor's own quantisation (0, 0 for float32)."""

    height: int
    width: int
    dtype: Literal["uint8", "int8", "float32"]
    scale: float = 0.0
    zero: int = 0
    float_range: tuple[float, float] = (-1.0, 1.0)


def to_tensor(frame: Frame, wanted: Input, region: Region = WHOLE, crop: Crop = "full") -> NDArray[np.generic]:
    """(1, height, width, 3) in the graph's dtype. Pure; any thread."""
    return quantise(to_rgb(frame, wanted.width, wanted.height, region, crop), wanted)[None]


def to_rgb(frame: Frame, width: int, height: int, region: Region = WHOLE, crop: Crop = "full") -> NDArray[np.uint8]:
    """The part of the frame that matters as (height, width, 3) uint8 RGB. Pure; any thread."""
    left, top, wide, high = _part(frame, region, crop)
    if crop != "letterbox":
        return _resized(frame, left, top, wide, high, width, height)
    fit = min(width / wide, height / high)
    grid = _GRID.get(frame.layout, 2)
    inner_w = max(grid, min(round(wide * fit / grid), width // grid) * grid)
    inner_h = max(grid, min(round(high * fit / grid), height // grid) * grid)
    whole = np.full((height, width, 3), _GREY, np.uint8)
    x, y = (width - inner_w) // 2, (height - inner_h) // 2
    whole[y : y + inner_h, x : x + inner_w] = _resized(frame, left, top, wide, high, inner_w, inner_h)
    return whole


def _part(frame: Frame, region: Region, crop: Crop) -> tuple[int, int, int, int]:
    """left, top, width, height in pixels; even where the chroma planes are halved."""
    x, y, w, h = region
    left, top, wide, high = x * frame.width, y * frame.height, w * frame.width, h * frame.height
    if crop == "centre":
        # the same whole number of pixels off both sides, as TensorFlow's central_crop, which the accuracies were measured with
        off_x, off_y = int(wide * (1 - CENTRE) / 2), int(high * (1 - CENTRE) / 2)
        left, top, wide, high = left + off_x, top + off_y, wide - 2 * off_x, high - 2 * off_y
    grid = 2 if frame.layout in ("nv12", "yuv420") else 1
    left_px, top_px = int(left) // grid * grid, int(top) // grid * grid
    wide_px = max(grid, min(round(wide / grid) * grid, frame.width - left_px))
    high_px = max(grid, min(round(high / grid) * grid, frame.height - top_px))
    return left_px, top_px, wide_px, high_px


def _resized(frame: Frame, left: int, top: int, wide: int, high: int, width: int, height: int) -> NDArray[np.uint8]:
    pixels = frame.pixels
    if frame.layout not in ("nv12", "yuv420"):
        small = _shrunk(pixels[top : top + high, left : left + wide], width, height)
        return small if frame.layout == "rgb" else cv2.cvtColor(small, _TO_RGB[frame.layout])  # type: ignore[return-value]
    grid = _GRID[frame.layout]  # a side that does not fit it is made a little too long first
    grid_w, grid_h = -(-width // grid) * grid, -(-height // grid) * grid
    rgb = cv2.cvtColor(_resized_planes(frame, left, top, wide, high, grid_w, grid_h), _TO_RGB[frame.layout])
    if (grid_w, grid_h) != (width, height):
        rgb = cv2.resize(rgb, (width, height), interpolation=cv2.INTER_AREA)
    return rgb  # type: ignore[return-value]


def _resized_planes(frame: Frame, left: int, top: int, wide: int, high: int, width: int, height: int) -> NDArray[np.uint8]:
    """The same layout, plane by plane, at the small size, so that colour is converted on few pixels."""
    luma = _shrunk(frame.pixels[top : top + high, left : left + wide], width, height)
    half = (slice(top // 2, (top + high) // 2), slice(left // 2, (left + wide) // 2))
    below = frame.pixels[frame.height :]
    if frame.layout == "nv12":
        chroma = _shrunk(below.reshape(frame.height // 2, frame.width // 2, 2)[half], width // 2, height // 2)
        planes = [chroma.reshape(height // 2, width)]
    else:
        both = below.reshape(2, frame.height // 2, frame.width // 2)
        planes = [_shrunk(plane[half], width // 2, height // 2).reshape(height // 4, width) for plane in both]
    return np.vstack([luma, *planes])


def _shrunk(pixels: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    twice = cv2.resize(pixels, (width * 2, height * 2), interpolation=cv2.INTER_LINEAR)
    return cv2.resize(twice, (width, height), interpolation=cv2.INTER_AREA)  # type: ignore[return-value]


def quantise(rgb: NDArray[np.uint8], wanted: Input) -> NDArray[np.generic]:
    """(height, width, 3) uint8 → the graph's dtype, by the quantisation that its input tensor declares."""
    if wanted.dtype == "float32":
        low, high = wanted.float_range
        return rgb.astype(np.float32) * np.float32((high - low) / 255) + np.float32(low)
    table = _table(wanted)
    if table is not None:
        rgb = cv2.LUT(rgb, table)  # type: ignore[assignment]
    elif wanted.dtype == "int8":
        rgb = rgb ^ _SIGN  # what a table would give, ten times cheaper
    return rgb.view(np.int8) if wanted.dtype == "int8" else rgb


@lru_cache(maxsize=8)  # it is the same for every frame
def _table(wanted: Input) -> NDArray[np.uint8] | None:
    """Pixel → stored byte; None where that is the pixel itself (for int8 less 128) to within one step, as in published networks."""
    least = 0 if wanted.dtype == "uint8" else -128
    held = (least - wanted.zero) * wanted.scale, (least + 255 - wanted.zero) * wanted.scale
    low, high = min(_RANGES, key=lambda r: abs(r[0] - held[0]) + abs(r[1] - held[1]))
    real = np.arange(256) / 255 * (high - low) + low
    stored = np.clip(np.rint(real / wanted.scale) + wanted.zero, least, least + 255).astype(np.int16)
    if np.abs(stored - least - np.arange(256)).max() <= 1:
        return None
    table: NDArray[np.uint8] = (stored & 0xFF).astype(np.uint8)
    return table
