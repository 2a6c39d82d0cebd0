"""Turning a frame in steps of a quarter, for cameras that hang on their side."""

from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from edged.vision.frame import Frame

_TURNS = {90: cv2.ROTATE_90_CLOCKWISE, 180: cv2.ROTATE_180, 270: cv2.ROTATE_90_COUNTERCLOCKWISE}


def rotated(frame: Frame, degrees: int) -> Frame:
    """`frame` turned clockwise by 0, 90, 180 or 270 degrees, in the same layout. Pure."""
    if degrees == 0:
        return frame
    turn = _TURNS[degrees]
    width, height = (frame.height, frame.width) if degrees != 180 else (frame.width, frame.height)
    if frame.layout not in ("nv12", "yuv420"):
        turned: NDArray[np.uint8] = cv2.rotate(frame.pixels, turn)  # type: ignore[assignment]
        return replace(frame, pixels=turned, width=width, height=height)
    luma, chroma = frame.pixels[: frame.height], frame.pixels[frame.height :]
    half_h, half_w = frame.height // 2, frame.width // 2
    planes: list[NDArray[np.uint8]]
    if frame.layout == "nv12":
        planes = [cv2.rotate(chroma.reshape(half_h, half_w, 2), turn)]  # type: ignore[list-item]
    else:
        planes = [cv2.rotate(plane, turn) for plane in chroma.reshape(2, half_h, half_w)]  # type: ignore[misc]
    below = [plane.reshape(-1, width) for plane in (np.stack(planes) if len(planes) > 1 else planes[0][None])]
    return replace(frame, pixels=np.vstack([cv2.rotate(luma, turn), *below]), width=width, height=height)
