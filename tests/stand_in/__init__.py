"""Cameras of the tests' own in a real vision process: what its environment must have."""

import os
from pathlib import Path

PYTHONPATH = os.pathsep.join([str(Path(__file__).parent), str(Path(__file__).parents[2])])
