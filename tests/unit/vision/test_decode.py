"""Picture files that ask for hours of work in a few bytes are refused before they are decoded; what cameras write is not."""

import os
import zlib

import cv2
import numpy as np
import pytest

from edged.vision.decode import PictureError, decode

MOST = 20_000_000, 64_000_000


def jpeg(*options: int) -> bytes:
    noise = np.random.default_rng(1).integers(0, 255, (60, 80, 3), np.uint8)
    return cv2.imencode(".jpg", noise, list(options))[1].tobytes()


def last_scan(data: bytes) -> bytes:
    """The head of the last scan of a JPEG: with nothing behind it, it is one more scan."""
    at = data.rindex(b"\xff\xda")
    return data[at : at + 2 + int.from_bytes(data[at + 2 : at + 4])]


PROGRESSIVE = jpeg(cv2.IMWRITE_JPEG_PROGRESSIVE, 1)
MORE = last_scan(PROGRESSIVE)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (PROGRESSIVE[:-2] + MORE * 2000 + b"\xff\xd9", "scans"),
        (PROGRESSIVE[:-2] + b"\xff\xd1" * 9000 + MORE * 2000, "scans"),
        (jpeg()[:-2] + last_scan(jpeg()) * 2000, "scans"),
        (PROGRESSIVE[:-2] + b"\xff\xfe\0\2" * 9000 + b"\xff\xd9", "marks"),
        (b"\xff\xd8" + b"\xff" * (47 << 20), "marks"),
        (b"\xff\xd8" + b"\xff\xd0" * 10_000_000, "marks"),
        (b"\xff\xd8" + b"\xff\xe0\0\2" * 5_000_000, "marks"),
    ],
    ids=["scans", "scans after marks", "plain scans", "comments between", "filling", "restarts", "empty segments"],
)
def test_a_picture_of_endless_work_is_refused(data: bytes, why: str) -> None:
    with pytest.raises(PictureError, match=f"JPEG.* more than [0-9]+ {why}"):
        decode(data, *MOST)


PACKED = zlib.compress(bytes(40 << 20))


def chunk(kind: bytes, data: bytes) -> bytes:
    return len(data).to_bytes(4) + kind + data + zlib.crc32(kind + data).to_bytes(4)


def png(width: int, height: int, *chunks: bytes, colours: int = 2) -> bytes:
    head = width.to_bytes(4) + height.to_bytes(4) + bytes([8, colours, 0, 0, 0])
    return b"".join([b"\x89PNG\r\n\x1a\n", chunk(b"IHDR", head), *chunks, chunk(b"IEND", b"")])


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (png(10, 10, chunk(b"IDAT", zlib.compress(bytes(40 << 20)))), "far more than its pixels"),
        (png(10, 10, *[chunk(b"IDAT", PACKED[at : at + 100]) for at in range(0, len(PACKED), 100)]), "far more than its pixels"),
        (png(10, 10, chunk(b"acTL", bytes(8)), chunk(b"IDAT", zlib.compress(bytes(310)))), "animated"),
        (png(10, 10, *[chunk(b"tEXt", b"a\0b")] * 110_000), "chunks"),
    ],
    ids=["too much data", "in many parts", "animated", "chunks"],
)
def test_a_png_of_endless_work_is_refused(data: bytes, why: str) -> None:
    with pytest.raises(PictureError, match=f"PNG.*{why}"):
        decode(data, *MOST)


@pytest.mark.parametrize("shape", [(60, 80), (60, 80, 3), (60, 80, 4), (1, 1, 3), (3, 3000, 3)])
def test_every_png_of_ours_is_decoded(shape: tuple[int, ...]) -> None:
    for kind in (np.uint8, np.uint16):
        noise = np.random.default_rng(1).integers(0, 255, shape).astype(kind)
        assert decode(cv2.imencode(".png", noise)[1].tobytes(), *MOST).shape == (*shape[:2], 3)
    assert decode(png(10, 10, chunk(b"IDAT", zlib.compress(bytes(310)))), *MOST).shape == (10, 10, 3)


@pytest.mark.parametrize(
    "data",
    [
        jpeg(),
        PROGRESSIVE,
        jpeg(cv2.IMWRITE_JPEG_RST_INTERVAL, 1),
        PROGRESSIVE + os.urandom(4 << 20) + PROGRESSIVE * 200,
        PROGRESSIVE[:2] + (b"\xff\xe2\xff\xff" + MORE * 7000)[:65537] * 3 + PROGRESSIVE[2:],
        PROGRESSIVE[:2] + b"\xff" * 1000 + PROGRESSIVE[2:],
    ],
    ids=["plain", "progressive", "restarts", "a film behind it", "scans in a preview", "filling"],
)
def test_what_is_written_by_cameras_and_phones_is_decoded(data: bytes) -> None:
    assert decode(data, *MOST).shape == (60, 80, 3)
