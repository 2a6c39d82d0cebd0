"""Where every test finds Mosquitto and its tools: on the PATH, where Debian puts it, or where `make test` unpacked it."""

import os
import sys
from pathlib import Path

from hypothesis import settings

os.environ["PATH"] = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", str(Path(sys.prefix, "mosquitto/bin"))])

settings.register_profile("edged", deadline=None)  # how long an example takes says nothing on a machine that does other things too
settings.load_profile("edged")
