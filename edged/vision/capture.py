"""The capture thread: opens the camera, fills the slot, names what is wrong, and opens the camera again."""

import threading
import time
from collections.abc import Callable
from dataclasses import replace

from edged.process.phases import START
from edged.vision.cameras.camera import Camera, CameraFault
from edged.vision.frame import Frame
from edged.vision.frozen import Vitals, checked
from edged.vision.slot import Slot

OPENING_S = 15.0  # libraries that load slowly, and cameras that wake slowly
_FIRST_DELAY_S, _LONGEST_DELAY_S = 0.5, 8.0  # a camera that is back must be seen within 15 s

_AT_FIRST = 10  # pictures
_OLDEST_NS = 60_000_000_000  # no picture that is older is ever of use (camera.max_age_ms)

Report = Callable[[str, str, str], None]  # state, fault, sentence


class Capture(threading.Thread):
    """`report` is called from this thread with camera states; `overdue_s` tells others that a call does not come back.

    frozen_s: the same picture for longer is a fault; 0 = never.
    silent_s: a call that is out for longer hangs.
    on_fault: called after a fault that this process must not mend by itself; None = open the camera again.
    """

    def __init__(
        self,
        open_camera: Callable[[], Camera],
        slot: Slot,
        report: Report,
        *,
        frozen_s: float,
        silent_s: float,
        on_fault: Callable[[], None] | None = None,
    ) -> None:
        super().__init__(name="capture", daemon=True)
        self._open, self._slot, self._report, self._on_fault = open_camera, slot, report, on_fault
        self._frozen_s, self._silent_s = frozen_s, silent_s
        self._stopping = threading.Event()
        self._again = threading.Event()  # the camera is to be opened anew, with other values
        self._call: tuple[int, float] | None = None  # when the call into the camera's library was made, how long it may take
        self._vitals = Vitals()
        self._index = 0
        self._state = ("", "")
        self._said = ""

    def run(self) -> None:
        delay_s = _FIRST_DELAY_S
        while not self._stopping.is_set():
            self._again.clear()
            try:
                self._film()
                continue
            except CameraFault as fault:
                self._call = None
                was_good = self._state[0] == "ok"
                self._tell_fault(fault)
                if fault.reason == "ended":
                    return
                if self._on_fault is not None:
                    self._on_fault()
                    return
                delay_s = _FIRST_DELAY_S if was_good else min(delay_s * 2, _LONGEST_DELAY_S)
            self._stopping.wait(delay_s)

    def overdue_s(self) -> float:
        """For how long the present call into the camera's library has been out, once that is too long; else 0."""
        call = self._call
        if call is None:
            return 0.0
        waited_s = (time.monotonic_ns() - call[0]) / 1e9
        return waited_s if waited_s > call[1] else 0.0

    def stop(self) -> None:
        self._stopping.set()

    def open_again(self, *, silent_s: float) -> None:
        """Open the camera with other values. silent_s: as at the beginning."""
        self._silent_s = silent_s
        self._again.set()

    def tell_again(self) -> None:
        """Report the present state, for somebody who did not listen."""
        if self._state[0]:
            self._report(*self._state, self._said)

    def _film(self) -> None:
        self._call = time.monotonic_ns(), OPENING_S
        camera = self._open()
        START.ended("camera opened")
        self._vitals.opened()
        try:
            seen = 0
            while not self._stopping.is_set() and not self._again.is_set():
                self._call = time.monotonic_ns(), self._silent_s
                frame = to_own_clock(checked(camera.read()), time.monotonic_ns())
                self._call = None
                self._vitals.see(frame)
                seen += 1
                if self._frozen_s and self._vitals.still_s > self._frozen_s:
                    if seen <= _AT_FIRST:
                        continue  # one that was opened again may begin with what it showed before
                    raise CameraFault("frozen", f"the camera has shown the same picture for more than {self._frozen_s:g} s")
                self._slot.put(replace(frame, index=self._index))
                self._index += 1
                if self._vitals.dark:
                    self._tell("ok", "dark", "the picture is black: is the lens covered, or is it night?")
                else:
                    self._tell("ok")
        finally:
            self._call = time.monotonic_ns(), self._silent_s
            camera.close()
            self._call = None

    def _tell_fault(self, fault: CameraFault) -> None:
        if fault.reason == "absent" and self._state == ("lost", "unplugged"):
            return  # what was unplugged is still away
        self._tell("frozen" if fault.reason == "frozen" else "lost", fault.reason, str(fault))

    def _tell(self, state: str, fault: str = "", sentence: str = "") -> None:
        """Changes only; a sentence may count something, and is then no news."""
        if (state, fault) != self._state:
            self._state, self._said = (state, fault), sentence
            if state == "ok":
                START.ended("first frame")
            self._report(state, fault, sentence)


def to_own_clock(frame: Frame, now_ns: int) -> Frame:
    """The frame with a time that can be: a driver's or a sensor's clock may be another one than ours. Pure."""
    if 0 <= now_ns - frame.captured_ns <= _OLDEST_NS:
        return frame
    return replace(frame, captured_ns=now_ns if frame.captured_ns > now_ns else max(0, now_ns - _OLDEST_NS - 1))
