"""A .tflite that goes through the tree and back gives the same scores; damage is one sentence."""

import numpy as np
import pytest

from edged.errors import ModelError
from edged.vision.classifier import Classifier
from edged.vision.rewrite import flatbuffer
from tests.campaigns.mutations import mutated
from tests.models import model_files


@pytest.mark.parametrize("path", model_files(), ids=lambda path: path.stem)
def test_there_and_back_is_the_same_network(path) -> None:
    before, after = Classifier(path.read_bytes()), Classifier(flatbuffer.write(flatbuffer.read(path.read_bytes())))
    wanted = before.facts.input
    noise = np.random.default_rng(1).integers(0, 100, (1, wanted.height, wanted.width, 3)).astype(wanted.dtype)
    assert np.array_equal(before.classify(noise), after.classify(noise))
    assert before.facts == after.facts


def test_damage_is_one_sentence_or_another_tree() -> None:
    original = model_files()[0].read_bytes()
    refused = 0
    for _, damaged in mutated(original, seed=5, count=60):
        try:
            flatbuffer.write(flatbuffer.read(damaged))
        except ModelError as error:
            refused += 1
            assert "\n" not in str(error)
    assert refused > 5


def test_without_the_schema_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flatbuffer, "_SCHEMA", "tflite_runtime.schema_py_generated")
    with pytest.raises(flatbuffer.NoSchemaError, match="brings no schema"):
        flatbuffer.read(model_files()[0].read_bytes())
