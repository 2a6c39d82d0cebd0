"""Which pictures are the same, or nearly: pictures of one moment may not judge one another. Pure."""

from collections.abc import Iterable

import cv2
import numpy as np
from numpy.typing import NDArray

from edged.vision.frame import Frame
from edged.vision.preprocess import to_rgb

SIDE = 32
THUMB_BYTES = SIDE * SIDE
NEAR = 0.99  # correlation of two thumbs: frames of one camera that are seconds apart have more
# cosine of two pictures' features, measured from those of ordinary things: of copies that are cut by 15 % or turned by 6 degrees
# nineteen in twenty have more, of 60,000 pairs of photographs of one kind of thing none has
MOVED = 0.82
_SAME_MEAN, _SAME_MOST = 2.0, 12.0  # steps of 255 that a new JPEG of the same picture is off, on the mean and anywhere

Thumbs = NDArray[np.float32]
Points = NDArray[np.float32]


def to_thumb(frame: Frame) -> bytes:
    """32 x 32 grey bytes; each is the mean of a part of the picture, so that noise is gone."""
    return bytes(cv2.cvtColor(to_rgb(frame, SIDE, SIDE), cv2.COLOR_RGB2GRAY).tobytes())


def to_groups(thumbs: Thumbs) -> NDArray[np.int64]:
    """(n, 1024) → the number of the group of near copies that each picture is in: the first of the group."""
    even = thumbs - thumbs.mean(1, keepdims=True)
    even = even / np.maximum(1.0, np.linalg.norm(even, axis=1, keepdims=True))
    is_near = even @ even.T >= NEAR
    is_near |= _is_flat(thumbs)[:, None] & _is_flat(thumbs)[None, :]
    return _joined(np.arange(len(thumbs), dtype=np.int64), is_near)


def to_moved_groups(
    group: NDArray[np.int64], points: NDArray[np.float32], views: Iterable[NDArray[np.float32]]
) -> NDArray[np.int64]:
    """The groups, joined where a picture is another one mirrored, cut or turned a little, which no thumb tells: what a network
    sees in the one, or in a part of it, it sees in the other. points (n, d); views: of mirror images and parts, each (n, d)."""
    to = _even(points)
    is_near = np.zeros((len(to), len(to)), bool)
    for one in (points, *views):
        is_near |= _even(one) @ to.T >= MOVED
    return _joined(group.copy(), is_near | is_near.T)


def _even(points: Points) -> Points:
    made: Points = points / np.maximum(1e-9, np.linalg.norm(points, axis=1, keepdims=True))
    return made


def _joined(group: NDArray[np.int64], is_near: NDArray[np.bool_]) -> NDArray[np.int64]:
    for n in range(len(group)):
        numbers = np.unique(group[: n + 1][is_near[n, : n + 1]])
        group[np.isin(group, [*numbers, group[n]])] = min([*numbers, group[n]])
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
