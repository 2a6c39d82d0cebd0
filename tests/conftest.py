"""Where every test finds Mosquitto and its tools: on the PATH, where Debian puts it, or where `make test` unpacked it."""

import os
import sys
from pathlib import Path

os.environ["PATH"] = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", str(Path(sys.prefix, "mosquitto/bin"))])
