"""A still scene stays out, a change comes in at once, and the interval is kept."""

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edged.vision.frame import Frame
from edged.vision.gate import Gate, small_luma
from tests.unit.vision.test_preprocess import framed

WHOLE = (0.0, 0.0, 1.0, 1.0)
S = 1_000_000_000
SCENE = np.random.default_rng(1).integers(30, 220, (30, 40, 3), np.uint8).repeat(8, 0).repeat(8, 1)


def at(seconds: float, rgb: np.ndarray = SCENE) -> Frame:
    return Frame(rgb, "rgb", rgb.shape[1], rgb.shape[0], int(seconds * S))


def test_the_first_frame_is_looked_at_and_the_same_again_is_not():
    gate = Gate(0.02, 10)
    assert [gate.is_still(at(t), WHOLE) for t in (0, 1, 2)] == [False, True, True]


def test_noise_is_no_change():
    gate, chance = Gate(0.02, 10), np.random.default_rng(2)
    noisy = [np.clip(SCENE + chance.normal(0, 6, SCENE.shape), 0, 255).astype(np.uint8) for _ in range(10)]
    assert not any(not gate.is_still(at(t, rgb), WHOLE) for t, rgb in enumerate(noisy[1:]) if gate.is_still(at(t, noisy[0]), WHOLE))


def test_a_change_is_seen_on_its_first_frame():
    gate = Gate(0.02, 10)
    changed = SCENE.copy()
    changed[60:180, 80:240] = 255 - changed[60:180, 80:240]
    assert [gate.is_still(at(0), WHOLE), gate.is_still(at(1), WHOLE), gate.is_still(at(2, changed), WHOLE)] == [False, True, False]
    assert gate.is_still(at(3, changed), WHOLE)


def test_a_slow_change_adds_up():
    gate = Gate(0.02, 1000)
    looks = [not gate.is_still(at(t, (SCENE * (1 - t / 200)).astype(np.uint8)), WHOLE) for t in range(100)]
    assert 5 < sum(looks) < 50


def test_the_longest_interval_is_kept():
    gate = Gate(0.02, 5)
    assert [t for t in range(12) if not gate.is_still(at(t), WHOLE)] == [0, 5, 10]


def test_what_is_outside_the_region_does_not_matter():
    gate, region = Gate(0.02, 10), (0.5, 0.5, 0.5, 0.5)
    changed = SCENE.copy()
    changed[:100, :150] = 0
    assert [gate.is_still(at(0), region), gate.is_still(at(1, changed), region)] == [False, True]


def test_forget_makes_it_look():
    gate = Gate(0.02, 10)
    gate.is_still(at(0), WHOLE)
    gate.forget()
    assert not gate.is_still(at(1), WHOLE)


@pytest.mark.parametrize("layout", ["bgr", "rgb", "gray", "nv12", "yuv420"])
def test_brightness_is_the_same_in_every_layout(layout):
    assert np.abs(small_luma(framed(SCENE, layout), WHOLE) - small_luma(framed(SCENE, "gray"), WHOLE)).mean() < 20


@given(
    st.integers(1, 60),
    st.integers(1, 60),
    st.tuples(st.floats(0, 0.9), st.floats(0, 0.9), st.floats(0.01, 0.1), st.floats(0.01, 0.1)),
)
def test_no_size_and_no_region_is_too_small(width, height, region):
    pixels = np.zeros((height, width, 3), np.uint8)
    assert small_luma(Frame(pixels, "bgr", width, height, time.monotonic_ns()), region).shape == (24, 32)
