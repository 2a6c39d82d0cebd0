"""How libcamera lays pixels out in memory, and how a Frame does."""

import numpy as np
from numpy.typing import NDArray

from edged.vision.frame import Layout

# libcamera names formats by the order in a register, so that its RGB888 is B, G, R in memory
LAYOUTS: dict[str, Layout] = {
    "RGB888": "bgr",
    "XRGB8888": "bgr",
    "BGR888": "rgb",
    "XBGR8888": "rgb",
    "YUV420": "yuv420",
    "YVU420": "yuv420",
    "NV12": "nv12",
    "NV21": "nv12",
}


def unpadded(pixels: NDArray[np.uint8], given: str, width: int, height: int) -> NDArray[np.uint8]:
    """What picamera2 makes of a buffer → what Frame promises: no padding, no fourth channel, U before V. Pure."""
    if given in ("XRGB8888", "XBGR8888"):
        return np.ascontiguousarray(pixels[:, :, :3])
    if given in ("RGB888", "BGR888"):
        return pixels
    luma, below = pixels[:height, :width], pixels[height : height * 3 // 2]
    if given in ("NV12", "NV21"):
        pairs = below[:, :width].reshape(height // 2, width // 2, 2)
        pairs = pairs if given == "NV12" else pairs[:, :, ::-1]
        return np.vstack([luma, pairs.reshape(height // 2, width)])
    # the planes of U and V have half the padding: two of their rows in one of ours
    planes = below.reshape(2, height // 2, -1)[:, :, : width // 2]
    planes = planes if given == "YUV420" else planes[::-1]
    return np.vstack([luma, planes.reshape(height // 2, width)])
