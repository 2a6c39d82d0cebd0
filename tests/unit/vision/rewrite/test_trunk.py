"""Another last layer in a real .tflite: the file gives what the arithmetic says, and damage is one sentence."""

from pathlib import Path

import numpy as np
import pytest

from edged.errors import ModelError
from edged.models.tflite.graph import load_graph, to_interface
from edged.system.files import shipped
from edged.vision.classifier import Classifier
from edged.vision.preprocess import to_tensor
from edged.vision.probe import synthetic_frames
from edged.vision.rewrite import head
from edged.vision.rewrite.embedding import Embedder
from edged.vision.rewrite.lesson import load_bank
from edged.vision.rewrite.trunk import Trunk
from tests.campaigns.mutations import mutated
from tests.models import model_files
from tests.shared import SHARED, needs_shared


def with_head(model: bytes) -> tuple[Trunk, bytes, np.ndarray, np.ndarray | None, np.ndarray]:
    """The base, and a file with three labels and `other`, whose weights are chance."""
    trunk, rng = Trunk(model), np.random.default_rng(1)
    on_features = rng.normal(0, 0.05, (4, trunk.features)).astype(np.float32)
    on_names = None if trunk.names is None else rng.normal(0, 2, (4, len(trunk.names.bias))).astype(np.float32)
    bias = rng.normal(0, 1, 4).astype(np.float32)
    return trunk, trunk.with_head(on_features, on_names, bias, shown=3), on_features, on_names, bias


@pytest.mark.parametrize("path", model_files(), ids=lambda path: path.stem)
def test_the_file_gives_what_the_arithmetic_says(path: Path) -> None:
    trunk, made, on_features, on_names, bias = with_head(path.read_bytes())
    embedder, classifier = Embedder(path.read_bytes()), Classifier(made)
    assert classifier.facts.output == "probabilities"
    for frame in synthetic_frames()[:3]:
        features = embedder.embed(frame, "full")
        logits = on_features @ features + bias
        if on_names is not None and trunk.names is not None:
            logits = logits + on_names @ head.to_roots(features[None], trunk.names)[0]
        wanted = head.softmax(logits[None])[0, :3]
        got = classifier.classify(to_tensor(frame, classifier.facts.input))
        assert got.shape == (3,) and np.abs(got - wanted).max() < 0.03


@pytest.mark.parametrize("path", model_files(), ids=lambda path: path.stem)
def test_the_courier_reads_it_as_a_classifier(path: Path) -> None:
    _, made, *_ = with_head(path.read_bytes())
    interface = to_interface(load_graph(made))
    assert (interface.classes, interface.output, interface.output_dtype) == (3, "probabilities", "float32")


def test_the_base_s_own_last_layers_are_gone_but_for_its_names() -> None:
    path = shipped("models", "home_0.25_96.tflite")
    _, made, *_ = with_head(path.read_bytes())
    names = [tensor.name for tensor in load_graph(made).tensors]
    assert any("Linear_names" in name for name in names)
    assert not any("Linear_head" in name or "Linear_meaning" in name for name in names)


def test_what_was_taught_can_be_taught_again() -> None:
    _, made, *_ = with_head(shipped("models", "home_0.25_96.tflite").read_bytes())
    again, twice, *_ = with_head(made)
    assert again.names is not None and len(again.names.bias) == 1001
    assert Classifier(twice).facts.label_count == 3


@needs_shared
@pytest.mark.parametrize("name", ["ssd_mobilenet_v1_1.0_coco_300_quant", "deeplabv3_mobilenet_v2_dm05_pascal_513_quant"])
def test_what_has_no_features_of_the_whole_picture_is_refused(name: str) -> None:
    assert SHARED is not None
    with pytest.raises(ModelError, match=r"no one place where its features come together|no plain graph"):
        Trunk((SHARED / "models" / f"{name}.tflite").read_bytes())


def test_damage_is_one_sentence_or_another_file() -> None:
    original = shipped("models", "home_0.25_96.tflite").read_bytes()
    refused = 0
    for _, damaged in mutated(original, seed=7, count=60):
        try:
            with_head(damaged)
        except ModelError as error:
            refused += 1
            assert "\n" not in str(error)
    assert refused > 5


@pytest.mark.parametrize("path", sorted(shipped("models").glob("home_*.tflite")), ids=lambda path: path.stem)
def test_each_bundled_model_has_its_bank(path: Path) -> None:
    bank_file = path.with_name(f"{path.stem}.bank.npz")
    assert bank_file.stat().st_size <= 500_000
    import hashlib

    model = path.read_bytes()
    bank = load_bank(bank_file, hashlib.sha256(model).hexdigest(), Trunk(model).features)
    assert len(bank) >= 500 and np.isfinite(bank).all() and bank.min() >= 0  # after a ReLU6
    with pytest.raises(ModelError, match="of another model"):
        load_bank(bank_file, "0" * 64, bank.shape[1])


def test_the_family_and_its_banks_stay_small() -> None:
    files = [*shipped("models").glob("home_*.tflite"), *shipped("models").glob("*.bank.npz")]
    assert sum(file.stat().st_size for file in files) <= 20_000_000
