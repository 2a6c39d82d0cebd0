"""The vision process's loop, without its process: what must hold between two frames and two threads."""

import threading
import time
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edged.errors import ModelError
from edged.process.pipe import Pipe
from edged.process.protocol import FROM_VISION
from edged.vision.frame import Frame
from edged.vision.gate import Gate
from edged.vision.process import Vision


class _Input:
    width = height = 32
    dtype, scale, zero, float_range = "uint8", 1.0, 0, (0.0, 1.0)


class Fails:
    """A classifier whose runtime gives up on the first frame."""

    class facts:  # noqa: N801
        input = _Input

    def run(self, _tensor: NDArray[Any]) -> NDArray[np.generic]:
        raise ModelError("the runtime failed")


class AskedLock:
    """A lock that says when a second one asks for it."""

    def __init__(self) -> None:
        self._lock, self._asked, self.twice = threading.Lock(), 0, threading.Event()

    def __enter__(self) -> None:
        self._asked += 1
        if self._asked == 2:
            self.twice.set()
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()


def frame() -> Frame:
    return Frame(np.zeros((48, 64, 3), np.uint8), "bgr", 64, 48, time.monotonic_ns())


@pytest.fixture
def ends() -> Any:
    ours, theirs = Pipe.pair(FROM_VISION)
    yield ours, Vision(theirs)
    ours.close()


def test_a_frame_on_which_the_model_failed_is_accounted_for(ends: Any) -> None:
    pipe, vision = ends
    vision._slot.put(frame())
    taken = vision._slot.take(0)
    vision._look(Fails(), taken)
    assert pipe.receive()[:2] == ("model_failed", {"reason": "the runtime failed"})
    counts = vision._slot.counts()
    assert counts["captured"] == 1 == sum(counts.values()) - counts["captured"]


@pytest.mark.parametrize("paused", [True, False])
def test_the_gate_forgets_only_between_two_frames(ends: Any, paused: bool) -> None:
    """While a frame is compared, a pause waits: what is compared with must not vanish in the middle."""
    _, vision = ends
    gate = vision._gate = Gate(threshold=0.1, max_interval_s=60.0)
    assert not gate.is_still(frame(), (0.0, 0.0, 1.0, 1.0)) and gate.is_still(frame(), (0.0, 0.0, 1.0, 1.0))
    asked = vision._switching = AskedLock()
    with vision._switching:
        thread = threading.Thread(target=vision._on_pause, args=(paused,))
        thread.start()
        assert asked.twice.wait(10), "it does not ask for the lock"
        assert gate.is_still(frame(), (0.0, 0.0, 1.0, 1.0))
    thread.join()
    assert not gate.is_still(frame(), (0.0, 0.0, 1.0, 1.0))


def test_what_is_told_live_is_in_force_for_the_next_frame(ends: Any) -> None:
    _, vision = ends
    vision._on_tune(5.0, [0.1, 0.1, 0.5, 0.5], 900.0, {"threshold": 0.1, "max_interval_s": 1.0}, ["on_event"])
    assert vision._region == (0.1, 0.1, 0.5, 0.5) and vision._slot.max_age_ms == 900.0 and vision._gate is not None
    vision._on_tune(5.0, [0.0, 0.0, 1.0, 1.0], 500.0, None, [])
    assert vision._gate is None and not vision._allowed
