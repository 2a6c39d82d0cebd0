"""USB and other V4L2 cameras, through OpenCV's V4L2 backend."""

import contextlib
import errno
import os
import stat
import time
from pathlib import Path

import cv2

from edged.system.figures import holders
from edged.vision.cameras.camera import CameraFault
from edged.vision.cameras.pace import Pace
from edged.vision.cameras.rotation import rotated
from edged.vision.frame import Frame

_ISP = ("unicam", "bcm2835-isp", "bcm2835-codec", "rp1-cfe", "pispbe", "rpivid", "rpi-hevc", "hevc")
UNKNOWN = "another program"
_VIDEO = 81  # the major number of V4L2 devices (Documentation/admin-guide/devices.txt)
_OLDEST_NS = 10_000_000_000  # a driver's time further back than this is of another clock
_REDUCED_FROM_PX = 960  # a JPEG at least so wide still has twice a MobileNet's side at half its size


class V4l2Camera:
    """Asks for MJPG, which USB cameras give at full rate and whose decoder shrinks for free, and takes what it gets."""

    def __init__(
        self, source: str, *, fps: float, width_px: int = 0, height_px: int = 0, rotation: int = 0, exposure_max_ms: float = 0.0
    ) -> None:
        """Raises CameraFault: absent, permission, busy, format."""
        self._device, self._rotation = to_device(source), rotation
        self._pace = Pace(fps)
        check_device(self._device)
        wanted = [cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*"MJPG"), cv2.CAP_PROP_FRAME_WIDTH, width_px or 640]
        wanted += [cv2.CAP_PROP_FRAME_HEIGHT, height_px or 480]
        self._capture = cv2.VideoCapture(str(self._device), cv2.CAP_V4L2, wanted)
        if not self._capture.isOpened():
            self._capture.release()
            if (who := holder(self._device)) != UNKNOWN:
                raise CameraFault("busy", f"{self._device}: is used by {who}; end that program")
            raise CameraFault("format", f"{self._device}: OpenCV cannot film with it; `v4l2-ctl -d {self._device} --all` shows why")
        self._capture.set(cv2.CAP_PROP_FPS, fps)
        self._capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
        if exposure_max_ms:  # V4L2 has no upper limit, only a fixed time, in 0.1 ms; 1 = manual
            self._capture.set(cv2.CAP_PROP_AUTO_EXPOSURE, 1)
            self._capture.set(cv2.CAP_PROP_EXPOSURE, exposure_max_ms * 10)
        wide = self._capture.get(cv2.CAP_PROP_FRAME_WIDTH) >= _REDUCED_FROM_PX
        is_jpeg = int(self._capture.get(cv2.CAP_PROP_FOURCC)) == cv2.VideoWriter.fourcc(*"MJPG")
        self._reduced = is_jpeg and wide and bool(self._capture.set(cv2.CAP_PROP_CONVERT_RGB, 0))

    def read(self) -> Frame:
        """The first frame that is due, BGR; those before it are not decoded. Raises CameraFault: unplugged, read_error."""
        while True:
            if not self._capture.grab():
                raise self._fault()
            captured_ns = self._exposed_ns()
            if self._pace.is_due(captured_ns):
                break
        good, pixels = self._capture.retrieve()
        if good and self._reduced:
            pixels = cv2.imdecode(pixels, cv2.IMREAD_REDUCED_COLOR_2)  # type: ignore[assignment]
        if not good or pixels is None or pixels.ndim != 3 or pixels.shape[2] != 3:
            raise CameraFault("read_error", f"{self._device}: gave a frame that cannot be decoded")
        height, width = pixels.shape[:2]
        return rotated(Frame(pixels, "bgr", width, height, captured_ns), self._rotation)  # type: ignore[arg-type]

    def close(self) -> None:
        self._capture.release()

    def _exposed_ns(self) -> int:
        """The driver's time of the buffer, which V4L2 takes from CLOCK_MONOTONIC; now, where it says something else."""
        return to_exposed_ns(self._capture.get(cv2.CAP_PROP_POS_MSEC) * 1e6, time.monotonic_ns())

    def _fault(self) -> CameraFault:
        if not self._device.exists():
            return CameraFault("unplugged", f"{self._device}: was unplugged; it is opened again when it is back")
        return CameraFault("read_error", f"{self._device}: gives no more frames; it is opened again")


def to_exposed_ns(told_ns: object, now_ns: int) -> int:
    """A driver's time of a frame, where it can be one of our clock; now, where it can't. Pure."""
    if not isinstance(told_ns, int | float) or not 0 <= now_ns - told_ns < _OLDEST_NS:  # also what is no number
        return now_ns
    return round(told_ns)


def to_device(source: str) -> Path:
    """`0` → /dev/video0; a path stays, so that /dev/v4l/by-id/… names one camera however they are numbered."""
    return Path(f"/dev/video{source}") if source.isdecimal() else Path(source)


def check_device(device: Path) -> None:
    """Raises CameraFault with the reason why this device cannot be opened; OpenCV only says that it could not."""
    try:
        found = device.stat()
        if not stat.S_ISCHR(found.st_mode) or os.major(found.st_rdev) != _VIDEO:  # to open another device can do something
            raise CameraFault("format", f"{device}: is not a camera; camera.kind = pictures shows files")
        handle = os.open(device, os.O_RDWR | os.O_NONBLOCK)
    except FileNotFoundError:
        there = ", ".join(map(str, sorted(Path("/dev/v4l/by-id").glob("*index0")))) or "none is plugged in"
        raise CameraFault("absent", f"{device}: no such camera; USB cameras here: {there}") from None
    except PermissionError:
        raise CameraFault("permission", f"{device}: this user may not open it; add the user to the group video") from None
    except OSError as e:
        if e.errno == errno.EBUSY:
            raise CameraFault("busy", f"{device}: is used by {holder(device)}; end that program") from None
        gone = e.errno in (errno.ENODEV, errno.ENXIO)
        raise CameraFault("unplugged" if gone else "read_error", f"{device}: cannot be opened: {e.strerror}") from None
    os.close(handle)
    name = driver_name(device)
    if any(part in name for part in _ISP):
        raise CameraFault("format", f'{device}: belongs to the Pi\'s own camera ({name}); use camera.kind = "picamera2"')


def driver_name(device: Path) -> str:
    """What the kernel calls it (/sys/class/video4linux/NAME/name); "" when it says nothing."""
    try:
        return Path("/sys/class/video4linux", device.resolve().name, "name").read_text().strip()
    except OSError:
        return ""


def holder(device: Path) -> str:
    """`NAME (process PID)` of another process that has this device open, as far as this user may see, else UNKNOWN."""
    for pid in holders({str(device.resolve())}):
        with contextlib.suppress(OSError):  # it ended
            if pid != os.getpid():
                return f"{Path(f'/proc/{pid}/comm').read_text().strip()} (process {pid})"
    return UNKNOWN
