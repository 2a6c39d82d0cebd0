"""PyTorch -> the int8 .tflite that ships (litert-torch, ai-edge-quantizer), and running such a file.

The convolutions are int8 in weights and activations. The end (names, their softmax, the eight classes) has int8 weights, one scale
a tensor, and float activations: int8 scores in steps of 1/256 would blunt the names, and one scale *a channel* in such a layer
gives wrong answers in tflite-runtime 2.14 without saying so. XNNPACK takes all of it.
"""

from collections.abc import Callable
from pathlib import Path

import litert_torch
import numpy as np
import torch
from ai_edge_litert.interpreter import Interpreter
from ai_edge_quantizer import quantizer
from ai_edge_quantizer.qtyping import QuantGranularity, TFLOperationName
from network import Convolution, MobileNet
from torch import nn

_STATIC = ("INPUT", "CONV_2D", "DEPTHWISE_CONV_2D", "PAD", "MEAN", "AVERAGE_POOL_2D", "RESHAPE")


def plain(layer: Convolution) -> list[nn.Module]:
    """The layer as the converter knows it, the factors multiplied in."""
    weight, bias = (t.detach().clone() for t in layer.folded())
    side = weight.shape[-1]
    # a channel of zeros has no scale in which an int32 could hold its bias
    dead = weight.flatten(1).abs().amax(1) < 1e-3
    weight[dead, 0, 0, 0] = 1e-3
    conv = nn.Conv2d(
        weight.shape[1] * layer.groups, len(weight), side, layer.stride, side // 2 if layer.stride == 1 else 0, groups=layer.groups
    )
    conv.weight.data.copy_(weight)
    conv.bias.data.copy_(bias)
    before = [nn.ZeroPad2d((0, 1, 0, 1))] if layer.stride == 2 else []  # SAME, for an even side
    return [*before, conv, nn.ReLU6()]


class Trunk(nn.Module):
    """(1, px, px, 3) in -1..1 -> features (1, D)."""

    def __init__(self, net: MobileNet) -> None:
        super().__init__()
        self.layers = nn.Sequential(*(part for layer in net.layers for part in plain(layer)), nn.AdaptiveAvgPool2d(1), nn.Flatten())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(x.permute(0, 3, 1, 2))


class Whole(nn.Module):
    """(1, px, px, 3) in -1..1 -> probabilities (1, 8)."""

    def __init__(self, net: MobileNet) -> None:
        super().__init__()
        self.trunk = Trunk(net)
        self.names, self.head, self.meaning = net.names, net.head, net.meaning

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        f = self.trunk(x)
        return (self.head(f) + self.meaning(self.names(f).softmax(-1))).softmax(-1)


def quantised(net: nn.Module, px: int, seen: np.ndarray, path: Path) -> None:
    """Writes the int8 file. seen: (N, px, px, 3) uint8, from which the ranges of the activations are taken."""
    whole = path.with_suffix(".float.tflite")
    with torch.no_grad():
        litert_torch.convert(net.eval(), (torch.rand(1, px, px, 3) * 2 - 1,)).export(str(whole))
    signatures = Interpreter(str(whole)).get_signature_list()
    signature = next(iter(signatures))
    name = signatures[signature]["inputs"][0]
    steps = quantizer.Quantizer(str(whole))
    for operation in _STATIC:
        steps.add_static_config(".*", TFLOperationName(operation), 8, 8)
    steps.add_dynamic_config(".*", TFLOperationName.FULLY_CONNECTED, 8, QuantGranularity.TENSORWISE)
    x = real(seen)
    x[0], x[1] = -1, 1  # black and white must be within what the input can hold
    steps.quantize(steps.calibrate({signature: [{name: picture[None]} for picture in x]})).export_model(str(path), overwrite=True)
    whole.unlink()


def real(pictures: np.ndarray) -> np.ndarray:
    return pictures.astype(np.float32) / 127.5 - 1


def runner(path: Path) -> Callable[[np.ndarray], np.ndarray]:
    """A function from (px, px, 3) uint8 to the file's float output; feeds an int8 input as edged does."""
    net = Interpreter(str(path), num_threads=1)
    net.allocate_tensors()
    given, made = net.get_input_details()[0], net.get_output_details()[0]
    if given["dtype"] is not np.int8 or made["dtype"] is not np.float32:
        raise ValueError(f"{path}: expected int8 in and float32 out")
    scale, zero = given["quantization"]
    stored = np.clip(np.rint((np.arange(256) / 127.5 - 1) / scale) + zero, -128, 127)
    if np.abs(stored + 128 - np.arange(256)).max() <= 1:
        stored = np.arange(256) - 128
    table = stored.astype(np.int8)

    def run(picture: np.ndarray) -> np.ndarray:
        net.set_tensor(given["index"], table[picture][None])
        net.invoke()
        return net.get_tensor(made["index"])[0].copy()

    return run


def side(path: Path) -> int:
    """How many pixels the file's input is wide and high."""
    return int(Interpreter(str(path)).get_input_details()[0]["shape"][1])
