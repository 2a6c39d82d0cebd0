"""The camera that shows files: pictures and films of a folder, at an exact rate. For the demo, the bench and the tests."""

import contextlib
import itertools
import logging
import os
import threading
import time
from collections.abc import Generator, Iterable, Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edged.errors import ReadError
from edged.system.files import read_file
from edged.system.shapes import LARGEST_PICTURE_PIXELS
from edged.system.text import printable
from edged.vision.cameras.camera import CameraFault
from edged.vision.decode import PictureError, decode
from edged.vision.frame import Frame

log = logging.getLogger("edged.vision")

PICTURES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp"})
FILMS = frozenset({".mp4", ".mjpeg", ".mjpg", ".avi", ".mkv", ".mov"})

_LARGEST_PICTURE_BYTES = 48 << 20
_MOST_PIXELS = 20_000_000  # three bytes each, and a decoder needs as much again; one that is read row by row may be larger
_MOST_NAMES = 100_000
_MOST_BAD = 10_000  # bad files that are remembered, so that each is named once
# a film is one file of a known container: no playlist that leads elsewhere, and no frame larger than a picture may be
_FFMPEG = "OPENCV_FFMPEG_CAPTURE_OPTIONS"
_CONTAINERS = "mov,mp4,m4a,3gp,3g2,mj2,avi,matroska,webm,mjpeg"
_FFMPEG_OPTIONS = f"max_pixels;{_MOST_PIXELS}|protocol_whitelist;file|format_whitelist;{_CONTAINERS}"

_SUFFIXES = " ".join(sorted(PICTURES | FILMS))

Shown = tuple[NDArray[np.uint8], str]


class PicturesCamera:
    """Each picture is decoded before its turn comes and shown at its turn, so that `captured_ns` is the moment it is shown.

    A read that comes too late moves the schedule; it never makes a burst. `close` wakes a waiting `read`, from any thread.
    """

    def __init__(self, source: str, *, fps: float, loop: bool = True, show_s: float = 0.0) -> None:
        """show_s: each picture is shown so long, at least for one frame; a film runs.

        Raises CameraFault: absent when there is no file of a known kind, permission.
        """
        self._source = Path(source).expanduser()
        self._period_ns = round(1e9 / fps)
        self._times = max(1, round(show_s * fps))  # that a picture is shown in a row
        self._due_ns = 0
        self._closed = threading.Event()
        self._bad: dict[Path, tuple[int, int]] = {}  # what could not be read, and how it was then
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
        kept: tuple[tuple[Path, tuple[int, int]], NDArray[np.uint8]] | None = None
        while True:
            any_shown, paths = False, self._list()
            for path in paths:
                if self._bad.get(path) == (stamp := _stamp(path)):
                    continue  # nobody wrote it since
                count, is_film = 0, path.suffix.lower() in FILMS
                if kept is not None and kept[0] == (path, stamp):
                    made: Iterable[NDArray[np.uint8]] = (kept[1],)
                else:
                    made, kept = _film(path) if is_film else _picture(path), None
                name = printable(os.fsencode(path.name).decode(errors="replace"))[:255]  # a name may hold any bytes
                for count, pixels in enumerate(made, 1):  # noqa: B007
                    if len(paths) == 1 and not is_film:  # one that is shown again and again is decoded once
                        kept = (path, stamp), pixels
                    for _ in range(1 if is_film else self._times):
                        yield pixels, name
                any_shown |= count > 0
                if not count:
                    if path not in self._bad:
                        what = "film" if is_film else "picture"
                        log.warning("%s: not a readable %s, or too large; it is left out", printable(str(path)), what)
                    if len(self._bad) < _MOST_BAD:
                        self._bad[path] = stamp
            if not any_shown:
                raise CameraFault("format", f"{self._source}: none of its files is a readable picture or film ({_SUFFIXES})")
            if not loop:
                raise CameraFault("ended", f"{self._source}: all was shown once; set camera.loop = true to begin again")

    def _list(self) -> list[Path]:
        """The files in order of their names; asked again on each round, so that a folder may change."""
        known = PICTURES | FILMS
        try:
            if self._source.is_dir():
                found = itertools.islice((path for path in self._source.iterdir() if path.suffix.lower() in known), _MOST_NAMES)
                files = sorted(found)
            else:
                files = [self._source] if self._source.exists() else []
        except PermissionError:
            raise CameraFault("permission", f"{self._source}: this user may not read it") from None
        except (OSError, ValueError) as error:
            raise CameraFault("absent", f"{self._source}: cannot be read: {getattr(error, 'strerror', error)}") from None
        if not files:
            what = "holds no picture or film" if self._source.is_dir() else "does not exist"
            raise CameraFault("absent", f"{self._source}: {what}; set camera.source to a folder or file ({_SUFFIXES})")
        return files


def _stamp(path: Path) -> tuple[int, int]:
    """Another one after the file was written."""
    try:
        found = path.stat()
    except OSError:
        return 0, 0
    return found.st_mtime_ns, found.st_size


def _picture(path: Path) -> Iterator[NDArray[np.uint8]]:
    """One BGR picture, upright as its EXIF says; none when the file is no picture, has gone, or is too large."""
    try:
        yield decode(read_file(path, _LARGEST_PICTURE_BYTES), _MOST_PIXELS, LARGEST_PICTURE_PIXELS)
    except (ReadError, PictureError, MemoryError):
        return


def _film(path: Path) -> Iterator[NDArray[np.uint8]]:
    """The BGR pictures of a film, decoded one by one; none of what is no regular file, for FFmpeg would wait for it."""
    if not path.is_file():
        return
    os.environ[_FFMPEG] = _FFMPEG_OPTIONS
    try:
        film = cv2.VideoCapture(str(path.absolute()), cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])
    finally:
        os.environ.pop(_FFMPEG, None)
    try:
        while True:
            good, pixels = film.read()
            if not good or pixels is None or pixels.shape[0] * pixels.shape[1] > _MOST_PIXELS:
                return
            yield pixels  # type: ignore[misc]
    finally:
        film.release()
