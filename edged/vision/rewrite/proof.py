"""`python -m edged.vision.rewrite.proof`: the throw-away process in which a network is recast, and proven against the original.

Both look at the same pictures of the package's own, one after the other, and are timed on the way. The asking end is
edged/models/recast.py, which decides what the figures are worth.
"""

import os
import resource
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edged.errors import ModelError, ModelFileError
from edged.process.pipe import Pipe
from edged.process.sandbox import begin
from edged.process.seccomp import forbid_network
from edged.system.files import shipped
from edged.vision.classifier import Classifier, OutputKind, load_classifier
from edged.vision.frame import Frame
from edged.vision.preprocess import to_tensor
from edged.vision.probe import synthetic_frames
from edged.vision.rewrite.flatbuffer import NoSchemaError
from edged.vision.rewrite.recast import recast

MEMORY_MB = 1024
CPU_S = 300
SURE = 0.3  # below it the original itself does not know
_PART_BYTES = 128 * 1024  # the pipe's packets are bounded
# x, y, width, height of a photograph
_CROPS = ((0.0, 0.0, 1.0, 1.0), (0.15, 0.15, 0.7, 0.7), (0.0, 0.0, 0.75, 0.85), (0.25, 0.15, 0.75, 0.85))


class Recaster:
    """Answers one request at a time."""

    def __init__(self) -> None:
        self._made = b""

    def recast(self, path: str, sha256: str, labels: int, output: OutputKind | None, nice: int) -> dict[str, Any]:
        """Make the int8 file and compare. Raises ModelError, NoSchemaError."""
        os.nice(nice)
        original, _ = load_classifier(Path(path), sha256, labels, output=output)
        made = recast(original.model)
        sibling = Classifier(made, output=original.facts.output)
        figures = compare(original, sibling, list(golden_frames()))
        self._made = made
        return figures

    def part(self, at: int) -> tuple[dict[str, Any], bytes]:
        """The file that was made, from `at` on, as much as a packet holds."""
        return {"last": at + _PART_BYTES >= len(self._made)}, self._made[at : at + _PART_BYTES]


def golden_frames() -> Iterator[Frame]:
    """Crops of the shipped photographs, as they are, mirrored and darker, and the probe's synthetic pictures."""
    for path in sorted(shipped("models", "golden").glob("*.jpg")):
        photograph = cv2.imread(str(path), cv2.IMREAD_COLOR)
        if photograph is None:
            raise ModelFileError(f"{path}: this picture of the package is damaged: reinstall edged")
        high, wide = photograph.shape[:2]
        for number, (x, y, w, h) in enumerate(_CROPS):
            part = photograph[int(y * high) : int((y + h) * high), int(x * wide) : int((x + w) * wide)]
            yield _to_frame(cv2.flip(part, 1) if number == 1 else cv2.convertScaleAbs(part, alpha=0.6) if number == 3 else part)
    yield from synthetic_frames()


def _to_frame(pixels: Any) -> Frame:
    height, width = pixels.shape[:2]
    return Frame(np.ascontiguousarray(pixels), "bgr", width, height, 0)


def compare(original: Classifier, sibling: Classifier, frames: list[Frame]) -> dict[str, Any]:
    """pictures: how many were shown; sure: where the original's best score is at least `SURE`; same: of those, where the
    sibling's best is the same label; apart: the largest difference of any score; _ms: processor time of one inference."""
    sure = same = 0
    apart, took = 0.0, (list[float](), list[float]())
    for frame in frames:
        first, second = (_timed(net, frame, ms) for net, ms in zip((original, sibling), took, strict=True))
        apart = max(apart, float(np.abs(first - second).max()))
        if first.max() >= SURE:
            sure += 1
            same += bool(first.argmax() == second.argmax())
    original_ms, recast_ms = (round(statistics.median(ms), 3) for ms in took)
    figures = {"pictures": len(frames), "sure": sure, "same": same, "apart": min(1.0, round(apart, 4))}
    return figures | {"original_ms": original_ms, "recast_ms": recast_ms}


def _timed(classifier: Classifier, frame: Frame, took_ms: list[float]) -> NDArray[np.float32]:
    tensor = to_tensor(frame, classifier.facts.input)
    began = time.thread_time_ns()  # not the clock on the wall: others may want the processor too
    scores = classifier.classify(tensor)
    took_ms.append((time.thread_time_ns() - began) / 1e6)
    return scores


def _answer(pipe: Pipe, recaster: Recaster, kind: str, fields: dict[str, Any]) -> None:
    if kind == "part":
        about, part = recaster.part(**fields)
        pipe.send("part", about, part)
        return
    try:
        pipe.send("recast", recaster.recast(**fields))
    except NoSchemaError:
        pipe.send("no_schema", {})
    except ModelFileError as error:  # of the network that was meant this says nothing
        pipe.send("unreadable", {"reason": str(error)})
    except ModelError as error:
        pipe.send("refused", {"reason": str(error)})
    except MemoryError:
        pipe.send("refused", {"reason": f"it needs more than {MEMORY_MB} MB"})


def main() -> None:
    forbid_network()
    pipe = begin(MEMORY_MB)
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_S, CPU_S))
    cv2.setNumThreads(1)
    recaster = Recaster()
    pipe.send("ready", {})
    while (message := pipe.receive()) is not None:
        kind, fields, _ = message
        _answer(pipe, recaster, kind, fields)


if __name__ == "__main__":
    main()
