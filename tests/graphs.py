"""Small uint8 networks with seeded weights, written with the runtime's schema: where no published file is beside the checkout."""

from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as s

from edged.vision.rewrite.flatbuffer import write

LABELS = 8


def tiny_uint8(seed: int = 1, px: int = 32, wide_channel: bool = True, labels: int = LABELS, beta: float = 1.0) -> bytes:
    """CONV_2D, DEPTHWISE_CONV_2D, CONV_2D, AVERAGE_POOL_2D, CONV_2D, RESHAPE, SOFTMAX, as MobileNet V1 has them.

    wide_channel: a channel of each layer has a weight that int8 can't hold with the old scale. beta: of the softmax; with
    thousands of labels a larger one leaves some of them a score.
    """
    net = Net(np.random.default_rng(seed), wide_channel)
    at = net.tensor((1, px, px, 3), s.TensorType.UINT8, 1 / 128, 128)
    net.graph.inputs = [at]
    at = net.conv(at, 8, 3, 2, px // 2)
    at = net.depthwise(at, px // 2)
    at = net.conv(at, 16, 1, 1, px // 2)
    return net.classified(at, px // 2, labels, beta)


class Net:
    """A network that grows at its end."""

    def __init__(self, chance: np.random.Generator, wide_channel: bool) -> None:
        self.chance, self.wide_channel = chance, wide_channel
        self.graph = s.SubGraphT(tensors=[], operators=[], inputs=[], outputs=[])
        self.model = s.ModelT(version=3, operatorCodes=[], subgraphs=[self.graph], buffers=[s.BufferT()])

    def tensor(self, shape: tuple[int, ...], kind: int, scale: float, zero: int, data: Any = None) -> int:
        buffer = 0
        if data is not None:
            self.model.buffers.append(s.BufferT(data=np.ascontiguousarray(data).view(np.uint8).ravel()))
            buffer = len(self.model.buffers) - 1
        number = len(self.graph.tensors)
        quantised = s.QuantizationParametersT(scale=[scale], zeroPoint=[zero])
        one = s.TensorT(shape=list(shape), type=kind, buffer=buffer, name=f"t{number}", quantization=quantised)
        self.graph.tensors.append(one)
        return number

    def add(self, code: int, inputs: list[int], output: int, kind: int, options: Any) -> None:
        known = [one.builtinCode for one in self.model.operatorCodes]
        if code not in known:
            self.model.operatorCodes.append(s.OperatorCodeT(deprecatedBuiltinCode=code, builtinCode=code, version=1))
            known.append(code)
        operation = s.OperatorT(opcodeIndex=known.index(code), inputs=inputs, outputs=[output], builtinOptionsType=kind)
        operation.builtinOptions = options
        self.graph.operators.append(operation)

    def conv(self, source: int, deep: int, k: int, stride: int, side: int, out: Any = (6 / 255, 0), relu: bool = True) -> int:
        channels = self.graph.tensors[source].shape[3]
        made = self.tensor((1, side, side, deep), s.TensorType.UINT8, *out)
        options = s.Conv2DOptionsT(padding=0, strideW=stride, strideH=stride, fusedActivationFunction=3 if relu else 0)
        inputs = [source, *self._weights(source, (deep, k, k, channels), 0)]
        self.add(s.BuiltinOperator.CONV_2D, inputs, made, s.BuiltinOptions.Conv2DOptions, options)
        return made

    def classified(self, source: int, side: int, labels: int, beta: float = 1.0) -> bytes:
        """The file, with the mean of the last layer, as many scores as labels, and their softmax at its end."""
        channels = self.graph.tensors[source].shape[3]
        pooled = self.tensor((1, 1, 1, channels), s.TensorType.UINT8, 6 / 255, 0)
        pool = s.Pool2DOptionsT(padding=1, strideW=side, strideH=side, filterWidth=side, filterHeight=side)
        self.add(s.BuiltinOperator.AVERAGE_POOL_2D, [source], pooled, s.BuiltinOptions.Pool2DOptions, pool)
        logits = self.conv(pooled, labels, 1, 1, 1, out=(0.15, 110), relu=False)
        flat = self.tensor((1, labels), s.TensorType.UINT8, 0.15, 110)
        shape = s.ReshapeOptionsT(newShape=[1, labels])
        self.add(s.BuiltinOperator.RESHAPE, [logits], flat, s.BuiltinOptions.ReshapeOptions, shape)
        scores = self.tensor((1, labels), s.TensorType.UINT8, 1 / 256, 0)
        self.add(s.BuiltinOperator.SOFTMAX, [flat], scores, s.BuiltinOptions.SoftmaxOptions, s.SoftmaxOptionsT(beta=beta))
        self.graph.outputs = [scores]
        return write(self.model)

    def depthwise(self, source: int, side: int, stride: int = 1) -> int:
        channels = self.graph.tensors[source].shape[3]
        made = self.tensor((1, side, side, channels), s.TensorType.UINT8, 6 / 255, 0)
        options = s.DepthwiseConv2DOptionsT(padding=0, strideW=stride, strideH=stride, depthMultiplier=1, fusedActivationFunction=3)
        inputs = [source, *self._weights(source, (1, 3, 3, channels), 3)]
        self.add(s.BuiltinOperator.DEPTHWISE_CONV_2D, inputs, made, s.BuiltinOptions.DepthwiseConv2DOptions, options)
        return made

    def _weights(self, source: int, shape: tuple[int, ...], axis: int) -> tuple[int, int]:
        scale, zero = 2.5 / np.sqrt(np.prod(shape) / shape[axis]) / 128, 100
        steps = np.clip(np.rint(self.chance.normal(0, 45, shape)), -zero, 127)
        if self.wide_channel:
            steps.reshape(-1)[0] = 255 - zero
        weights = self.tensor(shape, s.TensorType.UINT8, scale, zero, (steps + zero).astype(np.uint8))
        sums = self.chance.normal(0, 0.5, shape[axis]) / (self.graph.tensors[source].quantization.scale[0] * scale)
        step = self.graph.tensors[source].quantization.scale[0] * scale
        return weights, self.tensor((shape[axis],), s.TensorType.INT32, step, 0, np.rint(sums).astype("<i4"))
