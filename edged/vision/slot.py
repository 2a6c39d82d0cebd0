"""The place for one frame between the camera and the classifier, where the newest wins and every loss is counted."""

import threading
import time
from dataclasses import dataclass

from edged.vision.frame import Frame


@dataclass
class FrameCounts:
    """captured = inferred + stale + busy + gated + paused, once the slot is empty."""

    captured: int = 0
    inferred: int = 0
    stale: int = 0  # older than max_age_ms when its turn came, or from before the end of a pause
    busy: int = 0  # replaced by a newer one while the classifier worked, or without scores because it failed
    gated: int = 0  # like the one before, or more than a hot board should look at; not worth a look
    paused: int = 0


class Slot:
    """`put` by the capture thread, the rest by the inference loop."""

    def __init__(self, max_age_ms: float) -> None:
        self.max_age_ms = max_age_ms
        self._paused = False
        self._asked_ns = 0
        self._frame: Frame | None = None
        self._counts = FrameCounts()
        self._guard = threading.Lock()
        # held while no frame waits: a condition would do the same in ten times as many steps, and for each frame
        self._empty = threading.Lock()
        self._empty.acquire()

    def put(self, frame: Frame) -> None:
        with self._guard:
            self._counts.captured += 1
            if self._paused:
                self._counts.paused += 1
                return
            if self._frame is not None:
                self._counts.busy += 1
            self._frame = frame
            if self._empty.locked():
                self._empty.release()

    def take(self, timeout_s: float) -> Frame | None:
        """The newest frame, when it is fresh; None when none came in time, or one did and was taken back by a pause.

        Its fate is then `inferred`, `gated` or `busy`.
        """
        self._empty.acquire(timeout=timeout_s)
        with self._guard:
            if self._frame is not None and not self._empty.locked():
                self._empty.acquire()  # this one came between the two
            frame, self._frame = self._frame, None
            if frame is not None and not self._is_fresh(frame):
                self._counts.stale += 1
                return None
            return frame

    def inferred(self) -> None:
        with self._guard:
            self._counts.inferred += 1

    def gated(self) -> None:
        with self._guard:
            self._counts.gated += 1

    def busy(self) -> None:
        """The frame that was taken got no scores: the classifier failed on it."""
        with self._guard:
            self._counts.busy += 1

    def pause(self, paused: bool) -> None:
        with self._guard:
            if self._paused and not paused:
                self._asked_ns = time.monotonic_ns()
            self._paused = paused
            if paused and self._frame is not None:
                self._frame = None
                self._counts.paused += 1

    @property
    def paused(self) -> bool:
        return self._paused

    def is_of_now(self, frame: Frame) -> bool:
        """Whether it may still be looked at: nobody paused since it was taken."""
        with self._guard:
            return not self._paused and frame.captured_ns >= self._asked_ns

    def counts(self) -> dict[str, int]:
        """A balanced account: a frame that still waits for its fate is not yet in it. Ask between two frames."""
        with self._guard:
            counts: dict[str, int] = vars(self._counts).copy()  # for each frame, and asdict takes ten times as long
            counts["captured"] -= self._frame is not None
            return counts

    def _is_fresh(self, frame: Frame) -> bool:
        """Neither older than allowed, nor exposed before somebody asked to look again."""
        return time.monotonic_ns() - frame.captured_ns <= self.max_age_ms * 1e6 and frame.captured_ns >= self._asked_ns
