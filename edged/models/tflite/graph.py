"""What a .tflite file says about itself: shapes, operations, multiply-adds. Pure Python, bounds-checked.

The courier may not load native code, and the interpreter is not a safe place for a file of unknown origin; so the little
that must be known beforehand is read here, straight from the flatbuffer (schema.fbs of TensorFlow Lite, version 3).
"""

import math
from dataclasses import dataclass
from typing import Literal, get_args

from edged.errors import ModelError
from edged.models.tflite.flatbuffer import DAMAGE, Table
from edged.system.files import LARGEST_BYTES
from edged.system.shapes import check_fixed, check_input, check_output, to_text

Dtype = Literal["uint8", "int8", "float32"]

_DTYPES = {0: "float32", 1: "float16", 2: "int32", 3: "uint8", 4: "int64", 6: "bool", 7: "int16", 9: "int8"}
_OPERATIONS = {  # those that decide something here, or that MobileNets have
    0: "ADD", 1: "AVERAGE_POOL_2D", 2: "CONCATENATION", 3: "CONV_2D", 4: "DEPTHWISE_CONV_2D", 6: "DEQUANTIZE",
    9: "FULLY_CONNECTED", 11: "L2_NORMALIZATION", 14: "LOGISTIC", 17: "MAX_POOL_2D", 18: "MUL", 19: "RELU", 21: "RELU6",
    22: "RESHAPE", 23: "RESIZE_BILINEAR", 25: "SOFTMAX", 32: "CUSTOM", 34: "PAD", 40: "MEAN", 43: "SQUEEZE", 56: "ARG_MAX",
    65: "SLICE", 75: "SQRT", 114: "QUANTIZE", 117: "HARD_SWISH",
}  # fmt: skip
_WEIGHTED = {"CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"}
_SHAPING = {"RESHAPE", "SQUEEZE", "SLICE", "QUANTIZE", "DEQUANTIZE"}  # they change no score


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor of the graph. `dynamic`: some dimension is decided only when it runs."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    scale: float
    zero_point: int
    constant: bool
    dynamic: bool


@dataclass(frozen=True, slots=True)
class Operation:
    name: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Graph:
    """The first subgraph of a model file."""

    tensors: tuple[Tensor, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    operations: tuple[Operation, ...]

    def macs(self) -> "Macs":
        """Multiply-adds of one inference, computed from the shapes. Raises ModelError where a shape is impossible."""
        thin = point = 0
        for operation in self.operations:
            if operation.name in _WEIGHTED:
                kind, count = self._macs_of(operation)
                if kind == "pointwise":
                    point += count
                else:
                    thin += count
        return Macs(thin, point)

    def params(self) -> int:
        """Weights and biases of the convolutions and fully connected layers."""
        used = {i for o in self.operations if o.name in _WEIGHTED for i in o.inputs[1:] if 0 <= i < len(self.tensors)}
        return sum(math.prod(self.tensors[i].shape) for i in used if self.tensors[i].constant)

    def _macs_of(self, operation: Operation) -> tuple[Literal["thin", "pointwise"], int]:
        try:
            weights, out = self.tensors[operation.inputs[1]].shape, self.tensors[operation.outputs[0]].shape
            if operation.name == "FULLY_CONNECTED":
                return "pointwise", math.prod(weights)
            _, height, width, deep = weights
        except (IndexError, ValueError):
            raise ModelError(f"the graph's {operation.name} has impossible shapes: the file is damaged") from None
        if operation.name == "DEPTHWISE_CONV_2D":
            return "thin", math.prod(out) * height * width
        return "pointwise" if height == width == 1 else "thin", math.prod(out) * height * width * deep


@dataclass(frozen=True, slots=True)
class Macs:
    """thin: depthwise and the k×k convolutions, bound by memory; pointwise: 1×1 and fully connected, bound by arithmetic.

    A core spends a different time on the two: MACs alone predict latency badly, the pair predicts it well.
    """

    thin: int
    pointwise: int

    @property
    def total(self) -> int:
        return self.thin + self.pointwise


@dataclass(frozen=True, slots=True)
class Interface:
    """What a classifier needs to know of a graph: one picture in, one row of scores out."""

    height: int
    width: int
    input_dtype: Dtype
    classes: int
    output_dtype: Dtype
    output: Literal["probabilities", "logits"]


def load_graph(model: bytes) -> Graph:
    """Read the graph of a .tflite file's bytes. Raises ModelError for whatever is not one, or is cut or damaged."""
    if not model:
        raise ModelError("the model file is empty: copy it again")
    if len(model) > LARGEST_BYTES:
        raise ModelError(f"the model file is larger than {LARGEST_BYTES >> 20} MB: no classifier for a Pi is")
    if model[4:8] != b"TFL3":
        raise ModelError(f"not a .tflite file ({_looks_like(model)})")
    try:
        return _read(Table.root(model))
    except DAMAGE as fault:
        raise ModelError(f"the model file is cut off or damaged ({fault}): copy it again") from None


def to_interface(graph: Graph) -> Interface:
    """Pure. Raises ModelError for graphs that do not classify one picture: detection, segmentation, embeddings, …"""
    ins, outs = len(graph.inputs), len(graph.outputs)
    if outs > 1 or any("Detection" in o.name for o in graph.operations):
        raise ModelError(f"the graph has {outs} outputs, like an object detector: edged needs a classifier, with one row of scores")
    if ins != 1 or outs != 1:
        raise ModelError(f"the graph has {ins} inputs and {outs} outputs: edged needs one picture in and one row of scores out")
    picture, scores = graph.tensors[graph.inputs[0]], graph.tensors[graph.outputs[0]]
    for tensor in (picture, scores):
        check_fixed(tensor.name, tensor.shape, dynamic=tensor.dynamic)
    check_input(picture.shape)
    output = _output_kind(graph)
    check_output(scores.shape)
    return Interface(
        height=picture.shape[1],
        width=picture.shape[2],
        input_dtype=_known_dtype(picture),
        classes=scores.shape[1],
        output_dtype=_known_dtype(scores),
        output=output,
    )


def _known_dtype(tensor: Tensor) -> Dtype:
    for dtype in get_args(Dtype):
        if tensor.dtype == dtype:
            return dtype  # type: ignore[no-any-return]
    raise ModelError(f"the graph's {tensor.name!r} is {tensor.dtype}: edged takes uint8, int8 and float32")


def _output_kind(graph: Graph) -> Literal["probabilities", "logits"]:
    """SOFTMAX or LOGISTIC last: probabilities. A layer with weights last: logits. Pooled features are no classes at all."""
    made_by = {i: o for o in graph.operations for i in o.outputs}
    seen: set[int] = set()
    at = graph.outputs[0]
    while at in made_by and at not in seen:
        seen.add(at)
        operation = made_by[at]
        if operation.name in ("SOFTMAX", "LOGISTIC"):
            return "probabilities"
        if operation.name == "ARG_MAX":
            shape = to_text(graph.tensors[at].shape)
            raise ModelError(
                f"the graph's output is {shape} class numbers without scores, like segmentation: edged needs a classifier"
            )
        if operation.name in _WEIGHTED:
            return "logits"
        if operation.name not in _SHAPING or not operation.inputs:
            count = math.prod(graph.tensors[at].shape)
            raise ModelError(
                f"the graph ends in {operation.name}: its {count} numbers are features (an embedding), not scores of classes"
            )
        at = operation.inputs[0]
    raise ModelError("nothing in the graph makes its output: the file is damaged")


def _read(root: Table) -> Graph:
    codes = [_operation_name(code) for code in root.tables(1)]
    subgraphs = list(root.tables(2))
    filled = [len(b.vector(0)) > 0 or b.number(1, "Q") > 1 for b in root.tables(4)]
    if not subgraphs:
        raise ValueError("it has no graph")
    if len(subgraphs) != 1:
        raise ModelError(f"the model has {len(subgraphs)} subgraphs: edged takes plain graphs with one")
    (main,) = subgraphs
    tensors = tuple(_tensor(t, filled) for t in main.tables(0))
    inputs, outputs = main.numbers(1, "i"), main.numbers(2, "i")
    if any(not 0 <= i < len(tensors) for i in inputs + outputs):
        raise ValueError("an input or output names no tensor")
    operations = []
    for table in main.tables(3):
        wanted = table.number(0, "I")
        ins, outs = table.numbers(1, "i"), table.numbers(2, "i")
        # -1 is an optional input that was left out
        if wanted >= len(codes) or any(not -1 <= i < len(tensors) for i in ins + outs):
            raise ValueError("an operation names no tensor")
        operations.append(Operation(codes[wanted], ins, outs))
    return Graph(tensors, inputs, outputs, tuple(operations))


def _tensor(table: Table, filled: list[bool]) -> Tensor:
    shape = table.numbers(0, "i")
    if len(shape) > 8 or any(s < 0 for s in shape) or math.prod(shape) > LARGEST_BYTES:
        raise ValueError(f"a tensor of shape {to_text(shape[:8])}")
    dtype, buffer = table.number(1, "b"), table.number(2, "I")
    quantised = table.table(4)
    scales = quantised.numbers(2, "f") if quantised else ()
    zeros = quantised.numbers(3, "q") if quantised else ()
    return Tensor(
        name=table.text(3),
        shape=shape,
        dtype=_DTYPES.get(dtype, f"type {dtype}"),
        scale=scales[0] if scales else 0.0,
        zero_point=zeros[0] if zeros else 0,
        constant=buffer < len(filled) and filled[buffer],
        dynamic=any(s < 1 for s in table.numbers(7, "i") + shape),
    )


def _operation_name(code: Table) -> str:
    number = max(code.number(0, "b"), code.number(3, "i"))
    return code.text(1) or "CUSTOM" if number == 32 else _OPERATIONS.get(number, f"operation {number}")


def _looks_like(model: bytes) -> str:
    marks = {b"PK": "a zip archive", b"\x1f\x8b": "a gzip archive: unpack it first", b"\x89HDF": "a Keras file", b"<": "a web page"}
    for start, what in marks.items():
        if model.startswith(start):
            return what
    return "text" if all(31 < c < 127 or c in b"\t\r\n" for c in model[:64]) else "its mark 'TFL3' is missing"
