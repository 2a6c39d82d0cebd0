"""MobileNet V1 (Howard et al., 2017) in PyTorch, padded as TensorFlow pads, so that the graph converts without PAD ops."""

import torch
from torch import nn

BLOCKS = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *((512, 1),) * 5, (1024, 2), (1024, 1))


def _conv(i: int, o: int, kernel: int, stride: int, groups: int = 1) -> list[nn.Module]:
    layers: list[nn.Module] = []
    if stride == 2:  # "SAME" on an even input pads right and bottom only
        layers.append(nn.ZeroPad2d((0, 1, 0, 1)))
    padding = kernel // 2 if stride == 1 else 0
    return [*layers, nn.Conv2d(i, o, kernel, stride, padding, groups=groups, bias=False), nn.BatchNorm2d(o), nn.ReLU6()]


class MobileNetV1(nn.Module):
    """(N, 3, px, px) float32 in -1..1 → class logits (N, classes); in training also the teachers' vocabulary (N, 1001)."""

    def __init__(self, width: float, classes: int = 8, taught: int = 0) -> None:
        super().__init__()
        channels = [max(8, int(32 * width))] + [max(8, int(o * width)) for o, _ in BLOCKS]
        layers = _conv(3, channels[0], 3, 2)
        for i, o, (_, stride) in zip(channels, channels[1:], BLOCKS, strict=False):
            layers += _conv(i, i, 3, stride, groups=i) + _conv(i, o, 1, 1)
        self.features = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.classes = nn.Linear(channels[-1], classes)
        self.taught = nn.Linear(channels[-1], taught) if taught else None

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        features = self.features(x)
        return self.classes(features), self.taught(features) if self.taught is not None else None
