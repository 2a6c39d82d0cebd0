"""`python -m edged.vision.classify`: the throw-away process that classifies picture files for `edged classify`.

Files and models of unknown origin are decoded and run here, with limits; the asking end is edged/models/classify.py.
"""

import math
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from edged.errors import ModelError, ReadError
from edged.process.sandbox import begin
from edged.system.files import read_file
from edged.system.shapes import LARGEST_PICTURE_PIXELS, WHOLE, Region
from edged.vision.classifier import Classifier, OutputKind, load_classifier, to_reason
from edged.vision.decode import PictureError, to_header, to_kind
from edged.vision.frame import Frame
from edged.vision.preprocess import CENTRE, Input, to_tensor

# enough for the largest picture on a big board; a small one may not spend more than it has
MEMORY_MB = min(768, os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") >> 20)
LARGEST_FILE_MB = 128
_REDUCED = {
    1: cv2.IMREAD_COLOR,
    2: cv2.IMREAD_REDUCED_COLOR_2,
    4: cv2.IMREAD_REDUCED_COLOR_4,
    8: cv2.IMREAD_REDUCED_COLOR_8,
}
_CHECK_OF_SIZE = "validateInputImageSize"  # OpenCV's own name of it; its code is that of every assertion


class Album:
    """Answers one request at a time."""

    def __init__(self) -> None:
        self._classifier: Classifier | None = None

    def load(self, path: str, sha256: str, labels: int, output: OutputKind | None, threads: int) -> tuple[str, dict[str, Any]]:
        """Take the model, and try it once, so that a model that can't run is told before the first picture."""
        try:
            self._classifier, _ = load_classifier(Path(path), sha256, labels, threads=threads, output=output)
        except ModelError as error:
            return "refused", {"reason": to_reason(Path(path), error)}
        except MemoryError:
            return "refused", {"reason": f"{path}: the model needs more than {MEMORY_MB} MB"}
        return "loaded", {}

    def look(self, picture: str, region: list[float], crop: str, top: int) -> tuple[str, dict[str, Any]]:
        """Classify one file: the `top` best [index, score], and how long each step took."""
        assert self._classifier is not None
        began = time.monotonic_ns()
        try:
            x, y, w, h = region
            frame = load_picture(Path(picture), to_enough_px(self._classifier.facts.input, (x, y, w, h)))
            loaded = time.monotonic_ns()
            tensor = to_tensor(frame, self._classifier.facts.input, (x, y, w, h), crop)  # type: ignore[arg-type]
            prepared = time.monotonic_ns()
            scores = self._classifier.classify(tensor)
        except (PictureError, ModelError) as error:
            return "unreadable", {"reason": str(error)}
        except MemoryError:
            return "unreadable", {"reason": f"needs more than {MEMORY_MB} MB"}
        invoked = time.monotonic_ns()
        best = np.argsort(-scores, kind="stable")[:top]
        answer = [(int(index), round(float(scores[index]), 4)) for index in best]
        marks = (began, loaded, prepared, invoked, time.monotonic_ns())
        names = ("capture", "preprocess", "invoke", "postprocess")
        timing_ms = {name: round((b - a) / 1e6, 3) for name, a, b in zip(names, marks, marks[1:], strict=False)}
        return "scores", {"scores": answer, "timing_ms": timing_ms}


def to_enough_px(wanted: Input, region: Region = WHOLE) -> int:
    """How long the shorter side of a picture must be, so that a network that looks at this part of it misses nothing. Pure."""
    return math.ceil(2 * max(wanted.width, wanted.height) / (CENTRE * min(region[2:])))


def load_picture(path: Path, enough_px: int = 0) -> Frame:
    """Decode a file by its content, whatever its name; upright as its EXIF says. Raises PictureError.

    enough_px: of the shorter side; a picture with twice as much or more is made smaller on the way, each pixel the mean of those
    that it stands for: a JPEG of 12 megapixels then takes half the time and half the memory. 0: as it is.
    """
    try:
        data = read_file(path, LARGEST_FILE_MB << 20)
    except ReadError as error:
        why = "does not exist" if error.is_absent else error.why
        raise PictureError("is not a file" if error.kind == "no_file" else why) from None
    if not data:
        raise PictureError("is empty")
    kind, less = to_kind(data), _to_less(data, enough_px)
    try:
        how = _REDUCED[less] if kind == "JPEG" else cv2.IMREAD_COLOR
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), how)
        if pixels is not None and kind != "JPEG" and less > 1:
            size = pixels.shape[1] // less, pixels.shape[0] // less
            pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    except cv2.error as error:
        raise PictureError(f"is {kind}, but {_why(error)}") from None
    # the decoder fills what is missing with grey and says nothing; an end that is missing after the last scan is a cut
    if pixels is None or (kind == "JPEG" and data.rfind(b"\xff\xd9") < data.rfind(b"\xff\xda")):
        raise PictureError(f"is {kind}, but cut off or damaged")
    height, width = pixels.shape[:2]
    return Frame(pixels, "bgr", width, height, time.monotonic_ns(), picture=path.name)  # type: ignore[arg-type]


def _to_less(data: bytes, enough_px: int) -> int:
    """By how much each side may be divided. Raises PictureError for more pixels than are decoded."""
    try:
        header = to_header(data)
    except PictureError:  # whether it is a picture at all is the decoder's to say
        return 1
    if header.width * header.height > LARGEST_PICTURE_PIXELS:  # also where it is made smaller: what it costs to read is still there
        raise PictureError("has too many pixels to decode")
    return next((less for less in (8, 4, 2) if enough_px and min(header.width, header.height) >= less * enough_px), 1)


def _why(error: cv2.error) -> str:
    if error.code == cv2.Error.STS_NO_MEM:
        return f"needs more than {MEMORY_MB} MB to decode"
    return "has too many pixels to decode" if error.func == _CHECK_OF_SIZE else "damaged"


def main() -> None:
    pipe = begin(MEMORY_MB)
    cv2.setNumThreads(1)
    album = Album()
    pipe.send("ready", {})
    answers: dict[str, Callable[..., tuple[str, dict[str, Any]]]] = {"load": album.load, "look": album.look}
    while (message := pipe.receive()) is not None:
        kind, fields, _ = message
        pipe.send(*answers[kind](**fields))


if __name__ == "__main__":
    main()
