"""Models in use, without a model."""

import hashlib
from pathlib import Path

from edged.models.card import Card
from edged.models.measurements import Measured
from edged.models.store import Installed
from edged.rollout.active import Active

INPUT = {"width": 96, "height": 96, "dtype": "uint8", "scale": 1.0, "zero": 0, "float_range": [0.0, 1.0]}
TOLD = {
    "runtime": "litert",
    "delegate": "XNNPACK",
    "delegate_nodes": 30,
    "nodes": 31,
    "threads": 1,
    "input": INPUT,
    "label_count": 3,
    "output": "probabilities",
}


def active(name: str, ms: float = 10.0) -> Active:
    sha256 = hashlib.sha256(name.encode()).hexdigest()
    card = Card(name=name, family="home", px=96, dtype="uint8", label_count=3, output="probabilities", sha256=sha256)
    installed = Installed(card, Path(f"/models/{name}.tflite"), ("cat", "dog", "background"), sha256, 1.0)
    return Active(installed, 1, "config", Measured(p50_ms=ms, p95_ms=ms, memory_mb=1, threads=1, runs=20))
