"""Which cameras this machine has: `find_attached` asks a child, `python -m edged.vision.cameras.attached`, which libcamera may end.

This end imports no camera library, so that a command begins at once.
"""

import contextlib
import fcntl
import importlib.util
import json
import os
import struct
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from edged.system.text import printable, to_sentence

LIMIT_S = 40.0  # picamera2 takes ten seconds from a slow card
_QUERYCAP = 0x80685600  # VIDIOC_QUERYCAP of videodev2.h
_CAPABILITY = struct.Struct("=16s32s32s3I12x")  # struct v4l2_capability
_CAPTURE, _HAS_DEVICE_CAPS = 0x1, 0x8000_0000
_NOT_INSTALLED = "{} is not installed here: sudo apt install python3-picamera2, and a venv with --system-site-packages"
_MOST = 32  # cameras
_LONGEST_NAME = 80


@dataclass(frozen=True, slots=True)
class AttachedCamera:
    """kind and source as in [camera]; name as its driver says it."""

    kind: str
    source: str
    name: str


@dataclass(frozen=True, slots=True)
class Attached:
    """The cameras, those of the Pi first; and why picamera2 sees none, in a sentence, where it does not."""

    cameras: tuple[AttachedCamera, ...]
    no_picamera2: str = ""


def find_attached() -> Attached:
    """Opens no camera to film with it; up to LIMIT_S seconds. Never raises."""
    command = [sys.executable, "-P", "-m", "edged.vision.cameras.attached"]
    environment = os.environ | {"OPENCV_LOG_LEVEL": "SILENT", "LIBCAMERA_LOG_LEVELS": "*:FATAL", "OPENBLAS_NUM_THREADS": "1"}
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=LIMIT_S, env=environment, check=False)
        said, ended = done.stdout, f"the process that looks for cameras ended with {done.returncode}" if done.returncode else ""
    except subprocess.TimeoutExpired as late:
        said, ended = late.stdout or b"", f"libcamera did not answer within {LIMIT_S:g} s"
    except OSError as error:
        said, ended = b"", f"no process could be started: {error.strerror}"
    return to_attached(said, ended)


def why_no_picamera2() -> str:
    """Why picamera2 will see no camera, as far as that can be told without opening one; else empty. Never raises."""
    if importlib.util.find_spec("picamera2") is None:
        return _NOT_INSTALLED.format("picamera2")
    if any(Path("/dev").glob("media*")):
        return ""  # the kernel has one; what libcamera makes of it takes seconds to learn, and edged doctor looks
    return find_attached().no_picamera2


def to_attached(said: bytes, ended: str) -> Attached:
    """What the child said; `ended`: why it could not say all. Pure."""
    cameras, why = list[AttachedCamera](), ended
    for line in said.decode(errors="replace").splitlines():
        try:
            told = json.loads(line)
        except ValueError:
            continue  # a library that talks
        if not isinstance(told, dict):
            continue
        if "no_picamera2" in told:
            why = to_sentence(str(told["no_picamera2"]))
        elif len(cameras) < _MOST and all(isinstance(told.get(key), str) for key in ("kind", "source", "name")):
            cameras.append(AttachedCamera(told["kind"], told["source"], printable(told["name"])[:_LONGEST_NAME]))
    if any(one.kind == "picamera2" for one in cameras):
        why = ""
    return Attached(tuple(sorted(cameras, key=lambda one: one.kind != "picamera2")), why)


def _of_v4l2() -> Iterator[AttachedCamera]:
    """Devices that can be opened, film, and are no part of the Pi's own camera."""
    devices = sorted(Path("/dev").glob("video*"), key=lambda path: (len(path.name), path.name))
    if not devices:
        return  # so that OpenCV, which takes a while, is not loaded
    from edged.vision.cameras.camera import CameraFault
    from edged.vision.cameras.v4l2 import check_device

    stable = {os.path.realpath(link): str(link) for link in sorted(Path("/dev/v4l/by-id").glob("*index0"))}
    for device in devices:
        with contextlib.suppress(CameraFault, OSError):
            check_device(device)
            if (name := _to_name(device)) is not None:
                yield AttachedCamera("v4l2", stable.get(str(device), str(device)), name)


def _to_name(device: Path) -> str | None:
    """What the driver calls it; None for one that does not film: metadata, codecs, outputs. Raises OSError."""
    handle = os.open(device, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        answer = fcntl.ioctl(handle, _QUERYCAP, bytes(_CAPABILITY.size))
    finally:
        os.close(handle)
    _, card, _, _, all_caps, own_caps = _CAPABILITY.unpack(answer)
    caps = own_caps if all_caps & _HAS_DEVICE_CAPS else all_caps
    return card.split(b"\0")[0].decode(errors="replace") if caps & _CAPTURE else None


def _of_picamera2() -> Iterator[AttachedCamera]:
    """Raises ImportError, or what libcamera raises. USB cameras, which libcamera knows too, are left to V4L2."""
    from picamera2 import Picamera2

    for number, info in enumerate(Picamera2.global_camera_info()):
        path = str(info.get("Id", ""))  # in the device tree
        if "usb" not in path:
            yield AttachedCamera("picamera2", str(number), str(info.get("Model", "")))


def main() -> None:
    for one in _of_v4l2():
        _say({"kind": one.kind, "source": one.source, "name": one.name})
    try:
        found = list(_of_picamera2())
        why = "" if found else "libcamera sees no camera: check the cable at both ends, then rpicam-hello --list-cameras"
    except ModuleNotFoundError as error:
        found = []
        why = _NOT_INSTALLED.format(error.name)
    except (ImportError, ValueError, RuntimeError, OSError, IndexError, AttributeError) as error:
        found, why = [], f"picamera2 does not load: {error}"
    for one in found:
        _say({"kind": one.kind, "source": one.source, "name": one.name})
    if why:
        _say({"no_picamera2": why})


def _say(told: dict[str, str]) -> None:
    print(json.dumps(told), flush=True)  # noqa: T201  # the answer


if __name__ == "__main__":
    main()
