"""Network cameras (RTSP, HTTP) through OpenCV's FFmpeg backend."""

import os
import socket
import time
from pathlib import Path
from urllib.parse import quote, urlsplit

import cv2

from edged.errors import ReadError
from edged.system.files import read_file
from edged.system.text import is_understood, shown_address
from edged.vision.cameras.camera import CameraFault
from edged.vision.cameras.pace import Pace
from edged.vision.cameras.rotation import rotated
from edged.vision.frame import Frame

_PORTS = {"rtsp": 554, "rtsps": 322, "http": 80, "https": 443, "rtmp": 1935}
CREDENTIAL = "camera_password"  # the name of the systemd credential
_LARGEST_PASSWORD_BYTES = 4096
# what a camera's answer may lead to: the network and no file of this machine, and no picture larger than a camera's
FFMPEG = "OPENCV_FFMPEG_CAPTURE_OPTIONS"
_PROTOCOLS = "rtsp,rtsps,rtp,srtp,udp,tcp,tls,http,https,httpproxy,rtmp,rtmps,rtmpt,crypto"
_FFMPEG_OPTIONS = f"rtsp_transport;tcp|max_pixels;64000000|protocol_whitelist;{_PROTOCOLS}"
_CONNECT_S = 3.0
_TIMEOUT_MS = 4000  # below the 5 s after which a silent camera is a hanging one
_CREEP = 1e-3  # by how much of the time that passes a shorter way is forgotten; clocks differ by far less
_MOST_QUEUED, _WAITED_NS = 250, 5_000_000
_JUMP_NS = 5_000_000_000


class StreamCamera:
    """Reads at the stream's own pace, so that nothing queues up, and hands out the frames that are due at `fps`."""

    def __init__(self, source: str, *, fps: float, rotation: int = 0, user: str = "", password_file: str = "") -> None:
        """Raises CameraFault: absent when nobody answers, format when what answers is no film that FFmpeg can play, permission.

        password_file: empty: systemd's credential camera_password, where there is one.
        """
        self._name, self._rotation = shown_address(source), rotation
        self._pace = Pace(fps)
        self._clock = SenderClock() if source.startswith("rtsp") else None
        check_answers(source)
        source = with_login(source, user, load_password(password_file)) if user else source
        limits = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, _TIMEOUT_MS, cv2.CAP_PROP_READ_TIMEOUT_MSEC, _TIMEOUT_MS]
        os.environ[FFMPEG] = _FFMPEG_OPTIONS
        try:
            self._capture = cv2.VideoCapture(source, cv2.CAP_FFMPEG, limits)
        finally:
            os.environ.pop(FFMPEG, None)
        if not self._capture.isOpened():
            self._capture.release()
            raise CameraFault("format", f"{self._name}: answers, but not with a film; check the path, the user and the password")
        self._skip_queued()

    def read(self) -> Frame:
        """The first frame that is due, BGR. Raises CameraFault: read_error when the stream ends or falls silent."""
        while True:
            if not self._capture.grab():
                raise CameraFault("read_error", f"{self._name}: the stream ended or fell silent; it is opened again")
            captured_ns = self._sent_ns()
            if self._pace.is_due(captured_ns):
                break
        good, pixels = self._capture.retrieve()
        if not good or pixels is None:
            raise CameraFault("read_error", f"{self._name}: sent a frame that cannot be decoded")
        height, width = pixels.shape[:2]
        return rotated(Frame(pixels, "bgr", width, height, captured_ns), self._rotation)  # type: ignore[arg-type]

    def close(self) -> None:
        self._capture.release()

    def _skip_queued(self) -> None:
        """Past what FFmpeg gathered while it found out what the stream is: the first frame to wait for is new."""
        for _ in range(_MOST_QUEUED):
            began_ns = time.monotonic_ns()
            if not self._capture.grab() or time.monotonic_ns() - began_ns > _WAITED_NS:
                return

    def _sent_ns(self) -> int:
        now_ns = time.monotonic_ns()
        if self._clock is None:  # a film without times of its own, as MJPEG over HTTP is
            return now_ns
        return self._clock.to_monotonic_ns(round(self._capture.get(cv2.CAP_PROP_POS_MSEC) * 1e6), now_ns)


class SenderClock:
    """The sender's time stamps on our clock: the frame with the quickest way here is taken for one that needed no time at all.

    So a frame that waited in a queue, on the way or here, is known to be old, and is dropped as stale. Pure.
    """

    def __init__(self) -> None:
        self._offset_ns: int | None = None
        self._seen_ns = 0

    def to_monotonic_ns(self, sent_ns: int, now_ns: int) -> int:
        """When the frame with the time stamp `sent_ns` that is here at `now_ns` was sent; never after `now_ns`."""
        offset_ns = now_ns - sent_ns
        if self._offset_ns is None or abs(offset_ns - self._offset_ns) > _JUMP_NS:  # the first, or the sender began anew
            self._offset_ns = offset_ns
        else:
            crept_ns = self._offset_ns + round((now_ns - self._seen_ns) * _CREEP)
            self._offset_ns = min(crept_ns, offset_ns)
        self._seen_ns = now_ns
        return sent_ns + self._offset_ns


def check_answers(source: str) -> None:
    """Raises CameraFault("absent") when nobody listens there; FFmpeg's own words do not reach us."""
    try:
        address = urlsplit(source)
        host, port = address.hostname, address.port or _PORTS.get(address.scheme)
    except ValueError:
        host, port = None, None
    if not host or not is_understood(source):  # a password with a slash or an @ is no part of a host's name
        raise CameraFault(
            "format",
            f"{shown_address(source)}: is not an address; it looks like rtsp://HOST/PATH or http://HOST/PATH, "
            "with the user at camera.user and the password in camera.password_file",
        )
    if port is None:  # udp and the like: nobody answers, they just send
        return
    try:
        socket.create_connection((host, port), timeout=_CONNECT_S).close()
    except (OSError, ValueError) as e:
        why = "it is no name that a host can have" if isinstance(e, UnicodeError) else getattr(e, "strerror", None) or e
        raise CameraFault("absent", f"{shown_address(source)}: {host} port {port} does not answer ({why})") from None


def load_password(password_file: str) -> str:
    """The first line of the file, or of systemd's credential. Raises CameraFault("permission") when it can't be read."""
    folder = os.environ.get("CREDENTIALS_DIRECTORY", "")
    path = Path(password_file) if password_file else Path(folder, CREDENTIAL) if folder else None
    if path is None or (not password_file and not path.exists()):
        return ""
    try:
        text = read_file(path, _LARGEST_PASSWORD_BYTES).decode()
    except (ReadError, UnicodeDecodeError) as error:
        why = error.why if isinstance(error, ReadError) else "is not text"
        raise CameraFault("permission", f"the camera's password: {path} {why}; check camera.password_file") from None
    return text.split("\n", 1)[0].rstrip("\r")


def with_login(source: str, user: str, password: str) -> str:
    """The address as FFmpeg wants it, with every character quoted that could end the user's part. Pure."""
    scheme, mark, rest = source.partition("://")
    return f"{scheme}{mark}{quote(user, safe='')}:{quote(password, safe='')}@{rest}"
