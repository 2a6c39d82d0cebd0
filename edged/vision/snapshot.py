"""A frame as a JPEG of bounded size, for somebody who asks to see what the camera sees."""

import math

import cv2
import numpy as np

from edged.system.shapes import Region
from edged.vision.frame import Frame
from edged.vision.preprocess import to_rgb

_LEAST_PX = 16


def to_jpeg(frame: Frame, region: Region, *, max_px: int, quality: int, max_kb: int) -> bytes:
    """The part that matters, longest side at most `max_px`, at most `max_kb` KiB: what comes out larger is made smaller. Pure."""
    wide, high = region[2] * frame.width, region[3] * frame.height
    scale = min(1.0, max_px / max(wide, high))
    while True:
        width, height = (max(_LEAST_PX, round(side * scale / 4) * 4) for side in (wide, high))  # planes are halved twice
        rgb = to_rgb(frame, width, height, region)
        _, jpeg = cv2.imencode(".jpg", np.ascontiguousarray(rgb[:, :, ::-1]), [cv2.IMWRITE_JPEG_QUALITY, quality])
        if jpeg.size <= max_kb * 1024 or max(width, height) <= _LEAST_PX:
            return jpeg.tobytes()
        scale *= min(0.9, math.sqrt(max_kb * 1024 / jpeg.size))
