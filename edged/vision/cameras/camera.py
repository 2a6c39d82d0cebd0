"""What every kind of camera can do; one file per kind lies beside this one."""

from typing import Protocol

from edged.vision.frame import Frame


class CameraFault(Exception):
    """The camera cannot give frames now. `reason` is a short constant word for machines, `str()` the sentence for people.

    Reasons: library_missing, absent, busy, permission, format, read_error, unplugged, hang, frozen, ended.
    """

    def __init__(self, reason: str, sentence: str) -> None:
        super().__init__(sentence)
        self.reason = reason


class Camera(Protocol):
    """An opened camera, used by one thread."""

    def read(self) -> Frame:
        """Block until the next frame; the pace is the camera's (or, for files, the configured rate). Raises CameraFault."""

    def close(self) -> None:
        """Give the device back. Never raises; may be called twice."""
