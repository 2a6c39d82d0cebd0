"""Which kind of camera is which class. Imported late: a library is loaded when a camera that needs it is opened."""

import importlib
from typing import Any

from edged.vision.cameras.camera import Camera, CameraFault

KINDS: dict[str, tuple[str, str, frozenset[str]]] = {
    "pictures": ("edged.vision.cameras.pictures", "PicturesCamera", frozenset({"fps", "loop", "show_s"})),
    "v4l2": ("edged.vision.cameras.v4l2", "V4l2Camera", frozenset({"fps", "width_px", "height_px", "rotation", "exposure_max_ms"})),
    "stream": ("edged.vision.cameras.stream", "StreamCamera", frozenset({"fps", "rotation", "user", "password_file"})),
    "picamera2": (
        "edged.vision.cameras.pi",
        "Picamera2Camera",
        frozenset({"fps", "width_px", "height_px", "rotation", "exposure_max_ms", "region", "buffers", "px"}),
    ),
}
_INSTALL = {"picamera2": "sudo apt install python3-picamera2, and a venv with --system-site-packages"}


def open_camera(kind: str, source: str, **values: Any) -> Camera:
    """Open the device; each kind takes those of the values that mean something to it. Raises CameraFault."""
    module, name, known = KINDS[kind]
    try:
        made = getattr(importlib.import_module(module), name)
    except (ImportError, ValueError) as e:  # ValueError: a library that was built for another numpy
        advice = _INSTALL.get(kind, "install edged anew")
        raise CameraFault(
            "library_missing", f"camera.kind = {kind} needs {getattr(e, 'name', None) or 'its library'}: {e}; {advice}"
        ) from None
    camera: Camera = made(source, **{key: value for key, value in values.items() if key in known})
    return camera
