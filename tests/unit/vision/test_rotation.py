"""Turning, and taking the padding off: the same picture in every layout."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edged.vision.cameras.planes import unpadded
from edged.vision.cameras.rotation import rotated
from edged.vision.frame import Frame
from tests.unit.vision.test_preprocess import framed

sides = st.integers(2, 24).map(lambda half: half * 4)


@given(sides, sides, st.sampled_from([0, 90, 180, 270]), st.sampled_from(["bgr", "rgb", "gray", "nv12", "yuv420"]))
def test_turning_is_what_numpy_calls_turning(width, height, degrees, layout):
    # blocks of 4, so that halved chroma has no edges to blur
    blocks = np.random.default_rng(width * height).integers(16, 235, (height // 4, width // 4, 3), np.uint8)
    rgb = blocks.repeat(4, 0).repeat(4, 1)
    turned = rotated(framed(rgb, layout), degrees)
    wanted = framed(np.ascontiguousarray(np.rot90(rgb, -degrees // 90)), layout)
    assert (turned.width, turned.height) == (wanted.width, wanted.height)
    assert np.abs(turned.pixels.astype(int) - wanted.pixels).max() <= 2


@pytest.mark.parametrize("given_as", ["YUV420", "YVU420", "NV12", "NV21", "RGB888", "BGR888", "XRGB8888", "XBGR8888"])
@given(width=sides, height=sides, padding=st.integers(0, 4).map(lambda n: n * 8))
def test_padding_comes_off_and_the_order_is_ours(given_as, width, height, padding):
    pixels = np.random.default_rng(width + height).integers(0, 255, (height, width, 3), np.uint8)
    i420 = cv2.cvtColor(pixels, cv2.COLOR_RGB2YUV_I420)
    luma, (u, v) = i420[:height], i420[height:].reshape(2, height // 2, width // 2)
    if given_as in ("YUV420", "YVU420"):
        buffer = np.full((height * 3 // 2, width + padding), 99, np.uint8)
        buffer[:height, :width] = luma
        both = buffer[height:].reshape(2, height // 2, (width + padding) // 2)
        both[:, :, : width // 2] = (u, v) if given_as == "YUV420" else (v, u)
        wanted = i420
    elif given_as in ("NV12", "NV21"):
        pairs = np.dstack((u, v) if given_as == "NV12" else (v, u)).reshape(height // 2, width)
        buffer = np.pad(np.vstack([luma, pairs]), ((0, 0), (0, padding)), constant_values=99)
        wanted = framed(pixels, "nv12").pixels
    else:
        buffer = pixels if "8888" not in given_as else np.dstack([pixels, np.full((height, width), 255, np.uint8)])
        wanted = pixels
    assert np.array_equal(unpadded(buffer, given_as, width, height), wanted)
    assert Frame(unpadded(buffer, given_as, width, height), "rgb", width, height, 0).pixels.flags.c_contiguous
