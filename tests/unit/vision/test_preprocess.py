"""From frames to tensors: the right part, the right colours, the right bytes."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edged.vision.frame import Frame
from edged.vision.preprocess import Input, quantise, to_rgb, to_tensor

RED = (220, 30, 40)


def card(width: int, height: int, rgb: tuple[int, int, int] = RED) -> np.ndarray:
    return np.full((height, width, 3), rgb, np.uint8)


def framed(rgb: np.ndarray, layout: str) -> Frame:
    height, width = rgb.shape[:2]
    if layout == "nv12":
        i420 = cv2.cvtColor(rgb, cv2.COLOR_RGB2YUV_I420)
        chroma = i420[height:].reshape(2, -1)
        pixels = np.vstack([i420[:height], chroma.T.reshape(height // 2, width)])
    else:
        to = {"bgr": cv2.COLOR_RGB2BGR, "gray": cv2.COLOR_RGB2GRAY, "yuv420": cv2.COLOR_RGB2YUV_I420}
        pixels = cv2.cvtColor(rgb, to[layout]) if layout in to else rgb
    return Frame(pixels, layout, width, height, 0)  # type: ignore[arg-type]


@pytest.mark.parametrize("layout", ["bgr", "rgb", "nv12", "yuv420"])
@given(width=st.integers(4, 200).map(lambda n: n * 4), height=st.integers(4, 200).map(lambda n: n * 4))
def test_red_stays_red_in_every_layout(layout, width, height):
    rgb = to_rgb(framed(card(width, height), layout), 96, 96)
    assert rgb.shape == (96, 96, 3)
    assert np.abs(rgb.astype(int) - RED).max() <= 4


@given(
    st.sampled_from(["bgr", "gray", "nv12", "yuv420"]),
    st.tuples(st.floats(0, 0.9), st.floats(0, 0.9), st.floats(0.05, 1), st.floats(0.05, 1)),
    st.sampled_from(["full", "centre", "letterbox"]),
    st.sampled_from([32, 96, 98, 130, 225]),
)
def test_any_part_of_any_frame_becomes_the_wanted_size(layout, region, crop, px):
    x, y, w, h = region
    frame = framed(card(320, 240), layout)
    assert to_rgb(frame, px, px, (x, y, min(w, 1 - x), min(h, 1 - y)), crop).shape == (px, px, 3)


def test_region_takes_that_corner_and_no_other():
    rgb = card(400, 300, (0, 0, 0))
    rgb[150:, 200:] = RED
    seen = to_rgb(framed(rgb, "bgr"), 64, 64, (0.5, 0.5, 0.5, 0.5))
    assert np.abs(seen.astype(int) - RED).max() <= 2
    assert to_rgb(framed(rgb, "bgr"), 64, 64, (0, 0, 0.5, 0.5)).max() == 0


def test_centre_keeps_the_middle_seven_eighths():
    rgb = card(160, 160, (0, 0, 0))
    rgb[10:150, 10:150] = RED
    assert np.abs(to_rgb(framed(rgb, "rgb"), 70, 70, crop="centre").astype(int) - RED).max() <= 2


def test_letterbox_keeps_the_shape_and_fills_with_grey():
    seen = to_rgb(framed(card(200, 100), "rgb"), 64, 64, crop="letterbox")
    assert (seen[0] == 128).all() and (seen[-1] == 128).all()
    assert np.abs(seen[32].astype(int) - RED).max() <= 2


def test_shrinking_does_not_alias():
    stripes = np.zeros((512, 512, 3), np.uint8)
    stripes[:, ::2] = 255
    assert np.abs(to_rgb(framed(stripes, "rgb"), 128, 128).astype(int) - 127).max() <= 2


@given(st.integers(0, 255))
def test_float_input_is_minus_one_to_one(pixel):
    tensor = quantise(np.full((2, 2, 3), pixel, np.uint8), Input(2, 2, "float32"))
    assert tensor.dtype == np.float32
    assert tensor[0, 0, 0] == pytest.approx(pixel / 127.5 - 1, abs=1e-6)


@pytest.mark.parametrize(
    ("dtype", "scale", "zero", "low", "high"),
    [
        ("uint8", 1 / 128, 128, -1, 1),
        ("int8", 1 / 128, 0, -1, 1),
        ("int8", 1 / 127.5, -1, -1, 1),
        ("uint8", 1 / 255, 0, 0, 1),
        ("int8", 1 / 255, -128, 0, 1),
        ("uint8", 1.0, 0, 0, 255),
    ],
)
@given(pixel=st.integers(0, 255))
def test_quantised_input_means_what_the_pixel_means(dtype, scale, zero, low, high, pixel):
    stored = quantise(np.full((1, 1, 3), pixel, np.uint8), Input(1, 1, dtype, scale, zero))
    assert stored.dtype == np.dtype(dtype)
    meant = (int(stored[0, 0, 0]) - zero) * scale
    assert abs(meant - (pixel / 255 * (high - low) + low)) <= 1.6 * scale


def test_the_tensor_is_one_picture():
    assert to_tensor(framed(card(640, 480), "bgr"), Input(128, 128, "uint8", 1 / 128, 128)).shape == (1, 128, 128, 3)
