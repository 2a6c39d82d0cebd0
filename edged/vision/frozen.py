"""What frames tell of the health of their camera: is it still the same picture, is there anything to see at all."""

import zlib

import cv2
import numpy as np
from numpy.typing import NDArray

from edged.system.shapes import LARGEST_PICTURE_PIXELS
from edged.vision.cameras.camera import CameraFault
from edged.vision.frame import PLANAR, Frame, to_pixel_shape

_ROWS = 16  # of a frame that are looked at, in whole: parts of more rows would take as much memory traffic, and longer
_DARK, _FLAT = 32, 4.0  # of 255; black is 16 in the planes that cameras give
_DARK_FOR_S = 5.0
_MEASURED_EVERY_NS = 150_000_000  # each frame at 5 a second
_LARGEST_PX = 16_384  # of a side; no camera gives more


class Vitals:
    """`see` every frame, in order. One thread.

    A sensor's noise makes each picture differ in some bit, so the same bytes for long are a camera that repeats itself; but
    a black or white picture may be the same for ever, and is only a hint that something is before the lens.
    """

    def __init__(self) -> None:
        self._print = self._seen_ns = self._measured_ns = 0
        self._is_flat = self._is_dark = False
        self._is_first = True  # since the camera was opened

    still_s = 0.0
    dark_s = 0.0

    @property
    def dark(self) -> bool:
        return self.dark_s > _DARK_FOR_S

    def opened(self) -> None:
        """The camera was opened: the time without pictures is no time in which the same one was seen."""
        self._is_first = True

    def see(self, frame: Frame) -> None:
        some = np.ascontiguousarray(frame.pixels[: frame.height : max(1, frame.height // _ROWS)])
        fingerprint = zlib.crc32(some.data)
        same = fingerprint == self._print
        if same or self._is_first or not 0 <= frame.captured_ns - self._measured_ns < _MEASURED_EVERY_NS:
            self._measure(some, frame.captured_ns)
        passed_s = 0.0 if self._is_first else max(0.0, (frame.captured_ns - self._seen_ns) / 1e9)
        self.still_s = self.still_s + passed_s if same and not self._is_flat else 0.0
        self.dark_s = self.dark_s + passed_s if self._is_dark else 0.0
        self._print, self._seen_ns, self._is_first = fingerprint, frame.captured_ns, False

    def _measure(self, some: NDArray[np.uint8], now_ns: int) -> None:
        """Whether there is anything to see. Costs as much as all the rest, and darkness does not come within a frame."""
        mean, deviation = cv2.meanStdDev(some)  # of each channel; ten times cheaper than numpy's
        self._is_flat = bool(deviation.max() < _FLAT)
        self._is_dark, self._measured_ns = self._is_flat and bool(mean.max() < _DARK), now_ns


def checked(frame: object) -> Frame:
    """The frame, if it is one. Raises CameraFault("format") for what could not be classified."""
    if not isinstance(frame, Frame):
        raise CameraFault("read_error", "the camera answered without a frame")
    wanted = to_pixel_shape(frame.layout, frame.width, frame.height)
    pixels: NDArray[np.uint8] = frame.pixels
    sides = frame.width, frame.height
    if not (min(sides) > 0 and max(sides) <= _LARGEST_PX and frame.width * frame.height <= LARGEST_PICTURE_PIXELS):
        raise CameraFault("format", f"the camera gave a picture of {frame.width} x {frame.height}, which is too large")
    odd = frame.layout in PLANAR and (frame.width % 2 or frame.height % 2)
    if pixels.shape != wanted or pixels.dtype != np.uint8 or not pixels.size or odd:
        given, said = " x ".join(map(str, pixels.shape)), f"a {frame.layout} frame of {frame.width} x {frame.height}"
        raise CameraFault("format", f"the camera gave {given} {pixels.dtype} for {said}")
    return frame
