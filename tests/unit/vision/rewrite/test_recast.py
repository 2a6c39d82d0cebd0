"""uint8 → int8: exact where it can be, as near as it can be elsewhere, and no where it can't be."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edged.errors import ModelError
from edged.system.files import shipped
from edged.vision.classifier import Classifier
from edged.vision.preprocess import to_tensor
from edged.vision.rewrite import flatbuffer
from edged.vision.rewrite.proof import compare, golden_frames
from edged.vision.rewrite.recast import recast, to_symmetric
from tests.campaigns.mutations import mutated
from tests.graphs import Net, tiny_uint8
from tests.shared import SHARED, needs_shared

PUBLISHED = sorted((SHARED / "models").glob("mobilenet_v[12]*_quant.tflite")) if SHARED else []
ROWS = st.lists(st.lists(st.integers(-255, 255), min_size=9, max_size=9), min_size=1, max_size=6)


@given(ROWS)
def test_a_channel_that_fits_is_kept_and_another_is_as_near_as_its_steps(rows):
    rows = np.array(rows, np.int32)
    made, factors = to_symmetric(rows)
    assert made.dtype == np.int8 and made.min() >= -127
    for row, new, factor in zip(rows, made.astype(int), factors, strict=True):
        if np.abs(row).max() <= 127:
            assert factor == 1 and (new == row).all()
        else:
            off = new * factor - row
            widest = np.abs(row).max() / 127
            rounded = np.rint(row / widest) * widest - row
            assert (off**2).sum() + off.sum() ** 2 <= (rounded**2).sum() + rounded.sum() ** 2 + widest**2 * 10


def test_what_fits_gives_the_very_same_scores():
    model = tiny_uint8(3, wide_channel=False)
    before, after = Classifier(model), Classifier(recast(model))
    assert before.facts.input.dtype == "uint8" and after.facts.input.dtype == "int8"
    for frame in golden_frames():
        assert np.array_equal(*(net.classify(to_tensor(frame, net.facts.input)) for net in (before, after)))


def test_the_delegate_takes_as_much_as_before_and_the_bias_follows_its_weights():
    model = tiny_uint8(5)
    before, after = Classifier(model), Classifier(recast(model))
    assert after.facts.delegate_nodes == before.facts.delegate_nodes > 0
    figures = compare(before, after, list(golden_frames()))
    assert figures["sure"] >= 20 and figures["same"] == figures["sure"] and figures["apart"] < 0.05


def test_only_the_types_change():
    before, after = (flatbuffer.read(model).subgraphs[0] for model in (tiny_uint8(1), recast(tiny_uint8(1))))
    assert [list(t.shape) for t in before.tensors] == [list(t.shape) for t in after.tensors]
    assert [list(o.inputs) for o in before.operators] == [list(o.inputs) for o in after.operators]
    for old, new in zip(before.tensors, after.tensors, strict=True):
        if new.buffer == 0:  # an activation: the scale stays
            assert list(new.quantization.scale) == list(old.quantization.scale)
            assert new.quantization.zeroPoint[0] == old.quantization.zeroPoint[0] - 128


@pytest.mark.parametrize("name", ["home_0.25_96", "home_1.0_160"])
def test_an_int8_network_is_left_alone(name):
    with pytest.raises(ModelError, match="not uint8"):
        recast(shipped("models", f"{name}.tflite").read_bytes())


def test_an_unknown_operation_is_named():
    tree = flatbuffer.read(tiny_uint8(1))
    tree.operatorCodes[0].builtinCode = flatbuffer.load_schema().BuiltinOperator.GATHER
    with pytest.raises(ModelError, match="the network has GATHER, which is not recast"):
        recast(flatbuffer.write(tree))


def two_depthwise() -> Any:
    """The tree of a network with two layers alike, the tensors of both, (weights, bias) twice, and the layers."""
    net = Net(np.random.default_rng(5), wide_channel=True)
    net.graph.inputs = [net.tensor((1, 32, 32, 3), flatbuffer.load_schema().TensorType.UINT8, 1 / 128, 128)]
    at = net.conv(net.graph.inputs[0], 8, 3, 2, 16)
    tree = flatbuffer.read(net.classified(net.depthwise(net.depthwise(at, 16), 16), 16, 8, beta=5.0))
    tensors, layers = tree.subgraphs[0].tensors, tree.subgraphs[0].operators[1:3]
    return tree, [[tensors[n] for n in layer.inputs[1:]] for layer in layers], layers


@pytest.mark.parametrize("shared", [(0,), (1,), (0, 1)])
def test_tensors_that_share_a_buffer_are_each_recast_once(shared):
    """Converters keep equal numbers once: neither weights nor biases may be changed for one layer and again for the next."""
    tree, (first, second), _ = two_depthwise()
    for part in range(2):  # the numbers are the same either way, and in two buffers or in one
        tree.buffers[second[part].buffer].data = tree.buffers[first[part].buffer].data
    apart = recast(flatbuffer.write(tree))
    for part in shared:
        second[part].buffer = first[part].buffer
    together = recast(flatbuffer.write(tree))
    constants = [
        [(number, bytes(made.buffers[one.buffer].data)) for number, one in enumerate(made.subgraphs[0].tensors) if one.buffer]
        for made in map(flatbuffer.read, (apart, together))
    ]
    assert constants[0] == constants[1]
    figures = compare(Classifier(apart), Classifier(together), list(golden_frames()))
    assert figures["apart"] == 0


@pytest.mark.parametrize("which", [1, 2])
def test_layers_with_one_tensor_for_both_are_not_recast(which):
    tree, _, layers = two_depthwise()
    layers[1].inputs = [layers[0 if one == which else 1].inputs[one] for one in range(3)]
    with pytest.raises(ModelError, match="each layer's its own"):
        recast(flatbuffer.write(tree))


@pytest.mark.parametrize("bias", [[], [-1]])
def test_a_layer_without_a_bias_is_not_recast(bias):
    tree, _, layers = two_depthwise()
    layers[0].inputs = [*layers[0].inputs[:2], *bias]
    with pytest.raises(ModelError, match="a layer without a bias"):
        recast(flatbuffer.write(tree))


def test_damage_is_one_sentence_or_another_network():
    outcome = {"refused": 0, "made": 0}
    for _, damaged in mutated(tiny_uint8(2), seed=7, count=150):
        try:
            recast(damaged)
            outcome["made"] += 1
        except ModelError as error:
            outcome["refused"] += 1
            assert "\n" not in str(error)
    assert min(outcome.values()) > 5


@needs_shared
@pytest.mark.parametrize("path", PUBLISHED, ids=lambda path: path.stem)
def test_each_published_network_is_proven_on_the_golden_pictures(path):
    if "embedding" in path.stem:
        pytest.skip("it is no classifier")
    original = path.read_bytes()
    figures = compare(Classifier(original), Classifier(recast(original)), list(golden_frames()))
    assert figures["pictures"] >= 32 and figures["sure"] >= 10
    assert figures["same"] >= 0.9 * figures["sure"] and figures["apart"] <= 0.15
