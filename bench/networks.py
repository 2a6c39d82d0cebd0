"""The published uint8 MobileNets V1: those of a folder, or stand-ins of the same shape with seeded weights, which take as long."""

from pathlib import Path

import numpy as np

from tests.graphs import Net, s

NAMES = ("0.25_128", "0.5_160", "0.75_192", "1.0_224")
# channels and stride of the thirteen pairs of depthwise and pointwise convolution (Howard et al. 2017, table 1)
_PAIRS = [(64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5, (1024, 2), (1024, 1)]
_LABELS = 1001


def to_file(name: str, published: Path | None, made: Path) -> tuple[Path, bool]:
    """The file of a network, and whether it is the published one."""
    if published is not None and (path := published / f"mobilenet_v1_{name}_quant.tflite").is_file():
        return path, True
    width, px = name.split("_")
    path = made / f"mobilenet_v1_{name}_stand_in.tflite"
    path.write_bytes(to_stand_in(float(width), int(px)))
    return path, False


def to_stand_in(width: float, px: int) -> bytes:
    net = Net(np.random.default_rng(1), wide_channel=True)
    at = net.tensor((1, px, px, 3), s.TensorType.UINT8, 1 / 128, 128)
    net.graph.inputs = [at]
    side = px // 2
    at = net.conv(at, int(32 * width), 3, 2, side)
    for channels, stride in _PAIRS:
        side //= stride
        at = net.depthwise(at, side, stride)
        at = net.conv(at, int(channels * width), 1, 1, side)
    return net.classified(at, side, _LABELS)
