"""The capture thread: opens the camera, fills the slot, and opens it again when it fails."""

import threading
import time
from collections.abc import Callable
from dataclasses import replace

from edged.vision.camera import Camera, CameraFault
from edged.vision.slot import Slot

_FIRST_DELAY_S, _LONGEST_DELAY_S = 0.5, 10.0

Report = Callable[[str, str, str], None]  # state, fault, sentence


class Capture(threading.Thread):
    """`report` is called from this thread with camera states; `waiting_s` tells others how long a call has been out."""

    def __init__(self, open_camera: Callable[[], Camera], slot: Slot, report: Report) -> None:
        super().__init__(name="capture", daemon=True)
        self._open, self._slot, self._report = open_camera, slot, report
        self._stopping = threading.Event()
        self._called_ns: int | None = None
        self._index = 0

    def run(self) -> None:
        delay_s = _FIRST_DELAY_S
        while not self._stopping.is_set():
            before = self._index
            try:
                self._film()
            except CameraFault as fault:
                self._called_ns = None
                self._report("lost", fault.reason, str(fault))
                if fault.reason == "ended":
                    return
            delay_s = _FIRST_DELAY_S if self._index > before else min(delay_s * 2, _LONGEST_DELAY_S)
            self._stopping.wait(delay_s)

    def waiting_s(self) -> float:
        """How long the call into the camera's library that is out now has been out; 0 when there is none."""
        called_ns = self._called_ns
        return 0.0 if called_ns is None else (time.monotonic_ns() - called_ns) / 1e9

    def stop(self) -> None:
        self._stopping.set()

    def _film(self) -> None:
        self._called_ns = time.monotonic_ns()
        camera = self._open()
        try:
            good = False
            while not self._stopping.is_set():
                self._called_ns = time.monotonic_ns()
                frame = camera.read()
                self._called_ns = None
                self._slot.put(replace(frame, index=self._index))
                self._index += 1
                if not good:
                    self._report("ok", "", "")
                    good = True
        finally:
            camera.close()
