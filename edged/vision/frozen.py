"""What frames tell of the health of their camera: is it still the same picture, is there anything to see at all."""

import zlib

import cv2
import numpy as np
from numpy.typing import NDArray

from edged.vision.cameras.camera import CameraFault
from edged.vision.frame import PLANAR, Frame, to_pixel_shape

_EVERY_PX = 4
_DARK, _FLAT = 32, 4.0  # of 255; black is 16 in the planes that cameras give
_DARK_FOR_S = 5.0


class Vitals:
    """`see` every frame, in order. One thread.

    A sensor's noise makes each picture differ in some bit, so the same bytes for long are a camera that repeats itself; but
    a black or white picture may be the same for ever, and is only a hint that something is before the lens.
    """

    def __init__(self) -> None:
        self._print = 0
        self._since_ns = self._lit_ns = 0

    still_s = 0.0
    dark = False

    def see(self, frame: Frame) -> None:
        some = np.ascontiguousarray(frame.pixels[: frame.height][::_EVERY_PX, ::_EVERY_PX])
        mean, deviation = cv2.meanStdDev(some)  # of each channel; ten times cheaper than numpy's
        flat = bool(deviation.max() < _FLAT)
        fingerprint = zlib.crc32(some.data)
        if flat or fingerprint != self._print or not self._since_ns:
            self._print, self._since_ns = fingerprint, frame.captured_ns
        if not (flat and mean.max() < _DARK) or not self._lit_ns:
            self._lit_ns = frame.captured_ns
        self.still_s = (frame.captured_ns - self._since_ns) / 1e9
        self.dark = frame.captured_ns - self._lit_ns > _DARK_FOR_S * 1e9


def checked(frame: object) -> Frame:
    """The frame, if it is one. Raises CameraFault("format") for what could not be classified."""
    if not isinstance(frame, Frame):
        raise CameraFault("read_error", "the camera answered without a frame")
    wanted = to_pixel_shape(frame.layout, frame.width, frame.height)
    pixels: NDArray[np.uint8] = frame.pixels
    odd = frame.layout in PLANAR and (frame.width % 2 or frame.height % 2)
    if pixels.shape != wanted or pixels.dtype != np.uint8 or not pixels.size or odd:
        given, said = " x ".join(map(str, pixels.shape)), f"a {frame.layout} frame of {frame.width} x {frame.height}"
        raise CameraFault("format", f"the camera gave {given} {pixels.dtype} for {said}")
    return frame
