"""2,000 damaged pictures through `edged classify`: a line for each, in order, no traceback, no signal, bounded memory and time."""

import json
import random
import resource
import struct
import subprocess
import sys
import time
import zlib
from pathlib import Path

import cv2
import numpy as np

from edged.vision.classify import MEMORY_MB
from tests.campaigns.mutations import mutated
from tests.campaigns.size import SEED, count, report
from tests.models import any_model

SHORT, FULL = 240, 2000
FORMATS = (".jpg", ".png", ".bmp", ".webp")
_BATCH = 200  # pictures for one command, as somebody would give it a folder
_OVERHEAD_MB = 64  # the command itself, above what its child may have


def test_no_picture_hurts(tmp_path: Path) -> None:
    wanted = count(SHORT, FULL)
    pictures = [*bombs(), *damaged_pictures(wanted)][:wanted]
    model = any_model()
    outcome: dict[str, int] = {}
    slowest_s = 0.0
    for start in range(0, wanted, _BATCH):
        batch = []
        for n, (name, data) in enumerate(pictures[start : start + _BATCH], start):
            path = tmp_path / f"{n:05}{name}"
            path.write_bytes(data)
            batch.append(path)
        began = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-m", "edged", "classify", "--json", *model, *batch],
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        slowest_s = max(slowest_s, time.monotonic() - began)
        assert done.returncode in (0, 1) and "Traceback" not in done.stdout + done.stderr, done.stderr
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        assert [line["picture"] for line in lines] == [str(path) for path in batch]
        for line in lines:
            assert ("error" in line) != ("top" in line)
            what = "classified" if "top" in line else line["error"]
            outcome[what] = outcome.get(what, 0) + 1
        for path in batch:
            path.unlink()
    peak_mb = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    assert peak_mb < MEMORY_MB + _OVERHEAD_MB
    assert sum(outcome.values()) == len(pictures)
    report(
        "mutated_pictures",
        {
            "pictures": len(pictures),
            "seed": SEED,
            "peak_mb": round(peak_mb),
            "slowest_batch_s": round(slowest_s, 1),
            "outcome": outcome,
        },
    )


def damaged_pictures(number: int) -> list[tuple[str, bytes]]:
    """(suffix, bytes), the formats in turn; one in ten with the suffix of another format."""
    rng = random.Random(SEED)
    picture = rng.randbytes(64 * 48 * 3)
    pixels = cv2.resize(np.frombuffer(picture, np.uint8).reshape(48, 64, 3), (160, 120))
    found = []
    streams = {}
    for suffix in FORMATS:
        good, encoded = cv2.imencode(suffix, pixels)
        assert good
        streams[suffix] = mutated(encoded.tobytes(), seed=SEED, count=number)
    for n in range(number):
        suffix = FORMATS[n % len(FORMATS)]
        _, data = next(streams[suffix])
        found.append((rng.choice(FORMATS) if rng.random() < 0.1 else suffix, data))
    return found


def bombs() -> list[tuple[str, bytes]]:
    """Small files that unfold to something huge, or say that they do."""
    return [
        (".png", png(8000, 7900)),  # just allowed: 190 MB of pixels in 190 kB
        (".png", png(60_000, 60_000, rows=100)),
        (".png", png(0x7FFFFFFF, 0x7FFFFFFF, rows=1)),
        (".png", png(1, 1_000_000)),
        (".png", png(100, 100, text_mb=200)),
        (".bmp", bmp(100_000, 100_000)),
        (".bmp", bmp(8000, 7900)),
        (".bmp", bmp(-1, -1)),
        (".bmp", bmp(0x7FFFFFFF, 1)),
        (".jpg", jpeg_that_says(65_500, 65_500)),
        (".jpg", jpeg_that_says(9000, 7000)),
        (".webp", webp_that_says(16_383, 16_383)),
        (".jpg", zlib.compress(bytes(1 << 24))),
        (".jpg", b""),
    ]


def png(width: int, height: int, rows: int | None = None, text_mb: int = 0) -> bytes:
    """A grey PNG of zeros, compressed a thousand times; `text_mb`: with a comment that unfolds to that size."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    packer = zlib.compressobj(9)
    row = bytes(1 + min(width, 1 << 20))
    data = b"".join(packer.compress(row) for _ in range(height if rows is None else rows)) + packer.flush()
    text = chunk(b"zTXt", b"c\0\0" + zlib.compress(bytes(text_mb << 20), 9)) if text_mb else b""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + text + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def bmp(width: int, height: int) -> bytes:
    head = b"BM" + struct.pack("<IHHI", 54, 0, 0, 54) + struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0)
    return head + bytes(1000)


def jpeg_that_says(width: int, height: int) -> bytes:
    good, encoded = cv2.imencode(".jpg", np.zeros((64, 64, 3), np.uint8), [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])
    assert good
    data = bytearray(encoded.tobytes())
    frame = data.index(b"\xff\xc2")
    data[frame + 5 : frame + 9] = struct.pack(">HH", height, width)
    return bytes(data)


def webp_that_says(width: int, height: int) -> bytes:
    good, encoded = cv2.imencode(".webp", np.zeros((64, 64, 3), np.uint8), [cv2.IMWRITE_WEBP_QUALITY, 50])
    assert good
    data = bytearray(encoded.tobytes())
    start = data.index(b"\x9d\x01\x2a") + 3
    data[start : start + 4] = struct.pack("<HH", width, height)
    return bytes(data)
