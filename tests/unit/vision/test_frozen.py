"""Frozen, dark, or not a frame at all."""

import cv2
import numpy as np
import pytest

from edged.vision.cameras.camera import CameraFault
from edged.vision.cameras.pace import Pace
from edged.vision.cameras.v4l2 import to_exposed_ns
from edged.vision.capture import to_own_clock
from edged.vision.frame import Frame
from edged.vision.frozen import Vitals, checked
from edged.vision.snapshot import to_jpeg
from tests.unit.vision.test_gate import SCENE, WHOLE, at


def test_the_same_picture_is_counted_and_a_new_one_ends_it():
    vitals = Vitals()
    other = SCENE.copy()
    other[0, 0] ^= 1
    for seconds in range(1, 41):
        vitals.see(at(seconds))
    assert vitals.still_s == 39
    vitals.see(at(41, other))
    assert vitals.still_s == 0


def test_black_is_dark_after_a_while_and_never_frozen():
    vitals = Vitals()
    for seconds in range(1, 41):
        vitals.see(at(seconds, np.full_like(SCENE, 9)))
        assert vitals.dark == (seconds > 6)
    assert vitals.still_s == 0
    vitals.see(at(41))
    assert not vitals.dark


def test_a_noisy_night_is_dark_in_time_at_thirty_frames_a_second_and_the_morning_is_seen():
    vitals, rng = Vitals(), np.random.default_rng(1)
    for number in range(1, 400):
        vitals.see(at(number / 30, rng.integers(3, 7, SCENE.shape, np.uint8)))
        assert vitals.dark == (vitals.dark_s > 5)
    assert vitals.dark_s == pytest.approx(398 / 30, abs=0.001) and vitals.still_s == 0
    for number in range(400, 406):
        vitals.see(at(number / 30, rng.integers(0, 255, SCENE.shape, np.uint8)))
    assert not vitals.dark


def test_white_is_neither():
    vitals = Vitals()
    for seconds in range(1, 41):
        vitals.see(at(seconds, np.full_like(SCENE, 255)))
    assert not vitals.dark and vitals.still_s == 0


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (None, "read_error"),
        (Frame(np.zeros((481, 641), np.uint8), "nv12", 641, 481, 0), "format"),
        (Frame(np.zeros((721, 641), np.uint8), "nv12", 641, 481, 0), "format"),
        (Frame(np.zeros((480, 640), np.uint8), "bgr", 640, 480, 0), "format"),
        (Frame(np.zeros((480, 640, 4), np.uint8), "bgr", 640, 480, 0), "format"),
        (Frame(np.zeros((480, 640, 3), np.uint16), "bgr", 640, 480, 0), "format"),  # type: ignore[arg-type]
        (Frame(np.zeros((0, 0, 3), np.uint8), "bgr", 0, 0, 0), "format"),
    ],
)
def test_what_is_no_frame_is_a_fault(frame, reason):
    with pytest.raises(CameraFault) as told:
        checked(frame)
    assert told.value.reason == reason


@pytest.mark.parametrize("layout", ["bgr", "rgb"])
def test_an_odd_size_is_fine_where_no_plane_is_halved(layout):
    assert checked(Frame(np.zeros((481, 641, 3), np.uint8), layout, 641, 481, 0)).width == 641


@pytest.mark.parametrize(
    ("camera_fps", "asked", "wanted"),
    [(30, 5, 5), (30, 30, 30), (29.97, 30, 29.97), (30, 12, 12), (5, 30, 5), (31, 30, 30)],
)
def test_the_pace_is_what_was_asked_for_or_what_there_is(camera_fps, asked, wanted):
    chance, pace = np.random.default_rng(1), Pace(asked)
    jitter_ns = 1e9 / camera_fps * 0.1
    times = [int(n * 1e9 / camera_fps + chance.uniform(-jitter_ns, jitter_ns)) for n in range(1, 1000)]
    assert sum(map(pace.is_due, times)) / (999 / camera_fps) == pytest.approx(wanted, rel=0.05)


@pytest.mark.parametrize("max_kb", [4, 16, 64, 1024])
def test_a_snapshot_keeps_its_bounds(max_kb):
    noise = np.random.default_rng(1).integers(0, 255, (1080, 1920, 3), np.uint8)
    jpeg = to_jpeg(Frame(noise, "bgr", 1920, 1080, 0), WHOLE, max_px=640, quality=80, max_kb=max_kb)
    assert len(jpeg) <= max_kb * 1024
    back = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert max(back.shape[:2]) <= 640
    assert back.shape[1] / back.shape[0] == pytest.approx(16 / 9, rel=0.1)


def test_time_without_pictures_is_no_time_with_the_same_one():
    """A stream that begins with the same frames after an outage is not frozen, and one that repeats itself still is."""
    vitals = Vitals()
    vitals.opened()
    for seconds in (1, 2):
        vitals.see(at(seconds))
    vitals.opened()
    vitals.see(at(1000))
    assert vitals.still_s == 1 and not vitals.dark
    for seconds in range(1001, 1041):
        vitals.see(at(seconds))
    assert vitals.still_s == 41


@pytest.mark.parametrize(
    ("told_ns", "wanted_ns"),
    [
        (10**12, 10**12),
        (10**12 + 1, 10**12),
        (2**63, 10**12),
        (10**12 - 59 * 10**9, 10**12 - 59 * 10**9),
        (-5, 10**12 - 60 * 10**9 - 1),
        (0, 10**12 - 60 * 10**9 - 1),
    ],
)
def test_a_time_that_can_not_be_is_replaced(told_ns, wanted_ns):
    frame = Frame(np.zeros((2, 2, 3), np.uint8), "bgr", 2, 2, told_ns)
    assert to_own_clock(frame, 10**12).captured_ns == wanted_ns


@pytest.mark.parametrize("told", [None, "x", -1, 2**63, float("nan"), float("inf"), True, 10**12 + 1])
def test_a_drivers_time_that_is_none_is_now(told):
    assert to_exposed_ns(told, 10**12) == 10**12


def test_a_drivers_time_is_believed():
    assert to_exposed_ns(10**12 - 5.4, 10**12) == 10**12 - 5


def test_a_picture_too_large_is_a_fault():
    with pytest.raises(CameraFault, match="too large"):
        checked(Frame(np.zeros((1, 1, 3), np.uint8), "bgr", 20_000, 20_000, 0))
