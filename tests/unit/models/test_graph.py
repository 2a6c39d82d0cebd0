"""The graph reader: right about real graphs, and never more than a sentence about damaged ones."""

import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edged.errors import ModelError
from edged.models.tflite.graph import Graph, Operation, Tensor, load_graph, to_interface
from tests.shared import SHARED, needs_shared

MODELS = SHARED / "models" if SHARED else Path()


@needs_shared
@pytest.mark.parametrize(
    ("name", "million_macs", "million_params", "px", "output"),
    [
        ("mobilenet_v1_0.25_128_quant", 13.57, 0.468, 128, "probabilities"),
        ("mobilenet_v1_0.25_224", 41.03, 0.468, 224, "probabilities"),
        ("mobilenet_v1_1.0_224_quant", 568.74, 4.222, 224, "probabilities"),
        ("mobilenet_v2_1.0_224_quant", 300.78, 3.489, 224, "logits"),
        ("mobilenet_v3_small_1.0_224_quant", 56.51, 2.538, 224, "probabilities"),
    ],
)
def test_what_a_graph_says(name: str, million_macs: float, million_params: float, px: int, output: str) -> None:
    graph = load_graph((MODELS / f"{name}.tflite").read_bytes())
    interface = to_interface(graph)
    assert graph.macs().total / 1e6 == pytest.approx(million_macs, abs=0.01)
    assert graph.params() / 1e6 == pytest.approx(million_params, abs=0.001)
    assert (interface.height, interface.width, interface.classes, interface.output) == (px, px, 1001, output)


@needs_shared
@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("ssd_mobilenet_v1_1.0_coco_300_quant", "object detector"),
        ("deeplabv3_mobilenet_v2_dm05_pascal_513_quant", "segmentation"),
        ("mobilenet_v1_1.0_224_quant_embedding_extractor", "embedding"),
    ],
)
def test_graphs_for_other_tasks_are_refused_by_name(name: str, says: str) -> None:
    with pytest.raises(ModelError, match=says):
        to_interface(load_graph((MODELS / f"{name}.tflite").read_bytes()))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "empty"),
        (b"hello, this is text", "text"),
        (b"PK\x03\x04" + bytes(30), "zip"),
        (b"\x1f\x8b" + bytes(30), "gzip"),
        (bytes(4) + b"TFL3", "cut off or damaged"),
        (b"\xff\xff\xff\xffTFL3" + bytes(100), "cut off or damaged"),
    ],
)
def test_what_is_no_model_is_told(content: bytes, says: str) -> None:
    with pytest.raises(ModelError, match=says):
        load_graph(content)


@given(st.binary(max_size=400))
def test_any_bytes_behind_the_mark_give_a_graph_or_a_sentence(tail: bytes) -> None:
    try:
        to_interface(load_graph(b"\x10\0\0\0TFL3" + tail))
    except ModelError as told:
        assert "\n" not in str(told)


@needs_shared
def test_damage_anywhere_gives_a_graph_or_a_sentence() -> None:
    whole = (MODELS / "mobilenet_v1_0.25_128_quant.tflite").read_bytes()
    chance = random.Random(1)
    for _ in range(300):
        damaged = bytearray(whole[: chance.choice([len(whole), chance.randrange(len(whole))])])
        for _ in range(chance.randrange(1, 30)):
            # the structure is at the end, the weights before it
            damaged[-chance.randrange(1, min(len(damaged), 20_000))] = chance.randrange(256)
        try:
            graph = load_graph(bytes(damaged))
            to_interface(graph)
            graph.macs()
        except ModelError as told:
            assert "\n" not in str(told)


def graph_of(
    inputs: tuple[Tensor, ...] = (), outputs: tuple[Tensor, ...] = (), last: str = "SOFTMAX", dtype: str = "uint8"
) -> Graph:
    """Picture in, row out, unless said otherwise."""
    inputs = inputs or (tensor((1, 96, 96, 3), dtype),)
    outputs = outputs or (tensor((1, 8), dtype),)
    tensors = (*inputs, *outputs)
    ins, outs = tuple(range(len(inputs))), tuple(range(len(inputs), len(tensors)))
    return Graph(tensors, ins, outs, (Operation(last, ins, outs),))


def tensor(shape: tuple[int, ...], dtype: str = "uint8", *, dynamic: bool = False) -> Tensor:
    return Tensor("t", shape, dtype, 0.0, 0, constant=False, dynamic=dynamic)


@pytest.mark.parametrize(
    ("graph", "says"),
    [
        (graph_of(inputs=(tensor((1, 96, 96, 3)), tensor((1, 4)))), "2 inputs"),
        (graph_of(outputs=(tensor((1, 8)), tensor((1, 4)))), "2 outputs"),
        (graph_of(inputs=(tensor((1, 96, 96, 3), dynamic=True),)), "dynamic shape"),
        (graph_of(inputs=(tensor((1, 96, 96, 1)),)), "1×96×96×1"),
        (graph_of(inputs=(tensor((1, 4096, 96, 3)),)), "8 to 1024 px"),
        (graph_of(inputs=(tensor((4, 96, 96, 3)),)), "4×96×96×3"),
        (graph_of(dtype="float16"), "float16"),
        (graph_of(outputs=(tensor((1, 12, 12, 8)),)), "segmentation"),
        (graph_of(outputs=(tensor((1, 1)),)), "1×labels"),
        (graph_of(last="MEAN"), "embedding"),
        (graph_of(last="ARG_MAX"), "class numbers"),
    ],
)
def test_what_is_no_classifier_is_told(graph: Graph, says: str) -> None:
    with pytest.raises(ModelError, match=says):
        to_interface(graph)


@pytest.mark.parametrize(("last", "output"), [("SOFTMAX", "probabilities"), ("LOGISTIC", "probabilities"), ("CONV_2D", "logits")])
def test_the_last_operation_tells_what_the_scores_are(last: str, output: str) -> None:
    assert to_interface(graph_of(last=last)).output == output
