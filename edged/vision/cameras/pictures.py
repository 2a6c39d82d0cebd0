"""The camera that shows files: pictures and films of a folder, at an exact rate. For the demo, the bench and the tests."""

import contextlib
import logging
import os
import threading
import time
from collections.abc import Generator, Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edged.vision.cameras.camera import CameraFault
from edged.vision.frame import Frame

log = logging.getLogger("edged.vision")

PICTURES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp"})
FILMS = frozenset({".mp4", ".mjpeg", ".mjpg", ".avi", ".mkv", ".mov"})

_SUFFIXES = " ".join(sorted(PICTURES | FILMS))

Shown = tuple[NDArray[np.uint8], str]


class PicturesCamera:
    """Each picture is decoded before its turn comes and shown at its turn, so that `captured_ns` is the moment it is shown.

    A read that comes too late moves the schedule; it never makes a burst. `close` wakes a waiting `read`, from any thread.
    """

    def __init__(self, source: str, *, fps: float, loop: bool = True) -> None:
        """Raises CameraFault: absent when there is no file of a known kind, permission."""
        self._source = Path(source).expanduser()
        self._period_ns = round(1e9 / fps)
        self._due_ns = 0
        self._closed = threading.Event()
        self._bad: set[Path] = set()
        self._list()  # a wrong folder is told now, and not at the first frame
        self._shown = self._show(loop)

    def read(self) -> Frame:
        """The next picture, BGR, at its turn. Raises CameraFault: ended, format, absent."""
        pixels, name = next(self._shown, (None, ""))
        if pixels is None:
            raise CameraFault("ended", f"{self._source}: closed")
        now_ns = time.monotonic_ns()
        if now_ns - self._due_ns > self._period_ns:
            self._due_ns = now_ns
        if self._closed.wait((self._due_ns - now_ns) / 1e9):
            raise CameraFault("ended", f"{self._source}: closed")
        self._due_ns += self._period_ns
        height, width = pixels.shape[:2]
        return Frame(pixels, "bgr", width, height, time.monotonic_ns(), picture=name)

    def close(self) -> None:
        self._closed.set()
        with contextlib.suppress(ValueError):  # a read is under way in another thread, and ends by itself
            self._shown.close()

    def _show(self, loop: bool) -> Generator[Shown, None, None]:
        while True:
            any_shown = False
            for path in self._list():
                count, what = 0, "film" if path.suffix.lower() in FILMS else "picture"
                for count, pixels in enumerate(_film(path) if what == "film" else _picture(path), 1):  # noqa: B007
                    yield pixels, os.fsencode(path.name).decode(errors="replace")[:255]  # a name may hold any bytes
                any_shown |= count > 0
                if not count and path not in self._bad:
                    self._bad.add(path)
                    log.warning(
                        "%s: not a readable %s; it is left out", path, "film" if path.suffix.lower() in FILMS else "picture"
                    )
            if not any_shown:
                raise CameraFault("format", f"{self._source}: none of its files is a readable picture or film ({_SUFFIXES})")
            if not loop:
                raise CameraFault("ended", f"{self._source}: all was shown once; set camera.loop = true to begin again")

    def _list(self) -> list[Path]:
        """The files in order of their names; asked again on each round, so that a folder may change."""
        known = PICTURES | FILMS
        try:
            if self._source.is_dir():
                files = sorted(path for path in self._source.iterdir() if path.suffix.lower() in known)
            else:
                files = [self._source] if self._source.exists() else []
        except PermissionError:
            raise CameraFault("permission", f"{self._source}: this user may not read it") from None
        if not files:
            what = "holds no picture or film" if self._source.is_dir() else "does not exist"
            raise CameraFault("absent", f"{self._source}: {what}; set camera.source to a folder or file ({_SUFFIXES})")
        return files


def _picture(path: Path) -> Iterator[NDArray[np.uint8]]:
    """One BGR picture, upright as its EXIF says; none when the file is no picture or has gone."""
    try:
        pixels = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_COLOR)
    except (OSError, cv2.error):  # cv2.error: an empty file, or a size beyond OpenCV's limits
        return
    if pixels is not None:
        yield pixels  # type: ignore[misc]


def _film(path: Path) -> Iterator[NDArray[np.uint8]]:
    """The BGR pictures of a film, decoded one by one."""
    film = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    try:
        while True:
            good, pixels = film.read()
            if not good:
                return
            yield pixels  # type: ignore[misc]
    finally:
        film.release()
