"""Odd files among the pictures: each is shown, or named once and left out, while the good ones go on, in bounded memory."""

import functools
import logging
import os
import random
import resource
import socket
import subprocess
import sys
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from edged.vision.cameras.camera import CameraFault
from edged.vision.cameras.pictures import FILMS, PICTURES, PicturesCamera
from tests.campaigns.mutations import mutated
from tests.campaigns.size import SEED, count, report
from tests.campaigns.test_mutated_pictures import bmp, jpeg_that_says, png, webp_that_says

MEMORY_MB = 300
GOOD = "~good.png"  # the last by name


def encoded(suffix: str, width: int = 64, height: int = 48, *options: int) -> bytes:
    noise = np.random.default_rng(1).integers(0, 255, (height // 8 + 1, width // 8 + 1, 3), np.uint8)
    good, data = cv2.imencode(suffix, cv2.resize(noise, (width, height)), list(options))
    assert good
    return data.tobytes()


def sparse(size: int) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        with path.open("wb") as file:
            file.write(encoded(".png"))
            file.truncate(size)

    return make


def holding(data: Callable[[], bytes]) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(data())


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as one:
        os.chdir(path.parent)
        one.bind(path.name)


@functools.cache
def twenty_thousand() -> bytes:
    return png(20_000, 20_000)


def many_scans(number: int) -> bytes:
    """Each is decoded over all of its pixels, for a dozen bytes."""
    data = encoded(".jpg", 640, 480, cv2.IMWRITE_JPEG_PROGRESSIVE, 1)
    at = data.rindex(b"\xff\xda")
    return data[:-2] + data[at : at + 2 + int.from_bytes(data[at + 2 : at + 4])] * number + b"\xff\xd9"


PLAYLIST = b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n"
CONCAT = b"ffconcat version 1.0\nfile /etc/passwd\n"
SVG = b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><image href="file:///etc/passwd"/></svg>'

# name → how it is made; none of them can be shown
ODD: dict[str, Callable[[Path], object]] = {
    "a pipe.png": os.mkfifo,
    "a pipe.mp4": os.mkfifo,
    "dev zero.png": lambda path: path.symlink_to("/dev/zero"),
    "dev zero.avi": lambda path: path.symlink_to("/dev/zero"),
    "dev random.jpg": lambda path: path.symlink_to("/dev/urandom"),
    "terminal.jpg": lambda path: path.symlink_to("/dev/tty"),
    "itself.png": lambda path: path.symlink_to(path),
    "nowhere.png": lambda path: path.symlink_to("/nowhere"),
    "memory.png": lambda path: path.symlink_to("/proc/self/mem"),
    "kernel messages.png": lambda path: path.symlink_to("/proc/kmsg"),
    "a folder.png": lambda path: path.mkdir(),
    "a folder.mp4": lambda path: path.mkdir(),
    "a socket.png": _socket,
    "sparse.png": sparse(10 << 30),
    "sparse.mp4": lambda path: path.write_bytes(b"") or os.truncate(path, 10 << 30),
    "empty.png": holding(lambda: b""),
    "empty.mkv": holding(lambda: b""),
    "twenty thousand.png": holding(lambda: twenty_thousand()),
    "sixty thousand.png": holding(lambda: png(60_000, 60_000, rows=10)),
    "endless.png": holding(lambda: png(0x7FFFFFFF, 0x7FFFFFFF, rows=1)),
    "a line.png": holding(lambda: png(1, 30_000_000, rows=1)),
    "inflates.png": holding(lambda: png(10, 10, rows=5_000_000)),
    "huge.bmp": holding(lambda: bmp(100_000, 100_000)),
    "negative.bmp": holding(lambda: bmp(-1, -1)),
    "wide.bmp": holding(lambda: bmp(0x7FFFFFFF, 1)),
    "wide.jpg": holding(lambda: jpeg_that_says(65_500, 65_500)),
    "wide.webp": holding(lambda: webp_that_says(16_383, 16_383)),
    "a playlist.mp4": holding(lambda: PLAYLIST),
    "a playlist.mjpeg": holding(lambda: PLAYLIST),
    "a list.avi": holding(lambda: CONCAT),
    "text.jpg": holding(lambda: b"GIF89a" + bytes(100)),
    "svg.png": holding(lambda: SVG),
    "tiff.png": holding(lambda: encoded(".tiff")),
    "exr.png": holding(lambda: b"\x76\x2f\x31\x01" + bytes(100)),
    "packed.png": holding(lambda: zlib.compress(bytes(1 << 24))),
    "cut.jpg": holding(lambda: encoded(".jpg")[:20]),
    "cut.png": holding(lambda: encoded(".png")[:40]),
    "noise.mp4": holding(lambda: random.Random(SEED).randbytes(100_000)),
    "noise.jpg": holding(lambda: b"\xff\xd8\xff" + random.Random(SEED).randbytes(100_000)),
    "filling.jpg": holding(lambda: b"\xff\xd8" + b"\xff" * 3_000_000),
    "filled.jpg": holding(lambda: b"\xff\xd8" + b"\xff" * (47 << 20)),
    "scans.jpg": holding(lambda: many_scans(1000)),
    "\x1b]0;owned\x07\x1b[2J.png": holding(lambda: b""),
    "line\nERROR forged.png": holding(lambda: b""),
    os.fsdecode(b"\xff\xfe.png"): holding(lambda: b""),
    "closed.png": lambda path: path.touch(0),
}
# and these can
SHOWN: dict[str, Callable[[Path], object]] = {
    "large.jpg": holding(lambda: encoded(".jpg", 8000, 6000)),  # 48 million pixels, made smaller on the way
    "large.png": holding(lambda: encoded(".png", 5000, 3900)),
    "a line.jpg": holding(lambda: encoded(".jpg", 16_000, 2)),
    "one.png": holding(lambda: encoded(".png", 1, 1)),
    "a name of another.jpg": holding(lambda: encoded(".png")),
    "linked.png": lambda path: path.symlink_to(path.with_name(GOOD)),
    "progressive.jpg": holding(lambda: encoded(".jpg", 640, 480, cv2.IMWRITE_JPEG_PROGRESSIVE, 1)),
    "grey.png": holding(lambda: cv2.imencode(".png", np.zeros((9, 9), np.uint8))[1].tobytes()),
    "deep.png": holding(lambda: cv2.imencode(".png", np.zeros((9, 9, 3), np.uint16))[1].tobytes()),
    "clear.png": holding(lambda: cv2.imencode(".png", np.zeros((9, 9, 4), np.uint8))[1].tobytes()),
}


def show_all(folder: Path) -> list[str]:
    """The names that are shown on one round."""
    camera, names = PicturesCamera(str(folder), fps=1000.0, loop=False), []
    try:
        while True:
            frame = camera.read()
            assert frame.pixels.ndim == 3 and frame.picture.isprintable()
            names.append(frame.picture)
    except CameraFault as fault:
        assert fault.reason == "ended", fault
    finally:
        camera.close()
    return names


def test_odd_files_are_named_once_and_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    here = Path.cwd()
    for name, make in {**ODD, **SHOWN}.items():
        make(tmp_path / name)
    os.chdir(here)
    (tmp_path / GOOD).write_bytes(encoded(".png"))
    began = time.monotonic()
    camera, shown, rounds = PicturesCamera(str(tmp_path), fps=1000.0, loop=True), set[str](), 0
    while rounds < 2:
        name = camera.read().picture
        shown.add(name)
        rounds += name == GOOD
    camera.close()
    assert shown == {*SHOWN, GOOD}
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == len(ODD) and len(set(told)) == len(told)
    assert all(line.isprintable() and "left out" in line for line in told)
    report("odd_pictures_kinds", {"odd": len(ODD), "shown": len(SHOWN), "rounds_s": round(time.monotonic() - began, 1)})


def test_the_memory_is_bounded(tmp_path: Path) -> None:
    """In a process of its own, as the vision process is: its libraries, and the largest of each kind."""
    for name, make in {**ODD, **SHOWN}.items():
        if "socket" not in name:
            make(tmp_path / name)
    (tmp_path / GOOD).write_bytes(encoded(".png"))
    code = (
        "import sys; from pathlib import Path; import edged.vision.process\n"
        "from edged.system.figures import peak_memory_mb\n"
        "from edged.vision.classifier import load_runtime; load_runtime()\n"
        "from tests.campaigns.test_odd_pictures import show_all\n"
        "print(len(show_all(Path(sys.argv[1]))), int(peak_memory_mb()))"  # ru_maxrss would be that of whoever forked it
    )
    done = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    number, peak_mb = map(int, done.stdout.split())
    assert number == len(SHOWN) + 1
    assert peak_mb <= MEMORY_MB
    report("odd_pictures_memory", {"peak_mb": peak_mb, "limit_mb": MEMORY_MB})


def test_random_damage(tmp_path: Path) -> None:
    wanted, rng = count(200, 5000), random.Random(SEED)
    suffixes = sorted(PICTURES)
    streams = {suffix: mutated(encoded(suffix, 160, 120), seed=SEED, count=wanted) for suffix in suffixes}
    shown, before_mb = 0, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    for start in range(0, wanted, 50):
        for old in tmp_path.iterdir():
            old.unlink()
        for number in range(start, min(start + 50, wanted)):
            suffix = rng.choice(suffixes)
            name = suffix if rng.random() < 0.8 else rng.choice(sorted(PICTURES | FILMS))
            (tmp_path / f"{number:05}{name}").write_bytes(next(streams[suffix])[1])
        (tmp_path / GOOD).write_bytes(encoded(".png"))
        names = show_all(tmp_path)
        assert names[-1] == GOOD
        shown += len(names) - 1
    grown_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 - before_mb
    report("odd_pictures", {"files": wanted, "shown": shown, "left_out": wanted - shown, "grown_mb": round(grown_mb), "seed": SEED})
