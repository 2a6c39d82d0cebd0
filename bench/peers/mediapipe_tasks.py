"""MediaPipe Tasks: one call of ImageClassifier for a frame in memory."""

import importlib.metadata

import mediapipe
import numpy as np
from mediapipe.tasks.python import BaseOptions, vision
from turn import Step, serve


def make(model: str, width: int, height: int) -> tuple[Step, str]:
    frame = np.random.default_rng(1).integers(0, 256, (height, width, 3), np.uint8)
    options = vision.ImageClassifierOptions(base_options=BaseOptions(model_asset_path=model), max_results=5)
    classifier = vision.ImageClassifier.create_from_options(options)

    def step() -> object:
        return classifier.classify(mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=frame))

    return step, f"mediapipe {importlib.metadata.version('mediapipe')}"


serve(make)
