"""A classifier's features and its own names, taken out of its .tflite, and another last layer put in. Pure: bytes in, bytes out.

What is made:
    convolutions → pooled features f ┬─────────────────────────────────────────────── FULLY_CONNECTED ┐
                                     └ the network's own names → SOFTMAX → SQRT → FULLY_CONNECTED ── + → SOFTMAX → SLICE
The names stay where the network has some: on whole sources of photographs that nothing was learnt from they are worth five
points of accuracy, because they know a thousand things already. Their square root is Hellinger's distance. The SLICE leaves
the score of "other" out: what was not taught has a low score everywhere. The new part is float32: it is small, and exact.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edged.errors import ModelError
from edged.vision.rewrite.flatbuffer import load_schema, read, write

Floats = NDArray[np.float32]

MOST_FEATURES = 4096
_FEWEST_FEATURES = 16
_POOLS = frozenset({"MEAN", "AVERAGE_POOL_2D"})
_SHAPING = frozenset({"RESHAPE", "SQUEEZE", "QUANTIZE", "DEQUANTIZE"})
_LAYERS = frozenset({"FULLY_CONNECTED", "CONV_2D"})
_DAMAGE = (IndexError, TypeError, ValueError, AttributeError, KeyError, OverflowError)


@dataclass(frozen=True, slots=True)
class Names:
    """The network's own last layer as numbers: weights (names, features), bias (names,); `tensor`: its logits in the graph."""

    weights: Floats
    bias: Floats
    tensor: int


class Trunk:
    """One base. features: how many numbers its pooled features are. names: None where its last layers are not one layer."""

    def __init__(self, model: bytes) -> None:
        """Raises ModelError for a network without one place where its features come together; NoSchemaError."""
        self._model, self._schema = model, load_schema()
        try:
            self._open()
            self._pooled = self._find_pooled()
            self.features = int(np.prod(self._graph.tensors[self._pooled].shape))
            self.names = self._find_names()
        except _DAMAGE as error:
            raise ModelError(f"the model's graph is damaged ({type(error).__name__}): copy it again") from None

    def embedder(self) -> bytes:
        """A .tflite that gives the features: (1, features), in the graph's own type."""
        return self._written(lambda: self._row(self._pooled))

    def with_head(self, on_features: Floats, on_names: Floats | None, bias: Floats, shown: int) -> bytes:
        """A .tflite that gives the first `shown` of the probabilities: (1, shown) float32.

        on_features: (classes, features); on_names: (classes, names), to be given exactly where there are names; bias: (classes,).
        """
        return self._written(lambda: self._head(on_features, on_names, bias, shown))

    # reading

    def _open(self) -> None:
        self._tree = read(self._model)
        self._graph = self._tree.subgraphs[0]
        self._operation_names = {n: name for name, n in vars(self._schema.BuiltinOperator).items() if isinstance(n, int)}

    def _name(self, operation: Any) -> str:
        name: str = self._operation_names.get(self._tree.operatorCodes[operation.opcodeIndex].builtinCode, "?")
        return name

    def _find_pooled(self) -> int:
        """The output of the last pooling to one place, which everything after it must come from."""
        for operation in reversed(self._graph.operators):
            if self._name(operation) in _POOLS:
                pooled = int(operation.outputs[0])
                shape = [int(side) for side in self._graph.tensors[pooled].shape]
                if shape == [1, *[1] * (len(shape) - 2), shape[-1]] and _FEWEST_FEATURES <= shape[-1] <= MOST_FEATURES:
                    if set(self._graph.inputs) & self._ancestors([*self._graph.outputs], {pooled}):
                        break
                    return pooled
        raise ModelError("this network has no one place where its features come together, so nothing can be taught to it")

    def _ancestors(self, wanted: list[int], known: set[int]) -> set[int]:
        """All tensors that `wanted` are made from; what `known` are made from is not looked at."""
        makers = {int(out): operation for operation in self._graph.operators for out in operation.outputs}
        seen = set[int]()
        while wanted:
            tensor = int(wanted.pop())
            if tensor < 0 or tensor in seen or tensor in known:
                continue
            seen.add(tensor)
            if tensor in makers:
                wanted += [int(i) for i in makers[tensor].inputs]
        return seen

    def _find_names(self) -> Names | None:
        """The widest layer that is directly upon the features."""
        same, best = {self._pooled}, None
        for operation in self._graph.operators:
            name, source = self._name(operation), int(operation.inputs[0]) if len(operation.inputs) else -1
            if source not in same:
                continue
            if name in _SHAPING:
                same.add(int(operation.outputs[0]))
            elif name in _LAYERS and self._is_linear(operation):
                names = self._numbers(operation)
                best = names if best is None or len(names.bias) > len(best.bias) else best
        return best

    def _is_linear(self, operation: Any) -> bool:
        shape = [int(side) for side in self._graph.tensors[int(operation.inputs[1])].shape]
        is_point = len(shape) == 2 or (len(shape) == 4 and shape[1] == shape[2] == 1)
        return is_point and shape[-1] == self.features and not operation.builtinOptions.fusedActivationFunction

    def _numbers(self, operation: Any) -> Names:
        weights = self._constant(int(operation.inputs[1])).reshape(-1, self.features)
        has_bias = len(operation.inputs) > 2 and int(operation.inputs[2]) >= 0
        bias = self._constant(int(operation.inputs[2])).ravel() if has_bias else np.zeros(len(weights), np.float32)
        if len(bias) != len(weights) or not (np.isfinite(weights).all() and np.isfinite(bias).all()):
            raise ModelError("the model's last layer is damaged: copy it again")
        return Names(weights, bias, int(operation.outputs[0]))

    def _constant(self, number: int) -> Floats:
        """Its real values."""
        tensor, kinds = self._graph.tensors[number], self._schema.TensorType
        types = {kinds.FLOAT32: "<f4", kinds.UINT8: "u1", kinds.INT8: "i1", kinds.INT32: "<i4"}
        raw = np.asarray(self._tree.buffers[tensor.buffer].data, np.uint8).view(types[tensor.type]).reshape(tensor.shape)
        if tensor.type == kinds.FLOAT32:
            return raw.astype(np.float32)
        scale, zero = (np.asarray(part, np.float32) for part in (tensor.quantization.scale, tensor.quantization.zeroPoint))
        if len(scale) > 1:
            sides = [1] * raw.ndim
            sides[tensor.quantization.quantizedDimension] = -1
            scale, zero = scale.reshape(sides), zero.reshape(sides)
        made: Floats = ((raw.astype(np.float32) - zero) * scale).astype(np.float32)
        return made

    # writing

    def _written(self, make: Any) -> bytes:
        self._open()  # a tree of its own for each file
        try:
            self._graph.outputs = [make()]
            self._prune()
        except _DAMAGE as error:
            raise ModelError(f"the model's graph is damaged ({type(error).__name__}): copy it again") from None
        return write(self._tree)

    def _head(self, on_features: Floats, on_names: Floats | None, bias: Floats, shown: int) -> int:
        schema, classes = self._schema, len(bias)
        logits = self._layer(self._real(self._pooled), on_features, bias)
        if self.names is not None and on_names is not None:
            softmax = schema.SoftmaxOptionsT()
            softmax.beta = 1.0
            names = self._add("SOFTMAX", [self._real(self.names.tensor)], [1, len(self.names.bias)], softmax)
            root = self._add("SQRT", [names], [1, len(self.names.bias)])
            other = self._layer(root, on_names, None)
            logits = self._add("ADD", [logits, other], [1, classes], schema.AddOptionsT())
        softmax = schema.SoftmaxOptionsT()
        softmax.beta = 1.0
        scores = self._add("SOFTMAX", [logits], [1, classes], softmax)
        begin, size = (self._number(np.array(row, np.int32)) for row in ([0, 0], [1, shown]))
        return self._add("SLICE", [scores, begin, size], [1, shown], schema.SliceOptionsT())

    def _real(self, tensor: int) -> int:
        """(1, n) float32 of a tensor that may be quantised, and may have more sides."""
        if self._graph.tensors[tensor].type != self._schema.TensorType.FLOAT32:
            version = 2 if self._graph.tensors[tensor].type == self._schema.TensorType.INT8 else 1
            shape = [int(side) for side in self._graph.tensors[tensor].shape]
            tensor = self._add("DEQUANTIZE", [tensor], shape, self._schema.DequantizeOptionsT(), version=version)
        return self._row(tensor)

    def _row(self, tensor: int) -> int:
        one = self._graph.tensors[tensor]
        count = int(np.prod(one.shape))
        if [int(side) for side in one.shape] == [1, count]:
            return tensor
        shape = self._schema.ReshapeOptionsT()
        shape.newShape = [1, count]
        wanted = self._number(np.array([1, count], np.int32))
        return self._add("RESHAPE", [tensor, wanted], [1, count], shape, like=one)

    def _layer(self, source: int, weights: Floats, bias: Floats | None) -> int:
        inputs = [source, self._number(weights), self._number(bias) if bias is not None else -1]
        return self._add("FULLY_CONNECTED", inputs, [1, len(weights)], self._schema.FullyConnectedOptionsT())

    def _add(
        self, name: str, inputs: list[int], shape: list[int], options: Any = None, *, like: Any = None, version: int = 1
    ) -> int:
        """One operation more, and the tensor that it makes: float32, or of the type and quantisation of `like`."""
        schema, operation = self._schema, self._schema.OperatorT()
        operation.opcodeIndex = self._code(getattr(schema.BuiltinOperator, name), version)
        operation.inputs, operation.outputs = inputs, [self._tensor(shape, like)]
        if options is not None:
            operation.builtinOptions = options
            operation.builtinOptionsType = getattr(schema.BuiltinOptions, type(options).__name__.removesuffix("T"))
        self._graph.operators.append(operation)
        made: int = operation.outputs[0]
        return made

    def _code(self, number: int, version: int) -> int:
        for n, code in enumerate(self._tree.operatorCodes):
            if code.builtinCode == number and code.version >= version and not code.customCode:
                return n
        code = self._schema.OperatorCodeT()
        code.builtinCode = code.deprecatedBuiltinCode = number  # all that are added here are below 127
        code.version = version
        self._tree.operatorCodes.append(code)
        return len(self._tree.operatorCodes) - 1

    def _tensor(self, shape: list[int], like: Any = None) -> int:
        tensor = self._schema.TensorT()
        tensor.shape, tensor.buffer, tensor.name = shape, 0, f"taught_{len(self._graph.tensors)}".encode()
        tensor.type = self._schema.TensorType.FLOAT32 if like is None else like.type
        tensor.quantization = None if like is None else like.quantization
        self._graph.tensors.append(tensor)
        return len(self._graph.tensors) - 1

    def _number(self, values: NDArray[Any]) -> int:
        """A constant: float32 or int32."""
        buffer = self._schema.BufferT()
        buffer.data = np.frombuffer(np.ascontiguousarray(values).tobytes(), np.uint8)
        self._tree.buffers.append(buffer)
        number = self._tensor(list(values.shape))
        self._graph.tensors[number].buffer = len(self._tree.buffers) - 1
        if values.dtype == np.int32:
            self._graph.tensors[number].type = self._schema.TensorType.INT32
        return number

    def _prune(self) -> None:
        """Only what the output is made from is written."""
        graph, used = self._graph, self._ancestors(list(self._graph.outputs), set())
        graph.operators = [one for one in graph.operators if any(int(out) in used for out in one.outputs)]
        kept = sorted({int(i) for one in graph.operators for i in (*one.inputs, *one.outputs) if i >= 0} | {int(graph.inputs[0])})
        place = {old: new for new, old in enumerate(kept)} | {-1: -1}
        buffers = [self._tree.buffers[0]]
        graph.tensors = [graph.tensors[old] for old in kept]
        for tensor in graph.tensors:
            if tensor.buffer:
                buffers.append(self._tree.buffers[tensor.buffer])
                tensor.buffer = len(buffers) - 1
        for one in graph.operators:
            one.inputs, one.outputs = ([place[int(i)] for i in side] for side in (one.inputs, one.outputs))
        graph.inputs, graph.outputs = ([place[int(i)] for i in side] for side in (graph.inputs, graph.outputs))
        self._tree.buffers, self._tree.signatureDefs = buffers, None
        self._tree.metadata = self._tree.metadataBuffer = None
