"""Photographs as phones and cameras write them: upright, in the right colours, and made smaller on the way where they are large."""

import struct
from pathlib import Path

import cv2
import numpy as np
import pytest

from edged.vision.classify import load_picture, to_enough_px
from edged.vision.decode import PictureError
from edged.vision.preprocess import Input
from tests.campaigns.test_mutated_pictures import jpeg_that_says
from tests.things import draw

ENOUGH = 300
# how EXIF's orientation is undone, by numpy: 1 to 8
UPRIGHT = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
    8: lambda a: np.rot90(a),
}


def photograph(width: int, height: int) -> np.ndarray:
    """(height, width, 3) uint8 BGR, no two corners of which are alike."""
    picture = cv2.resize(draw("discs", 3), (width, height), interpolation=cv2.INTER_CUBIC)
    picture[: height // 4, : width // 4] = (0, 200, 255)
    picture[-height // 4 :, : width // 4] = (255, 0, 0)
    return picture


def with_orientation(jpeg: bytes, number: int) -> bytes:
    """An Exif segment with nothing but the orientation, after the start of the image."""
    table = b"MM\0*\0\0\0\x08" + struct.pack(">HHHIHHI", 1, 0x0112, 3, 1, number, 0, 0)
    body = b"Exif\0\0" + table
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + jpeg[2:]


def is_alike(one: np.ndarray, other: np.ndarray) -> bool:
    small = [cv2.resize(np.ascontiguousarray(a), (64, 64), interpolation=cv2.INTER_AREA).astype(float) for a in (one, other)]
    return bool(np.abs(small[0] - small[1]).mean() < 4)


@pytest.mark.parametrize("options", [(), (cv2.IMWRITE_JPEG_PROGRESSIVE, 1)], ids=["baseline", "progressive"])
@pytest.mark.parametrize("number", list(UPRIGHT))
def test_a_photograph_is_upright(tmp_path: Path, number: int, options: tuple[int, ...]) -> None:
    stored = photograph(1600, 1216)
    path = tmp_path / "held.jpg"
    path.write_bytes(with_orientation(cv2.imencode(".jpg", stored, list(options))[1].tobytes(), number))
    wanted = UPRIGHT[number](stored)
    whole, less = load_picture(path), load_picture(path, ENOUGH)
    assert whole.pixels.shape == wanted.shape and is_alike(whole.pixels, wanted)
    assert (less.height, less.width) == (wanted.shape[0] // 4, wanted.shape[1] // 4)
    assert less.pixels.shape == (less.height, less.width, 3) and is_alike(less.pixels, wanted)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".bmp"])
@pytest.mark.parametrize(("side", "less"), [(599, 1), (600, 2), (1199, 2), (1200, 4), (2400, 8), (5000, 8)])
def test_a_large_one_is_made_smaller_and_never_too_small(tmp_path: Path, suffix: str, side: int, less: int) -> None:
    path = tmp_path / f"large{suffix}"
    path.write_bytes(cv2.imencode(suffix, photograph(side + 40, side))[1].tobytes())
    frame = load_picture(path, ENOUGH)
    assert frame.height in (side // less, -(-side // less)) and frame.height >= min(side, ENOUGH)
    assert is_alike(frame.pixels, photograph(side + 40, side))


def test_what_is_finer_than_what_is_left_becomes_its_mean(tmp_path: Path) -> None:
    """Stripes of one pixel are grey, and no pattern of chance."""
    stripes = np.zeros((2400, 2400, 3), np.uint8)
    stripes[:, ::2] = 255
    path = tmp_path / "stripes.png"
    path.write_bytes(cv2.imencode(".png", stripes)[1].tobytes())
    assert np.ptp(load_picture(path, ENOUGH).pixels) <= 1


def test_16_bits_and_cmyk(tmp_path: Path) -> None:
    picture = photograph(1600, 1216)
    deep = tmp_path / "deep.png"
    deep.write_bytes(cv2.imencode(".png", picture.astype(np.uint16) * 257)[1].tobytes())
    image = pytest.importorskip("PIL.Image")
    printed = tmp_path / "printed.jpg"
    image.fromarray(picture[:, :, ::-1]).convert("CMYK").save(printed, quality=95)
    for path in (deep, printed):
        for enough_px in (0, ENOUGH):
            frame = load_picture(path, enough_px)
            assert frame.pixels.dtype == np.uint8 and is_alike(frame.pixels, picture), (path, enough_px)


@pytest.mark.parametrize("enough_px", [0, ENOUGH])
def test_more_pixels_than_are_decoded_are_refused_before(tmp_path: Path, enough_px: int) -> None:
    path = tmp_path / "wide.jpg"
    path.write_bytes(jpeg_that_says(60_000, 60_000))
    with pytest.raises(PictureError, match="has too many pixels to decode"):
        load_picture(path, enough_px)


def test_how_much_is_enough() -> None:
    """Twice the network's side, in the middle 87.5 % of a region of a tenth."""
    assert to_enough_px(Input(160, 160, "int8")) == 366
    assert to_enough_px(Input(160, 160, "int8"), (0.2, 0.3, 0.1, 0.5)) == 3658
