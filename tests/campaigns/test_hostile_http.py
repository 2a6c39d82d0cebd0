"""Hostile cameras in the network: whatever answers over HTTP, opening and reading end in a fault or in frames, soon and small."""

import contextlib
import json
import os
import socketserver
import subprocess
import sys
import threading
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edged.vision.cameras.camera import CameraFault
from edged.vision.cameras.stream import StreamCamera
from tests.campaigns.size import count, report
from tests.campaigns.test_mutated_pictures import jpeg_that_says
from tests.e2e.running import HANG_S, promised

PEAK_MB, LIMIT_S = 640, 20.0  # what MOST_BYTES leaves, its stacks aside
JPEG = cv2.imencode(".jpg", np.random.default_rng(1).integers(0, 255, (48, 64, 3), np.uint8))[1].tobytes()
HEAD = b"HTTP/1.0 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=edge\r\n\r\n"
SECRET = "p:/?#@é w"


def part(jpeg: bytes, length: int | None = None, kind: bytes = b"image/jpeg") -> bytes:
    size = str(len(jpeg) if length is None else length).encode()
    return b"--edge\r\nContent-Type: " + kind + b"\r\nContent-Length: " + size + b"\r\n\r\n" + jpeg + b"\r\n"


def dripping(data: bytes) -> Iterator[bytes]:
    for byte in data:
        yield bytes([byte])
        threading.Event().wait(0.5)


def paced(parts: list[bytes]) -> Iterator[bytes]:
    """As a camera films: no two frames at once."""
    yield HEAD
    for one in parts:
        yield one
        threading.Event().wait(0.01)


def endless(block: bytes, start: bytes = b"") -> Iterator[bytes]:
    yield start
    ends = time.monotonic() + 30
    while time.monotonic() < ends:
        yield block


def moved(to: str) -> bytes:
    return f"HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n".encode()


def playlist(to: str) -> bytes:
    body = f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{to}\n".encode()
    return b"HTTP/1.0 200 OK\r\nContent-Type: application/vnd.apple.mpegurl\r\n\r\n" + body


# name → what is sent; {port} is the server's own
KINDS: dict[str, Callable[[int], Any]] = {
    "honest": lambda _: paced([part(JPEG)] * 1000),
    "nothing": lambda _: [],
    "silence": lambda _: [HEAD, None],
    "silence from the start": lambda _: [None],
    "a byte now and then": lambda _: dripping(HEAD + part(JPEG) * 3),
    "a head without end": lambda _: endless(b"X-Filler: " + b"x" * 1000 + b"\r\n", b"HTTP/1.0 200 OK\r\n"),
    "a head line without end": lambda _: endless(b"x" * 65536, b"HTTP/1.0 200 OK\r\nX: "),
    "a status without end": lambda _: endless(b"x" * 65536, b"HTTP/1.0 200 "),
    "escapes in the status": lambda _: [b"HTTP/1.0 404 \x1b]0;owned\x07\x1b[2J\r\n\r\n"],
    "escapes in the head": lambda _: [b"HTTP/1.0 200 OK\r\nContent-Type: \x1b[2J\r\n\r\n", part(JPEG)],
    "not found": lambda _: [b"HTTP/1.0 404 Not Found\r\n\r\n"],
    "not allowed": lambda _: [b'HTTP/1.0 401 No\r\nWWW-Authenticate: Basic realm="\x1b[2J"\r\n\r\n'],
    "a broken server": lambda _: [b"HTTP/1.0 500 Oops\r\n\r\n"],
    "no HTTP": lambda _: [b"SSH-2.0-OpenSSH\r\n"],
    "noise": lambda _: [os.urandom(100_000)],
    "moved to a file": lambda _: [moved("file:///etc/passwd")],
    "moved to a pipe": lambda _: [moved("pipe:0")],
    "moved to a list": lambda _: [moved("concat:/etc/passwd|/etc/hosts")],
    "moved to itself": lambda port: [moved(f"http://127.0.0.1:{port}/again")],
    "a playlist of files": lambda _: [playlist("file:///etc/passwd")],
    "a playlist of itself": lambda port: [playlist(f"http://127.0.0.1:{port}/x.m3u8")],
    "a list of files": lambda _: [b"HTTP/1.0 200 OK\r\n\r\nffconcat version 1.0\nfile /etc/passwd\n"],
    "a part without end": lambda _: endless(b"\xff" * 65536, HEAD + part(JPEG, 2**31 - 1)[:-2]),
    "a length below nothing": lambda _: [HEAD, *[part(JPEG, -1)] * 50],
    "a length beyond all": lambda _: [HEAD, *[part(JPEG, 10**30)] * 50],
    "no pictures": lambda _: [HEAD, *[part(b"hello", kind=b"text/html")] * 50],
    "wide pictures": lambda _: [HEAD, *[part(jpeg_that_says(65_500, 65_500))] * 20],
    "cut pictures": lambda _: [HEAD, *[part(JPEG[: len(JPEG) // 2])] * 50],
    "empty pictures": lambda _: [HEAD, *[part(b"")] * 500],
    "pictures of every size": lambda _: [
        HEAD,
        *[part(cv2.imencode(".jpg", np.zeros((8 + n, 8 + 3 * n, 3), np.uint8))[1].tobytes()) for n in range(60)],
        None,
    ],
    "one picture and no more": lambda _: [HEAD, part(JPEG), None],
}


class Hostile(socketserver.ThreadingTCPServer):
    allow_reuse_address, daemon_threads, block_on_close = True, True, False

    def __init__(self, kind: str) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.wants_login = False
        self.kind, self.ending, self.asked = kind, threading.Event(), list[bytes]()
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    def end(self) -> None:
        self.ending.set()
        self.shutdown()
        self.server_close()


class _Answer(socketserver.StreamRequestHandler):
    server: Hostile

    def handle(self) -> None:
        with contextlib.suppress(OSError):
            asked = []
            while line := self.rfile.readline(65536).strip():
                asked.append(line)
            self.server.asked += asked
            if self.server.wants_login and not any(line.startswith(b"Authorization:") for line in asked):
                self.wfile.write(b'HTTP/1.0 401 No\r\nWWW-Authenticate: Basic realm="cam"\r\nContent-Length: 0\r\n\r\n')
                return
            for data in KINDS[self.server.kind](self.server.port):
                if data is None:
                    self.server.ending.wait(30)
                    return
                self.wfile.write(data)


LOOK = """
import sys, json, time, resource
from edged.process.limits import limit
from edged.vision.__main__ import MOST_BYTES
limit(resource.RLIMIT_DATA, MOST_BYTES)  # as the vision process does
from pathlib import Path
from edged.vision.cameras.stream import StreamCamera
from edged.vision.cameras.camera import CameraFault
from edged.vision.frozen import checked
began, frames = time.monotonic(), 0
try:
    camera = StreamCamera(sys.argv[1], fps=1000)
    try:
        for _ in range(30):
            checked(camera.read())
            frames += 1
        said = ""
    finally:
        camera.close()
except CameraFault as fault:
    said = f"{fault.reason}: {fault}"
peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps({"frames": frames, "said": said, "took_s": time.monotonic() - began, "peak_mb": peak_mb}))
"""


def look_at(kind: str) -> dict[str, Any]:
    """In a process of its own, as in earnest: what the libraries print is caught, and what they take is counted."""
    server = Hostile(kind)
    try:
        done = subprocess.run(
            [sys.executable, "-c", LOOK, f"http://user:{'sEcReT'}@127.0.0.1:{server.port}/video?pwd=sEcReT"],
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=HANG_S,
        )
    finally:
        server.end()
    assert done.returncode == 0, done.stderr[-500:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    assert "sEcReT" not in found["said"] and found["said"].isprintable()
    return found | {"printed": done.stderr}


def test_no_camera_hurts() -> None:
    quick = ["honest", "nothing", "escapes in the status", "moved to a file", "a playlist of files", "a list of files"]
    quick += ["wide pictures", "pictures of every size", "a length beyond all"]
    names = list(KINDS) if count(0, 1) else quick
    found = {name: look_at(name) for name in names}
    assert found["honest"]["frames"] == 30
    for name, one in found.items():
        promised(name, one["took_s"], LIMIT_S)
        assert one["peak_mb"] < PEAK_MB, (name, one["peak_mb"])
        assert "root:x:0" not in one["said"] + one["printed"], name
    figures = {"kinds": len(names), "with_frames": sum(one["frames"] > 0 for one in found.values())}
    figures |= {"slowest_s": round(max(one["took_s"] for one in found.values()), 1)}
    report("hostile_http", figures | {"peak_mb": round(max(one["peak_mb"] for one in found.values()))})


@pytest.mark.parametrize("how", ["file", "credential"])
def test_a_login_reaches_the_camera_and_nobody_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    server = Hostile("honest")
    server.wants_login = True
    try:
        name = "camera_password"
        (tmp_path / name).write_text(f"{SECRET}\nnot this line\n")
        if how == "credential":
            monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
        own = str(tmp_path / name) if how == "file" else ""
        camera = StreamCamera(f"http://127.0.0.1:{server.port}/video", fps=100, user="ad@min", password_file=own)
        assert camera.read().width == 64
        camera.close()
    finally:
        server.end()
    wanted = b64encode(f"ad@min:{SECRET}".encode())
    assert any(wanted in line for line in server.asked), server.asked
    assert not any(SECRET.encode() in line for line in server.asked)


def test_a_password_that_can_not_be_read_is_told(tmp_path: Path) -> None:
    server = Hostile("honest")
    try:
        for path in (tmp_path / "nope", tmp_path, Path("/dev/zero")):
            with pytest.raises(CameraFault, match=r"camera\.password_file") as told:
                StreamCamera(f"http://127.0.0.1:{server.port}/video", fps=5, user="a", password_file=str(path))
            assert told.value.reason == "permission"
    finally:
        server.end()
