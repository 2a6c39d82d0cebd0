"""What picamera2 needs to open the cameras of libcamera's virtual pipeline. Only in the bed.

That pipeline has no role for raw pictures, so picamera2's question for raw modes is answered with those for films; and
picamera2's own allocator wants a heap of contiguous memory, in whose place libcamera's own allocator comes.
"""

import libcamera
import picamera2.picamera2 as inside
from picamera2 import Picamera2
from picamera2.allocators import LibcameraAllocator
from picamera2.allocators.allocator import Allocator

_open = Picamera2.__init__


def _get_raw_modes(self):
    formats = self.camera.generate_configuration([libcamera.StreamRole.VideoRecording]).at(0).formats
    return [{"format": str(p), "size": (s.width, s.height)} for p in formats.pixel_formats for s in formats.sizes(p)]


def _opened(self, camera_num=0, verbose_console=None, tuning=None, allocator=None):
    _open(self, camera_num, verbose_console, tuning, allocator or Allocator())
    if allocator is None:
        self.allocator = LibcameraAllocator(self.camera)


Picamera2._get_raw_modes = _get_raw_modes
Picamera2.__init__ = _opened
inside.DmaAllocator = Allocator  # close() makes a new one too
