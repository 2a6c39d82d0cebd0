"""A frame for somebody who asks: as a JPEG of bounded size, or what it would score in another region."""

import math
from collections.abc import Iterator, Sequence
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from edged.errors import ModelError
from edged.system.shapes import WHOLE, Region
from edged.vision.classifier import Classifier
from edged.vision.decode import decode
from edged.vision.frame import Frame
from edged.vision.preprocess import to_rgb, to_tensor

_LEAST_PX, _SLACK = 16, 1e-6
_MOST_PIXELS, _READABLE_PX, _DRAWN_QUALITY = 20_000_000, 480, 90
_LINE_PX, _SCALE, _GREEN = 20, 0.5, (80, 220, 80)
_PART_BYTES = 128 * 1024  # of a JPEG that goes over the pipe, whose packets are bounded

# what matters; all that the camera gives; the model's input, crop and all; the same larger, for teaching
View = Literal["region", "whole", "model", "mark"]


def to_jpeg_of(
    view: View, frame: Frame, region: Region, crop: str, classifier: Classifier | None, *, max_px: int, quality: int, max_kb: int
) -> tuple[bytes, Region]:
    """The JPEG of a view, and which part of the scene it shows. Pure."""
    part = WHOLE if frame.cropped or view == "whole" else region
    shows = region if frame.cropped else part
    if view == "model" and classifier is not None:
        wanted = classifier.facts.input
        return _encoded(to_rgb(frame, wanted.width, wanted.height, part, crop), quality), shows  # type: ignore[arg-type]
    if view == "mark":
        return _square(to_rgb(frame, max_px, max_px, part, crop), quality, max_kb), shows  # type: ignore[arg-type]
    return to_jpeg(frame, part, max_px=max_px, quality=quality, max_kb=max_kb), shows


def try_region(
    frame: Frame | None, classifier: Classifier | None, wanted: Sequence[float], region: Region, crop: str
) -> tuple[NDArray[np.generic] | None, str]:
    """What the graph gives for this frame in the region that is wanted, or why nothing. region: the one that holds now.

    A camera that crops by itself gives that one only. The classifier is used: nobody else may use it meanwhile.
    """
    if frame is None or classifier is None:
        return None, "there is no frame to try it on"
    x, y, wide, high = wanted
    if frame.cropped:
        left, top, width, height = region
        x, y, wide, high = (x - left) / width, (y - top) / height, wide / width, high / height
        if min(x, y) < -_SLACK or max(x + wide, y + high) > 1 + _SLACK:
            return None, "part of it lies outside of what the camera gives now"
    tensor = to_tensor(frame, classifier.facts.input, (max(x, 0.0), max(y, 0.0), wide, high), crop)  # type: ignore[arg-type]
    try:
        return classifier.run(tensor), ""
    except ModelError as error:
        return None, str(error)


def to_jpeg(frame: Frame, region: Region, *, max_px: int, quality: int, max_kb: int) -> bytes:
    """The part that matters, longest side at most `max_px`, at most `max_kb` KiB: what comes out larger is made smaller. Pure."""
    wide, high = region[2] * frame.width, region[3] * frame.height
    scale = min(1.0, max_px / max(wide, high))
    while True:
        width, height = (max(_LEAST_PX, round(side * scale / 4) * 4) for side in (wide, high))  # planes are halved twice
        rgb = to_rgb(frame, width, height, region)
        jpeg = _encoded(rgb, quality)
        if len(jpeg) <= max_kb * 1024 or max(width, height) <= _LEAST_PX:
            return jpeg
        scale *= min(0.9, math.sqrt(max_kb * 1024 / len(jpeg)))


def _square(rgb: NDArray[np.uint8], quality: int, max_kb: int) -> bytes:
    """Of at most `max_kb` KiB if that can be: the size stays, the quality gives way."""
    jpeg = _encoded(rgb, quality)
    while len(jpeg) > max_kb * 1024 and quality > 10:
        quality -= 10
        jpeg = _encoded(rgb, quality)
    return jpeg


def to_packets(jpeg: bytes) -> Iterator[tuple[bytes, bool]]:
    """Parts that fit into the pipe's packets, and whether each is the last one."""
    for at in range(0, len(jpeg), _PART_BYTES):
        yield jpeg[at : at + _PART_BYTES], at + _PART_BYTES >= len(jpeg)


def _encoded(rgb: NDArray[np.uint8], quality: int) -> bytes:
    _, jpeg = cv2.imencode(".jpg", np.ascontiguousarray(rgb[:, :, ::-1]), [cv2.IMWRITE_JPEG_QUALITY, quality])
    return jpeg.tobytes()


def draw(jpeg: bytes, lines: Sequence[str], *, shows: Sequence[float], region: Sequence[float]) -> bytes:
    """The picture with what lies outside of the region darkened, and the lines of text below it. Pure. Raises PictureError.

    shows, region: x, y, width, height of the scene, 0..1: what the picture shows, and what matters of it.
    """
    pixels = decode(jpeg, _MOST_PIXELS, _MOST_PIXELS)
    times = max(1, round(_READABLE_PX / max(1, pixels.shape[1])))
    if times > 1:  # the input of a model, so that its pixels can be seen
        pixels = np.ascontiguousarray(pixels.repeat(times, 0).repeat(times, 1))
    height, width = pixels.shape[:2]
    x, y, wide, high = ((at - of) / size for at, of, size in zip(region, (*shows[:2], 0, 0), (*shows[2:], *shows[2:]), strict=True))
    left, top = max(0, round(x * width)), max(0, round(y * height))
    right, bottom = min(width, round((x + wide) * width)), min(height, round((y + high) * height))
    if (left, top, right, bottom) != (0, 0, width, height) and right > left and bottom > top:
        dark = (pixels // 3).astype(np.uint8)
        dark[top:bottom, left:right] = pixels[top:bottom, left:right]
        pixels = cv2.rectangle(dark, (left, top), (right - 1, bottom - 1), _GREEN, 2).astype(np.uint8)
    shown = [line.encode("ascii", "replace").decode() for line in lines]  # the font has no others
    strip = np.zeros((_LINE_PX * len(shown) + 8, width, 3), np.uint8)
    for number, line in enumerate(shown, 1):
        scale = min(_SCALE, _SCALE * (width - 12) / max(1, cv2.getTextSize(line, cv2.FONT_HERSHEY_SIMPLEX, _SCALE, 1)[0][0]))
        cv2.putText(strip, line, (6, _LINE_PX * number - 4), cv2.FONT_HERSHEY_SIMPLEX, scale, (255, 255, 255), 1, cv2.LINE_AA)
    _, drawn = cv2.imencode(".jpg", np.vstack([pixels, strip]), [cv2.IMWRITE_JPEG_QUALITY, _DRAWN_QUALITY])
    return drawn.tobytes()
