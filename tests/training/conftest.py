"""The tests of models/training need PyTorch and the converter, which edged itself does not: `make training-test` sets them up."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "models" / "training"))
