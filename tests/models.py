"""Models and a picture to test with: those of ../shared where that is, else the bundled ones."""

from pathlib import Path

import cv2
import numpy as np

from edged.system.files import shipped
from tests.shared import SHARED


def any_model() -> list[str]:
    """`--model` and `--labels` for a small model."""
    if SHARED is None:
        return ["--model", "auto"]
    return [
        "--model",
        str(SHARED / "models/mobilenet_v1_0.25_128_quant.tflite"),
        "--labels",
        str(SHARED / "labels/imagenet_1001.txt"),
    ]


def any_model_config() -> dict[str, str]:
    """The same, as the table [model] of a config."""
    _, name, *labels = any_model()
    return {"name": name} | ({"labels": labels[1]} if labels else {})


def model_files() -> list[Path]:
    """Small classifiers of every kind: uint8, float32, logits, int8."""
    names = ("mobilenet_v1_0.25_128_quant", "mobilenet_v1_0.25_224", "mobilenet_v2_1.0_224_quant")
    others = [SHARED / "models" / f"{name}.tflite" for name in names] if SHARED else []
    return others + sorted(shipped("models").glob("*.tflite"))[:1]


def a_picture(folder: Path) -> Path:
    path = folder / "picture.png"
    cv2.imwrite(str(path), np.random.default_rng(1).integers(0, 256, (96, 128, 3), np.uint8))
    return path


def model_table() -> dict[str, str]:
    """The same model for a config."""
    option = any_model()
    return {option[n].strip("-").replace("model", "name"): option[n + 1] for n in range(0, len(option), 2)}
