"""A camera that fails in every way that cameras do, on demand: a file names the fault of the moment.

Put into a real vision process by tests/stand_in; the file is $EDGED_FAULT_FILE.
"""

import ctypes
import os
import time
from pathlib import Path
from typing import Any

import numpy as np

from edged.vision.cameras.camera import CameraFault
from edged.vision.frame import Frame

_FOREVER_S = 1_000_000
# fault → the word that subscribers are told; process: the vision process itself had to go
FAULTS = {
    "hold_gil": "process",
    "block": "hang",
    "none": "read_error",
    "exception": "process",
    "read_error": "read_error",
    "unplugged": "unplugged",
    "busy": "busy",
    "same": "frozen",
    "odd": "format",
    "block_open": "hang",
}


class FaultCamera:
    def __init__(self, source: str, *, fps: float, **_: Any) -> None:
        self._file, self._period_s = Path(os.environ["EDGED_FAULT_FILE"]), 1 / fps
        self._chance = np.random.default_rng(1)
        self._scene = self._chance.integers(0, 200, (480, 640, 3), np.uint8)
        fault = self._fault()
        if fault == "block_open":
            ctypes.CDLL(None).sleep(_FOREVER_S)
        if fault in ("busy", "unplugged"):
            raise CameraFault("busy" if fault == "busy" else "absent", f"{source}: cannot be opened")

    def read(self) -> Frame:
        fault = self._fault()
        if fault == "hold_gil":
            ctypes.PyDLL(None).sleep(_FOREVER_S)
        if fault == "block":
            ctypes.CDLL(None).sleep(_FOREVER_S)
        if fault == "none":
            return None  # type: ignore[return-value]
        if fault == "exception":
            raise RuntimeError("from deep within the camera's library")
        if fault == "unplugged":
            raise CameraFault("unplugged", "the camera was unplugged")
        if fault in ("read_error", "busy", "block_open"):  # the latter two go on when it is opened again
            raise CameraFault("read_error", "the camera gives no more frames")
        time.sleep(self._period_s * (20 if fault == "slow" else 1))  # this is how a camera makes one wait for its frames
        if fault == "odd":
            return Frame(np.zeros((721, 641), np.uint8), "nv12", 641, 481, time.monotonic_ns())
        if fault == "black":
            return Frame(np.full((480, 640, 3), 5, np.uint8), "bgr", 640, 480, time.monotonic_ns())
        pixels = self._scene.copy()
        if fault != "same":
            pixels[:8] = self._chance.integers(0, 255, (8, 640, 3), np.uint8)
        return Frame(pixels, "bgr", 640, 480, time.monotonic_ns())

    def close(self) -> None:
        return

    def _fault(self) -> str:
        return self._file.read_text().strip()
