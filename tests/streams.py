"""Network cameras of the tests' own on loopback: MJPEG over HTTP, and RTSP with RTP/JPEG (RFC 2326, RFC 2435) over TCP."""

import contextlib
import socketserver
import threading
import time
from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np


class _Server(socketserver.ThreadingTCPServer):
    """`silent` set: the connection stays and nothing more is sent. `end`: the connections are cut too."""

    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False

    def __init__(self, handler: type, picture: Any, fps: float, port: int) -> None:
        super().__init__(("127.0.0.1", port), handler)
        self.jpeg = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 90])[1].tobytes()
        self.size = picture.shape[1], picture.shape[0]
        self.period_s = 1 / fps
        self.silent, self.ending = threading.Event(), threading.Event()
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    def turns(self) -> Iterator[float]:
        """The seconds since the first frame, one for each frame."""
        began = time.monotonic()
        while not self.ending.wait(self.period_s):
            if not self.silent.is_set():
                yield time.monotonic() - began

    def end(self) -> None:
        self.ending.set()
        self.shutdown()
        self.server_close()


class _Http(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        self.rfile.readline()
        self.wfile.write(b"HTTP/1.0 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=edge\r\n\r\n")
        jpeg = self.server.jpeg
        with contextlib.suppress(OSError):
            for _ in self.server.turns():
                head = f"--edge\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
                self.wfile.write(head.encode() + jpeg + b"\r\n")


class _Rtsp(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        with contextlib.suppress(OSError):
            while head := self._request():
                method, number = head[0].split()[0], next(line for line in head if line.lower().startswith("cseq"))
                self.wfile.write(self._answer(method, number).encode())
                if method == "PLAY":
                    self._play()
                    return

    def _request(self) -> list[str]:
        lines = list[str]()
        while line := self.rfile.readline().decode().strip():
            lines.append(line)
        return lines

    def _answer(self, method: str, number: str) -> str:
        head = f"RTSP/1.0 200 OK\r\n{number}\r\n"
        if method == "OPTIONS":
            return head + "Public: OPTIONS, DESCRIBE, SETUP, PLAY\r\n\r\n"
        if method == "DESCRIBE":
            sdp = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=test\r\nt=0 0\r\nm=video 0 RTP/AVP 26\r\na=control:video\r\n"
            return head + f"Content-Type: application/sdp\r\nContent-Length: {len(sdp)}\r\n\r\n{sdp}"
        if method == "SETUP":
            return head + "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\nSession: 1\r\n\r\n"
        return head + "Session: 1\r\n\r\n"

    def _play(self) -> None:
        tables, scan = _taken_apart(self.server.jpeg)
        width, height = self.server.size
        for number, at_s in enumerate(self.server.turns()):
            rtp = bytes([0x80, 0x80 | 26]) + (number & 0xFFFF).to_bytes(2) + (int(at_s * 90000) & 0xFFFFFFFF).to_bytes(4) + b"edge"
            jpeg = bytes([0, 0, 0, 0, 1, 255, width // 8, height // 8, 0, 0]) + len(tables).to_bytes(2) + tables
            packet = rtp + jpeg + scan
            self.wfile.write(b"$\0" + len(packet).to_bytes(2) + packet)


def _taken_apart(jpeg: bytes) -> tuple[bytes, bytes]:
    """The two quantisation tables and the entropy-coded scan of a baseline JPEG with 4:2:0 and the standard Huffman tables."""
    tables, at = b"", 2
    while jpeg[at + 1] != 0xDA:
        length = int.from_bytes(jpeg[at + 2 : at + 4])
        if jpeg[at + 1] == 0xDB:
            body = jpeg[at + 4 : at + 2 + length]
            tables += b"".join(body[start + 1 : start + 65] for start in range(0, len(body), 65))
        at += 2 + length
    at += 2 + int.from_bytes(jpeg[at + 2 : at + 4])
    return tables, jpeg[at:-2]


def http_server(picture: "np.ndarray", fps: float = 20, port: int = 0) -> _Server:
    return _Server(_Http, picture, fps, port)


def rtsp_server(picture: "np.ndarray", fps: float = 20, port: int = 0) -> _Server:
    return _Server(_Rtsp, picture, fps, port)
