"""`python -m edged.vision.rewrite.embedding`: the throw-away process that turns picture files into a network's pooled features.

Pictures of unknown origin are decoded here, and nothing else is done: another process, which sees no picture, makes the model.
The asking end is edged/models/teach/teach.py.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edged.errors import ModelError, ModelFileError
from edged.process.pipe import Pipe
from edged.process.sandbox import begin
from edged.process.seccomp import forbid_network
from edged.system.files import read_model
from edged.vision.classifier import Classifier
from edged.vision.classify import MEMORY_MB, load_picture, to_enough_px
from edged.vision.decode import PictureError
from edged.vision.frame import Frame
from edged.vision.preprocess import Crop, Input, to_tensor
from edged.vision.rewrite.copies import to_thumb
from edged.vision.rewrite.flatbuffer import NoSchemaError
from edged.vision.rewrite.trunk import Trunk

# of which pictures are also learnt: share of each side, where it lies (0 left or top … 1), whether it is mirrored
_VIEWS = ((1.0, 0.0, 0.0, True), (0.8, 0.5, 0.5, False), (0.8, 0.5, 0.5, True), (0.75, 0.0, 0.0, False), (0.75, 1.0, 1.0, True))
VIEWS = len(_VIEWS)


def to_views(frame: Frame) -> Iterator[Frame]:
    """Parts of a picture and their mirror images: the same thing, from a little nearer and from the other side. Pure."""
    for share, x, y, is_mirrored in _VIEWS:
        width, height = max(1, int(frame.width * share)), max(1, int(frame.height * share))
        left, top = int((frame.width - width) * x), int((frame.height - height) * y)
        part = frame.pixels[top : top + height, left : left + width]
        yield replace(frame, pixels=np.ascontiguousarray(part[:, ::-1] if is_mirrored else part), width=width, height=height)


class Embedder:
    """One base; pictures → features (features,) float32. Raises ModelError for what cannot be taught."""

    def __init__(self, model: bytes) -> None:
        # "probabilities": the numbers as they are, without a softmax
        self._classifier = Classifier(Trunk(model).embedder(), output="probabilities")

    @property
    def quantisation(self) -> tuple[float, int]:
        """Scale and zero point of the features in the file; (0, 0) for a float network."""
        return self._classifier.output_quantisation

    @property
    def input(self) -> Input:
        """What a frame is made into."""
        return self._classifier.facts.input

    def embed(self, frame: Frame, crop: Crop) -> NDArray[np.float32]:
        return self._classifier.classify(to_tensor(frame, self._classifier.facts.input, crop=crop))


def load_base(path: str, sha256: str) -> bytes:
    """Raises ModelError for another file than the one that is meant."""
    model = read_model(Path(path))
    if hashlib.sha256(model).hexdigest() != sha256:
        raise ModelFileError(f"{path}: the file is not the one that was asked for: it changed while it was being read")
    return model


class Pictures:
    """Answers one request at a time."""

    def __init__(self) -> None:
        self._embedder: Embedder | None = None

    def answer(self, pipe: Pipe, kind: str, fields: dict[str, Any]) -> None:
        try:
            if kind == "embed":
                self._embedder = Embedder(load_base(**fields))
                pipe.send("loaded", {})
            else:
                pipe.send("features", {}, self._look(**fields))
        except NoSchemaError:
            pipe.send("no_schema", {})
        except ModelError as error:
            pipe.send("refused", {"reason": str(error)})
        except PictureError as error:
            pipe.send("unreadable", {"reason": str(error)})
        except MemoryError:
            pipe.send("unreadable", {"reason": f"needs more than {MEMORY_MB} MB"})

    def _look(self, picture: str, crop: Crop) -> bytes:
        assert self._embedder is not None
        frame = load_picture(Path(picture), to_enough_px(self._embedder.input))
        return to_thumb(frame) + b"".join(self._embedder.embed(one, crop).tobytes() for one in (frame, *to_views(frame)))


def main() -> None:
    forbid_network()
    pipe = begin(MEMORY_MB)
    cv2.setNumThreads(1)
    pictures = Pictures()
    pipe.send("ready", {})
    while (message := pipe.receive()) is not None:
        kind, fields, _ = message
        pictures.answer(pipe, kind, fields)


if __name__ == "__main__":
    main()
