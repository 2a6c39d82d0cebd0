"""Which pictures are the same, or nearly: pictures of one moment may not judge one another. Pure."""

import cv2
import numpy as np
from numpy.typing import NDArray

from edged.vision.frame import Frame
from edged.vision.preprocess import to_rgb

SIDE = 32
THUMB_BYTES = SIDE * SIDE
NEAR = 0.99  # correlation of two thumbs: frames of one camera that are seconds apart have more
_SAME_MEAN, _SAME_MOST = 2.0, 12.0  # steps of 255 that a new JPEG of the same picture is off, on the mean and anywhere

Thumbs = NDArray[np.float32]


def to_thumb(frame: Frame) -> bytes:
    """32 x 32 grey bytes; each is the mean of a part of the picture, so that noise is gone."""
    return bytes(cv2.cvtColor(to_rgb(frame, SIDE, SIDE), cv2.COLOR_RGB2GRAY).tobytes())


def to_groups(thumbs: Thumbs) -> NDArray[np.int64]:
    """(n, 1024) → the number of the group of near copies that each picture is in: the first of the group."""
    even = thumbs - thumbs.mean(1, keepdims=True)
    even = even / np.maximum(1.0, np.linalg.norm(even, axis=1, keepdims=True))
    is_near = even @ even.T >= NEAR
    is_near |= _is_flat(thumbs)[:, None] & _is_flat(thumbs)[None, :]
    group = np.arange(len(thumbs), dtype=np.int64)
    for n in range(len(thumbs)):
        for other in np.flatnonzero(is_near[n, :n]):
            group[group == max(group[n], group[other])] = min(group[n], group[other])
    return group


def _is_flat(thumbs: Thumbs) -> NDArray[np.bool_]:
    made: NDArray[np.bool_] = thumbs.std(1) < 1.0
    return made


def find_same(thumbs: Thumbs, label: NDArray[np.int64]) -> tuple[int, int] | None:
    """The first two pictures that are the same and have different labels."""
    for n in range(len(thumbs)):
        apart = np.abs(thumbs[:n] - thumbs[n])
        is_same = (apart.mean(1) <= _SAME_MEAN) & (apart.max(1) <= _SAME_MOST) & (label[:n] != label[n]) if n else np.zeros(0, bool)
        if is_same.any():
            return int(is_same.argmax()), n
    return None
