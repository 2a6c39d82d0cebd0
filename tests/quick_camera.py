"""A camera that films as fast as it is asked to, $EDGED_FRAMES_A_SECOND, whatever the config says: years of frames in minutes.

Its pictures are decoded beforehand; each scene stays for some seconds, so that labels come and go.
"""

import os
import time
from typing import Any

import cv2
from skimage import data

from edged.vision.frame import Frame

_SIDE, _SCENE_NS = 128, 8_000_000_000


class QuickCamera:
    def __init__(self, source: str, **_: Any) -> None:
        scenes = (data.chelsea(), data.coffee(), data.astronaut())
        self._scenes = [cv2.resize(scene, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA) for scene in scenes]
        self._period_ns = 1_000_000_000 // int(os.environ["EDGED_FRAMES_A_SECOND"])
        self._due_ns = time.monotonic_ns()

    def read(self) -> Frame:
        now_ns = time.monotonic_ns()
        self._due_ns = max(self._due_ns + self._period_ns, now_ns - self._period_ns)
        if self._due_ns > now_ns:
            time.sleep((self._due_ns - now_ns) / 1e9)  # this is how a camera makes one wait for its frames
        at_ns = time.monotonic_ns()
        scene = self._scenes[at_ns // _SCENE_NS % len(self._scenes)].copy()  # a camera's library gives new memory each time
        return Frame(scene, "rgb", _SIDE, _SIDE, at_ns)

    def close(self) -> None:
        return
