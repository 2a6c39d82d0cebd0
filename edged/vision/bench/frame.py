"""`python -m edged.vision.bench.frame`: the throw-away process that measures what a frame costs, by the vision process's own parts.

A camera in memory, the capture thread, the slot, the loop's own step, and the pipe, at whose other end another process
reads: nothing of it is made for measuring but the camera. In turn with it the network alone, as often. The asking end is
edged/models/bench.py.
"""

import math
import os
import statistics
import threading
import time
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edged.errors import ModelError
from edged.process.pipe import Pipe
from edged.process.sandbox import begin
from edged.system.shapes import WHOLE, Region
from edged.vision.cameras import kinds
from edged.vision.frame import Frame
from edged.vision.probe import to_frame
from edged.vision.process import Vision

MEMORY_MB = 1024
_PICTURES = 2  # that follow one another; what a camera gives was just written by its library, so it is still in a cache
_WARM = 10
_ROUND_S = 1.0
_KIND = "memory"


class MemoryCamera:
    """Frames that lie in memory, at a rate; each when `turn` is released, so that nothing is captured between two rounds."""

    turn = threading.Lock()  # held while no frame is asked for; a camera's library blocks in C, and so does a lock
    turn.acquire()

    def __init__(self, source: str, *, layout: str, width_px: int, height_px: int) -> None:
        """layout: of a frame, or mjpeg: JPEG of a camera, which is decoded at each read."""
        smooth = cv2.resize(to_frame("bgr", 16, 12).pixels, (width_px, height_px), interpolation=cv2.INTER_CUBIC)
        self._jpeg: NDArray[np.uint8] | None = None
        if layout == "mjpeg":
            self._jpeg = np.frombuffer(cv2.imencode(".jpg", smooth)[1].tobytes(), np.uint8)
            self._shown: list[Frame] = []
        else:
            self._shown = [to_frame(layout, width_px, height_px) for _ in range(_PICTURES)]  # type: ignore[arg-type]
        self._count = 0

    def read(self) -> Frame:
        """The next frame, once it is asked for; captured_ns is the moment."""
        self.turn.acquire()
        self._count += 1
        now_ns = time.monotonic_ns()
        if self._jpeg is not None:
            pixels = cv2.imdecode(self._jpeg, cv2.IMREAD_COLOR)
            assert pixels is not None
            height, width = pixels.shape[:2]
            return Frame(pixels, "bgr", width, height, now_ns)  # type: ignore[arg-type]
        shown = self._shown[self._count % _PICTURES]
        return Frame(shown.pixels, shown.layout, shown.width, shown.height, now_ns)

    def close(self) -> None:
        """Nothing to close."""


class FrameBench:
    """One model, one kind of frame."""

    def __init__(self, pipe: Pipe, width: int, height: int, layout: str, region: Region, crop: str) -> None:
        kinds.KINDS[_KIND] = (__name__, MemoryCamera.__name__, frozenset({"layout", "width_px", "height_px"}))
        self._vision = Vision(pipe)
        camera = {"kind": _KIND, "source": "", "layout": layout, "width_px": width, "height_px": height, "fps": 30.0}
        self._vision._on_configure(camera, list(region), crop, max_age_ms=60_000.0, no_frame_s=1000.0)

    def load(self, path: str, sha256: str, labels: int, output: Any, threads: int) -> None:
        """Raises ModelError."""
        self._vision._on_load(path, sha256, labels, output, threads)
        if self._vision._loaded is None:
            raise ModelError("the model does not load")

    def measure(self, fps: float, seconds: float) -> dict[str, Any]:
        """fps: 0 = one frame after the other."""
        for _ in range(_WARM):
            self.step()
        cpu, alone, took_ms, alone_ms = [], [], list[float](), list[float]()
        for _ in range(max(3, math.ceil(seconds / _ROUND_S))):
            cpu.append(self._frames(fps, took_ms))
            alone.append(self._alone(alone_ms))
        facts = self._vision._loaded.classifier.facts  # type: ignore[union-attr]
        return {
            "pipeline_cpu_ms": statistics.median(cpu),
            "invoke_cpu_ms": statistics.median(alone),
            "ratio": statistics.median(a / b for a, b in zip(cpu, alone, strict=True)),
            "pipeline_ms": _quantiles(took_ms),
            "invoke_ms": _quantiles(alone_ms),
            "fps": 1000 / statistics.median(took_ms),
            "results": len(took_ms) + _WARM,
            "runtime": facts.runtime,
            "delegate": facts.delegate,
            "threads": facts.threads,
        }

    def _frames(self, fps: float, took_ms: list[float]) -> float:
        """One round: processor time of the whole process for a frame."""
        began, cpu_ns, count = time.monotonic(), time.process_time_ns(), 0
        while time.monotonic() - began < _ROUND_S or count < 3:
            took_ms.append(self.step())
            count += 1
            if fps:
                time.sleep(max(0.0, began + count / fps - time.monotonic()))
        return (time.process_time_ns() - cpu_ns) / 1e6 / count

    def step(self) -> float:
        """One frame, from the camera's memory to the sent result, in ms."""
        vision = self._vision
        MemoryCamera.turn.release()
        frame = vision._slot.take(timeout_s=10.0)
        assert frame is not None and vision._loaded is not None
        with vision._switching:
            vision._look(vision._loaded.classifier, frame)
        took_ns = time.monotonic_ns() - frame.captured_ns
        vision._beat()
        return took_ns / 1e6

    def _alone(self, alone_ms: list[float]) -> float:
        """One round of the network alone: processor time for an inference."""
        net = self._vision._loaded.classifier._net  # type: ignore[union-attr]
        net.invoke()
        began, cpu_ns, count = time.monotonic(), time.process_time_ns(), 0
        while time.monotonic() - began < _ROUND_S / 4 or count < 3:
            at_ns = time.monotonic_ns()
            net.invoke()
            alone_ms.append((time.monotonic_ns() - at_ns) / 1e6)
            count += 1
        return (time.process_time_ns() - cpu_ns) / 1e6 / count


def _quantiles(took_ms: list[float]) -> list[float]:
    low, high = np.quantile(took_ms, (0.5, 0.95), method="higher")
    return [float(low), float(high)]


def main() -> None:
    pipe = begin(MEMORY_MB)
    pipe.send("ready", {"pid": os.getpid()})  # as the vision process does
    message = pipe.receive()
    assert message is not None
    _, wanted, _ = message
    cv2.setNumThreads(1)  # as Vision.run does
    bench = FrameBench(pipe, wanted["width"], wanted["height"], wanted["layout"], tuple(wanted["region"]) or WHOLE, wanted["crop"])
    try:
        bench.load(*(wanted[key] for key in ("path", "sha256", "labels", "output", "threads")))
        pipe.send("benched", bench.measure(wanted["fps"], wanted["seconds"]))
    except ModelError as error:
        pipe.send("refused", {"reason": str(error)})
    pipe.receive()  # until the asking end has read it
    os._exit(0)  # the camera's thread waits for ever


if __name__ == "__main__":
    main()
