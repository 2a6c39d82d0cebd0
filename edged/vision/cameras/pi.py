"""The Raspberry Pi's own cameras, through picamera2: the ISP crops, scales and converts, and this room takes what it made."""

import os
import time
from pathlib import Path
from typing import Any

import libcamera
from picamera2 import Picamera2

from edged.system.shapes import WHOLE, Region
from edged.vision.cameras.camera import CameraFault
from edged.vision.cameras.pace import Pace
from edged.vision.cameras.planes import LAYOUTS, unpadded
from edged.vision.cameras.rotation import rotated
from edged.vision.cameras.v4l2 import UNKNOWN, holder, to_exposed_ns
from edged.vision.frame import Frame

_DEADLINE_S = 4.0  # below the 5 s after which a silent camera is a hanging one
_SHORT_PX = 256  # the shorter side that is asked for where the model is not known; else twice the model's
_LONG_PX = 1280
_GRID_PX = 32  # what both generations of the ISP scale to without padding of their own
_SETTLING = 10  # frames that a new crop may take to arrive


class Picamera2Camera:
    """One configuration for the whole life: to make another leaks contiguous memory on the smaller boards.

    After a fault this camera is not opened again in the same process; libcamera does not always survive it.
    """

    def __init__(
        self,
        source: str,
        *,
        fps: float,
        width_px: int = 0,
        height_px: int = 0,
        rotation: int = 0,
        exposure_max_ms: float = 0.0,
        region: Region = WHOLE,
        buffers: int = 4,
        px: int = 0,
    ) -> None:
        """`source`: a number or an id of `rpicam-hello --list-cameras`. px: the side of the model that runs; 0: not known.

        Raises CameraFault: absent, permission, busy, format.
        """
        self._short_px = 2 * px or _SHORT_PX
        self._name, self._pace = f"camera {source}", Pace(fps)
        self._silent_s = max(_DEADLINE_S, 2 / fps - 1)  # a sensor that gives a frame each four seconds is not silent
        self._camera = _open(source)
        try:
            self._crop = self._to_crop(region) if not (width_px or rotation) else None
            size = (width_px, height_px) if width_px else self._to_size(region if self._crop else WHOLE)
            self._configure(size, rotation, fps, exposure_max_ms, buffers)
            self._camera.start()
        except (RuntimeError, ValueError, IndexError, OSError) as e:
            self.close()
            raise _to_fault(self._name, e) from None

    def read(self) -> Frame:
        """The next frame that is due, in the layout that the ISP gives; captured_ns is the sensor's. Raises CameraFault."""
        while True:
            try:
                request = self._camera.capture_request(wait=False).get_result(timeout=self._silent_s)
            except TimeoutError:
                raise CameraFault(
                    "hang", f"{self._name}: no frame for {self._silent_s:g} s: libcamera waits for the sensor"
                ) from None
            except RuntimeError as e:
                raise CameraFault("read_error", f"{self._name}: {e}") from None
            try:
                metadata = request.get_metadata()
                captured_ns = to_exposed_ns(metadata.get("SensorTimestamp"), time.monotonic_ns())
                if self._has_settled(metadata) and self._pace.is_due(captured_ns):
                    pixels = request.make_array("main")
                    break
            finally:
                request.release()
        width, height = self._size
        pixels = unpadded(pixels, self._format, width, height)
        frame = Frame(pixels, self._layout, width, height, captured_ns, cropped=self._crop is not None)
        return rotated(frame, self._turn)

    def close(self) -> None:
        try:
            self._camera.close()
        except (RuntimeError, OSError):  # it is in no state to be closed; the end of the process will do it
            return

    def _configure(self, size: tuple[int, int], rotation: int, fps: float, exposure_max_ms: float, buffers: int) -> None:
        camera = self._camera
        wanted = camera.create_video_configuration(
            main={"format": "YUV420", "size": size},
            raw=None,
            buffer_count=buffers,
            queue=False,  # never a frame that was there before it was asked for
            display=None,
            encode=None,
            controls=self._to_controls(fps, exposure_max_ms),
        )
        camera.configure(wanted)
        given = camera.camera_configuration()  # the camera has the last word about format and size
        self._format, self._size = str(given["main"]["format"]), tuple(given["main"]["size"])
        if self._format not in LAYOUTS:
            raise CameraFault("format", f"{self._name}: gives {self._format}, which edged does not know")
        self._layout = LAYOUTS[self._format]
        self._turn = rotation  # of the small picture, here: not every pipeline turns, nor says that it did not
        self._unsettled = _SETTLING if self._crop else 0

    def _to_controls(self, fps: float, exposure_max_ms: float) -> dict[str, Any]:
        """An exposure fits into its frame, so a limit to it makes the sensor run faster; the frames too many are skipped."""
        known, controls = self._camera.camera_controls, dict[str, Any]()
        if "FrameDurationLimits" in known:
            shortest, longest, *_ = known["FrameDurationLimits"]
            wanted_us = round(min(1e6 / fps, exposure_max_ms * 1000 or 1e6 / fps))
            duration_us = max(int(shortest), min(wanted_us, int(longest) or wanted_us))
            controls["FrameDurationLimits"] = (duration_us, duration_us)
        if "AfMode" in known:
            controls["AfMode"] = libcamera.controls.AfModeEnum.Continuous
        if self._crop:
            controls["ScalerCrop"] = self._crop
        return controls

    def _to_crop(self, region: Region) -> tuple[int, int, int, int] | None:
        """The region in the sensor's own pixels; None where it is everything or the camera can't crop."""
        if region == WHOLE or "ScalerCrop" not in self._camera.camera_controls:
            return None
        left, top, wide, high = self._camera.camera_controls["ScalerCrop"][1]
        x, y, w, h = region
        return round(left + x * wide), round(top + y * high), round(w * wide), round(h * high)

    def _to_size(self, region: Region) -> tuple[int, int]:
        """Twice the model's side, which is what the tensor is made of, in the shape of what is looked at: nothing is cut off."""
        wide, high = self._camera.camera_properties.get("PixelArraySize", (4, 3))
        shape = (wide * region[2]) / (high * region[3])
        short_px = self._short_px
        width, height = (short_px * shape, short_px) if shape >= 1 else (short_px, short_px / shape)
        shrink = min(1.0, _LONG_PX / max(width, height))
        return _to_grid(width * shrink), _to_grid(height * shrink)

    def _has_settled(self, metadata: dict[str, Any]) -> bool:
        """Whether the crop that was asked for has arrived; after a while, what the camera made of it is taken."""
        if self._crop and self._unsettled:
            given = metadata.get("ScalerCrop", self._crop)
            if any(abs(a - b) > max(16, b // 50) for a, b in zip(given, self._crop, strict=True)):
                self._unsettled -= 1
                return False
            self._unsettled = 0
        return True


def _to_grid(side: float) -> int:
    return max(_GRID_PX, round(side / _GRID_PX) * _GRID_PX)


def _open(source: str) -> Any:
    """The opened Picamera2. Raises CameraFault: absent, permission, busy, format."""
    there = Picamera2.global_camera_info()
    ids = {info["Id"]: number for number, info in enumerate(there)}
    number = int(source) if source.isdecimal() else ids.get(source, -1)
    if not there and (shut := [str(path) for path in Path("/dev").glob("media*") if not os.access(path, os.R_OK | os.W_OK)]):
        raise CameraFault("permission", f"camera {source}: this user may not open {shut[0]}; add the user to the group video")
    if not 0 <= number < len(there):
        known = ", ".join(f"{n} = {info['Model']} ({info['Id']})" for n, info in enumerate(there)) or "none"
        advice = "check the cable, then `rpicam-hello --list-cameras`" if not there else "set camera.source to one of them"
        raise CameraFault("absent", f"camera {source}: libcamera does not see it; it sees: {known}; {advice}")
    try:
        return Picamera2(number)
    except (RuntimeError, ValueError, IndexError, OSError) as e:
        raise _to_fault(f"camera {source}", e) from None


def _to_fault(name: str, error: BaseException) -> CameraFault:
    """picamera2 wraps libcamera's reasons two and three deep; the innermost knows."""
    if isinstance(error, CameraFault):
        return error
    said = [str(error)]
    while (inner := error.__cause__ or error.__context__) is not None:
        error = inner
        said.append(str(error))
    words = " ← ".join(dict.fromkeys(said))
    if isinstance(error, PermissionError) or "ermission" in words:
        return CameraFault("permission", f"{name}: this user may not open it ({words}); add the user to the group video")
    if "busy" in words or "acquire" in words:
        holders = [holder(path) for path in sorted(Path("/dev").glob("media*"))]
        who = next((who for who in holders if who != UNKNOWN), UNKNOWN)
        return CameraFault("busy", f"{name}: is used by {who}; end that program")
    return CameraFault("format", f"{name}: libcamera could not set it up: {words}")
