"""A uint8 network → the same network in int8, for which the runtime has faster kernels. Pure: bytes in, bytes out.

Activations keep their scale, and their zero point goes down by 128: that is exact. Weights become symmetric, each output
channel for itself (https://ai.google.dev/edge/litert/models/quantization_spec): where no weight is more than 127 steps
from the old zero point the old scale represents each exactly, and only the other channels, one in a hundred, are rounded
anew. Scaling each channel to its own maximum instead would round them all, and costs up to 2.4 points of accuracy.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edged.errors import ModelError
from edged.vision.rewrite.flatbuffer import load_schema, read, write

# operation → the version of it that takes int8; whatever is not here is not recast
_VERSIONS = {
    "ADD": 2,
    "AVERAGE_POOL_2D": 2,
    "CONV_2D": 3,
    "DEPTHWISE_CONV_2D": 3,
    "FULLY_CONNECTED": 4,
    "HARD_SWISH": 1,
    "LOGISTIC": 2,
    "MAX_POOL_2D": 2,
    "MEAN": 2,
    "MUL": 2,
    "PAD": 2,
    "RELU": 2,
    "RELU6": 2,
    "RESHAPE": 1,
    "SOFTMAX": 2,
    "SQUEEZE": 1,
}
_CHANNEL_AXIS = {"CONV_2D": 0, "DEPTHWISE_CONV_2D": 3}  # of their weights; FULLY_CONNECTED has one scale for all
_STEPS = 127  # of a weight to each side of zero
_OFFSET = 128
_TRIED = 100  # step sizes for a channel that does not fit


def recast(model: bytes) -> bytes:
    """The int8 file. Raises ModelError for a network that is not uint8 throughout, or has an operation that is not known here."""
    tree, schema = read(model), load_schema()
    try:
        return write(_recast(tree, schema))
    except (IndexError, TypeError, ValueError, AttributeError, KeyError) as error:  # a damaged tree; the sandbox bounds the rest
        raise ModelError(f"the network cannot be recast: its graph is damaged ({type(error).__name__})") from None


def _recast(tree: Any, schema: Any) -> Any:
    graph, kinds = tree.subgraphs[0], schema.TensorType
    names = {number: name for name, number in vars(schema.BuiltinOperator).items() if isinstance(number, int)}
    if any(graph.tensors[i].type != kinds.UINT8 for i in (*graph.inputs, *graph.outputs)):
        raise ModelError("the network is not uint8, so there is nothing to recast")
    _unshare(tree, graph)
    weights = set[int]()  # and biases: what belongs to one layer
    for operation in graph.operators:
        name = names.get(tree.operatorCodes[operation.opcodeIndex].builtinCode, "an unknown operation")
        if name not in _VERSIONS:
            raise ModelError(f"the network has {name}, which is not recast")
        if name in _CHANNEL_AXIS or name == "FULLY_CONNECTED":
            weights |= _recast_weights(tree, graph, operation, _CHANNEL_AXIS.get(name), kinds, weights)
    for number, tensor in enumerate(graph.tensors):
        if tensor.type == kinds.UINT8 and number not in weights:
            _shift(tree, tensor, kinds)
        elif tensor.type not in (kinds.INT8, kinds.INT32):
            raise ModelError("the network is not uint8 throughout, so it is not recast")
    for code in tree.operatorCodes:
        code.version = max(code.version, _VERSIONS.get(names.get(code.builtinCode, ""), 1))
    return tree


def _unshare(tree: Any, graph: Any) -> None:
    """Converters let tensors of the same numbers share a buffer; here each gets its own, for each is changed in its own way."""
    seen = set[int]()
    for tensor in graph.tensors:
        data = tree.buffers[tensor.buffer].data
        if tensor.buffer in seen and data is not None and len(data):
            tree.buffers.append(type(tree.buffers[0])(data=data))
            tensor.buffer = len(tree.buffers) - 1
        seen.add(tensor.buffer)


def _shift(tree: Any, tensor: Any, kinds: Any) -> None:
    """An activation, or a constant of one: each value and the zero point go down by 128."""
    (zero,) = tensor.quantization.zeroPoint
    tensor.quantization.zeroPoint = [int(zero) - _OFFSET]
    tensor.type = kinds.INT8
    data = tree.buffers[tensor.buffer].data
    if data is not None and len(data):
        tree.buffers[tensor.buffer] = type(tree.buffers[tensor.buffer])(data=np.asarray(data, np.uint8) ^ _OFFSET)


def _recast_weights(tree: Any, graph: Any, operation: Any, axis: int | None, kinds: Any, done: set[int]) -> set[int]:
    """The weights and the bias of one layer: the numbers of their tensors."""
    if len(operation.inputs) < 3 or operation.inputs[2] < 0:  # the runtime crashes on a depthwise one in int8
        raise ModelError("the network has a layer without a bias, which is not recast")
    source, number, bias_number = (int(one) for one in operation.inputs[:3])
    tensor, bias = graph.tensors[number], graph.tensors[bias_number]
    if tensor.type != kinds.UINT8 or bias.type != kinds.INT32 or done & {number, bias_number}:
        raise ModelError("the network's weights are not uint8, each layer's its own, so it is not recast")
    old, (scale,), (zero,) = tree.buffers[tensor.buffer].data, tensor.quantization.scale, tensor.quantization.zeroPoint
    steps = np.asarray(old, np.uint8).reshape(tensor.shape).astype(np.int32) - int(zero)
    rows = steps.reshape(1, -1) if axis is None else np.moveaxis(steps, axis, 0).reshape(steps.shape[axis], -1)
    made, factors = to_symmetric(rows)
    new = made.reshape(steps.shape) if axis is None else np.moveaxis(made.reshape(np.moveaxis(steps, axis, 0).shape), 0, axis)
    tree.buffers[tensor.buffer] = type(tree.buffers[0])(data=np.ascontiguousarray(new).view(np.uint8).ravel())
    scales = (float(scale) * factors).astype(np.float32)
    tensor.type = kinds.INT8
    _quantised(tensor, scales, axis)
    sums = np.asarray(tree.buffers[bias.buffer].data, np.uint8).view("<i4")
    tree.buffers[bias.buffer] = type(tree.buffers[0])(data=np.rint(sums / factors).astype("<i4").view(np.uint8))
    _quantised(bias, (float(graph.tensors[source].quantization.scale[0]) * scales).astype(np.float32), None if axis is None else 0)
    return {number, bias_number}


def _quantised(tensor: Any, scales: NDArray[np.float32], axis: int | None) -> None:
    quantization = tensor.quantization
    quantization.scale, quantization.zeroPoint = scales, np.zeros(len(scales), np.int64)
    quantization.quantizedDimension = axis or 0
    quantization.min = quantization.max = None  # of the old scale; the runtime reads neither


def to_symmetric(rows: NDArray[np.int32]) -> tuple[NDArray[np.int8], NDArray[np.float64]]:
    """(channels, weights) in steps from the old zero point → the same as -127..127, and how much larger each channel's step is.

    Pure. A channel that fits is kept, with the factor 1. Of the others the step is chosen that changes them least, in the sum
    of squares and in their sum: a picture is locally of one brightness, and there it is the sum that the next layer sees.
    """
    made, factors = np.clip(rows, -_STEPS, _STEPS).astype(np.int8), np.ones(len(rows))
    for n in np.flatnonzero(np.abs(rows).max(axis=1) > _STEPS):
        made[n], factors[n] = _rounded(rows[n])
    return made, factors


def _rounded(row: NDArray[np.int32]) -> tuple[NDArray[np.int8], float]:
    tried = [(_with_sum(row / factor), float(factor)) for factor in np.linspace(1, np.abs(row).max() / _STEPS, _TRIED)]
    made, factor = min(tried, key=lambda one: _error(one[0] * one[1] - row))
    return made.astype(np.int8), factor


def _with_sum(exact: NDArray[np.float64]) -> NDArray[np.float64]:
    """Whole numbers within the steps that are rounded up where most is missing, until their sum is the same."""
    whole = np.floor(exact)
    whole[np.argsort(whole - exact, kind="stable")[: round(float((exact - whole).sum()))]] += 1
    return np.clip(whole, -_STEPS, _STEPS)


def _error(off: NDArray[np.float64]) -> float:
    return float((off**2).sum() + off.sum() ** 2)
