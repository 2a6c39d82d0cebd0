"""MobileNet V1 with folded batch norms, the published 1001 names and the eight classes.

    features f -> names p = softmax(N f + n)
    logits     =  A f + a + SURE * (M p)

M (8 x 1001) says what a name means for our classes: "tabby" is a cat, "teapot" is background. So a thing that our photographs
never showed, but ImageNet did, has somewhere to go. A, a and M are fitted (head.py); N stays the published one.
"""

import torch
from torch import nn
from torch.nn import functional as F

SURE = 6.0


class Convolution(nn.Module):
    """Convolution, bias, ReLU6. Trained as `weight` times a fixed factor for each channel.

    After folding, the channels of one layer differ in size by factors up to 1e5. AdamW's steps are of one size, so each channel
    is kept at a size of about 1 and the factor is multiplied in again where the weights are used.
    """

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor, stride: int, groups: int) -> None:
        super().__init__()
        factor = (weight.flatten(1).norm(dim=1) / 2**0.5).clamp(min=1e-3)
        self.register_buffer("factor", factor)
        self.weight = nn.Parameter(weight / factor.reshape(-1, 1, 1, 1))
        self.bias = nn.Parameter(bias / factor)
        self.stride, self.groups = stride, groups

    def folded(self) -> tuple[torch.Tensor, torch.Tensor]:
        return self.weight * self.factor.reshape(-1, 1, 1, 1), self.bias * self.factor

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        weight, bias = self.folded()
        side = weight.shape[-1]
        if self.stride == 1:  # SAME is as much on each side: the convolution does that itself, without a copy
            return F.relu6(F.conv2d(x, weight, bias, 1, side // 2, groups=self.groups))
        return F.relu6(F.conv2d(padded(x, side, self.stride), weight, bias, self.stride, 0, groups=self.groups))


def padded(x: torch.Tensor, side: int, stride: int) -> torch.Tensor:
    """TensorFlow's SAME: what is missing for a whole number of steps, the larger half after."""
    whole = max((-(-x.shape[-1] // stride) - 1) * stride + side - x.shape[-1], 0)
    return F.pad(x, (whole // 2, whole - whole // 2) * 2) if whole else x


class MobileNet(nn.Module):
    """(N, 3, px, px) in -1..1 -> logits of the classes (N, 8), logits of the names (N, 1001)."""

    def __init__(self, layers: list[Convolution], names: torch.Tensor, bias: torch.Tensor, classes: int = 8) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.names = nn.Linear(names.shape[1], len(names))
        self.names.weight.data.copy_(names)
        self.names.bias.data.copy_(bias)
        self.head = nn.Linear(names.shape[1], classes)
        self.meaning = nn.Linear(len(names), classes, bias=False)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)
        nn.init.zeros_(self.meaning.weight)
        self.kept = 0  # so many first layers are not trained

    def features(self, x: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            for layer in self.layers[: self.kept]:
                x = layer(x)
        for layer in self.layers[self.kept :]:
            x = layer(x)
        return x.mean((2, 3))

    def classes(self, features: torch.Tensor, names: torch.Tensor) -> torch.Tensor:
        return self.head(features) + self.meaning(names.softmax(1))

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        features = self.features(x)
        names = self.names(features)
        return self.classes(features, names), names
