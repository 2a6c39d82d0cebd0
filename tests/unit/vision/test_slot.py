"""The slot: newest wins, and every frame has exactly one fate."""

import time

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from edged.vision.frame import Frame
from edged.vision.slot import Slot

PIXELS = np.zeros((2, 2, 3), np.uint8)


def frame(index: int, age_ms: float = 0) -> Frame:
    return Frame(PIXELS, "bgr", 2, 2, time.monotonic_ns() - int(age_ms * 1e6), index)


@given(st.lists(st.sampled_from(["put", "put old", "infer", "gate", "pause", "resume"])))
def test_counters_balance_whatever_happens(deeds):
    slot = Slot(max_age_ms=10_000)
    put = 0
    for deed in deeds:
        if deed.startswith("put"):
            slot.put(frame(put, age_ms=20_000 if deed == "put old" else 0))
            put += 1
        elif deed in ("pause", "resume"):
            slot.pause(deed == "pause")
        elif slot.take(0) is not None:
            slot.inferred() if deed == "infer" else slot.gated()
        counts = slot.counts()
        assert counts["captured"] == sum(v for k, v in counts.items() if k != "captured")
        assert put - counts["captured"] in (0, 1)


def test_the_newest_wins_and_the_older_is_busy():
    slot = Slot(max_age_ms=10_000)
    slot.put(frame(1))
    slot.put(frame(2))
    taken = slot.take(0)
    assert taken is not None and taken.index == 2
    assert slot.counts()["busy"] == 1


def test_an_old_frame_is_never_given_out():
    slot = Slot(max_age_ms=100)
    slot.put(frame(1, age_ms=150))
    assert slot.take(0) is None
    assert slot.counts()["stale"] == 1
