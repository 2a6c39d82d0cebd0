"""`python -m edged.vision.classify`: the throw-away process that classifies picture files for `edged classify`.

Files and models of unknown origin are decoded and run here, with limits; the asking end is edged/models/classify.py.
"""

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
from edged.vision.classifier import Classifier, OutputKind, load_classifier
from edged.vision.decode import PictureError, to_kind
from edged.vision.frame import Frame
from edged.vision.preprocess import to_tensor

# enough for the largest picture on a big board; a small one may not spend more than it has
MEMORY_MB = min(768, os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") >> 20)
LARGEST_FILE_MB = 128


class Album:
    """Answers one request at a time."""

    def __init__(self) -> None:
        self._classifier: Classifier | None = None

    def load(self, path: str, sha256: str, labels: int, output: OutputKind | None, threads: int) -> tuple[str, dict[str, Any]]:
        """Take the model, and try it once, so that a model that can't run is told before the first picture."""
        try:
            self._classifier, _ = load_classifier(Path(path), sha256, labels, threads=threads, output=output)
        except ModelError as error:
            return "refused", {"reason": str(error)}
        except MemoryError:
            return "refused", {"reason": f"the model needs more than {MEMORY_MB} MB"}
        return "loaded", {}

    def look(self, picture: str, region: list[float], crop: str, top: int) -> tuple[str, dict[str, Any]]:
        """Classify one file: the `top` best [index, score], and how long each step took."""
        assert self._classifier is not None
        began = time.monotonic_ns()
        try:
            frame = load_picture(Path(picture))
            loaded = time.monotonic_ns()
            x, y, w, h = region
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


def load_picture(path: Path) -> Frame:
    """Decode a file by its content, whatever its name; upright as its EXIF says. Raises PictureError."""
    try:
        data = read_file(path, LARGEST_FILE_MB << 20)
    except ReadError as error:
        why = "does not exist" if error.is_absent else error.why
        raise PictureError(why.replace("is not a regular file", "is not a file")) from None
    if not data:
        raise PictureError("is empty")
    kind = to_kind(data)
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error as error:
        raise PictureError(f"is {kind}, but {_why(error)}") from None
    # the decoder fills what is missing with grey and says nothing; an end that is missing after the last scan is a cut
    if pixels is None or (kind == "JPEG" and data.rfind(b"\xff\xd9") < data.rfind(b"\xff\xda")):
        raise PictureError(f"is {kind}, but cut off or damaged")
    height, width = pixels.shape[:2]
    return Frame(pixels, "bgr", width, height, time.monotonic_ns(), picture=path.name)  # type: ignore[arg-type]


def _why(error: cv2.error) -> str:
    if error.code == cv2.Error.STS_NO_MEM:
        return f"needs more than {MEMORY_MB} MB to decode"
    return "has too many pixels to decode" if "CV_IO_MAX_IMAGE" in str(error) else "damaged"


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
