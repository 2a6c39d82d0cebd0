"""What the student learns from: photographs, their soft labels, and the augmentation.

The teachers (ImageNet networks, a detector) do not know our eight classes, so a small head over their outputs is
fitted on the labelled photographs of the "train" split first; it names the unlabelled ones and softens the labels.
"""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from labels import IMAGENET
from torch import nn
from torch.nn import functional as F


@dataclass
class Photographs:
    """N photographs: pictures (N, 128, 128, 3) uint8 RGB, label (N,) int or -1, logits (N, T, 1001), boxes (N, 8, 2)."""

    pictures: np.ndarray
    label: np.ndarray
    source: np.ndarray
    split: np.ndarray
    logits: np.ndarray
    boxes: np.ndarray


def load_photographs(work: Path) -> Photographs:
    shards = [np.load(p) for p in sorted(work.glob("taught.*.npz"))]
    return Photographs(*(np.concatenate([s[k] for s in shards]) for k in Photographs.__dataclass_fields__))


def _features(photos: Photographs) -> torch.Tensor:
    logits = torch.from_numpy(photos.logits.astype(np.float32))
    logits = logits - logits.mean(2, keepdim=True)
    logits = logits / logits.std()
    return logits.flatten(1)


def _fit_head(x: torch.Tensor, y: torch.Tensor) -> nn.Module:
    torch.manual_seed(0)
    head = nn.Linear(x.shape[1], 8)
    nn.init.zeros_(head.weight)
    weight = (len(y) / 8 / torch.bincount(y, minlength=8).clamp(min=1).float()).sqrt()
    step = torch.optim.AdamW(head.parameters(), lr=2e-3, weight_decay=0.3)
    for _ in range(12):
        for batch in torch.randperm(len(y)).split(256):
            drop = F.dropout(x[batch], 0.3)
            loss = F.cross_entropy(head(drop), y[batch], weight=weight, label_smoothing=0.05)
            step.zero_grad()
            loss.backward()
            step.step()
    return head.eval()


def _by_vocabulary(photos: Photographs) -> torch.Tensor:
    """Soft labels with no fitting at all: ImageNet probabilities added up by class, the detector's person by its area."""
    p = torch.from_numpy(photos.logits[:, 0].astype(np.float32)).softmax(1)
    t = torch.zeros(len(p), 8)
    for label, rows in IMAGENET.items():
        t[:, label] = p[:, rows].sum(1)
    t[:, 0] = (1 - t.sum(1)).clamp(min=0)
    person = torch.from_numpy(photos.boxes[:, 1, 1] * 4.8).clamp(0, 1)[:, None]
    person = torch.where(torch.from_numpy(photos.boxes[:, 1, :1]) > 0.45, person, torch.zeros(1))
    t = t * (1 - person)
    t[:, 1:2] += person
    return t


@torch.no_grad()
def _says(head: nn.Module, x: torch.Tensor) -> torch.Tensor:
    return head(x).softmax(1)


def soft_labels(photos: Photographs, learn: np.ndarray) -> tuple[torch.Tensor, dict[str, float]]:
    """Soft labels (N, 8) from photographs where `learn` is true and labelled; the others' labels are never looked at.

    A labelled photograph is named by heads that have not seen it (five folds), else its softness would be memory.
    """
    x, y = _features(photos), torch.from_numpy(photos.label)
    known = np.flatnonzero(learn & (photos.label >= 0))
    out = _says(_fit_head(x[known], y[known]), x)
    folds = np.random.default_rng(0).integers(0, 5, len(known))
    for fold in range(5):
        rest, here = known[folds != fold], known[folds == fold]
        out[here] = _says(_fit_head(x[rest], y[rest]), x[here])
    figures = {}
    for name in ("val", "test"):
        rows = np.flatnonzero((photos.split == name) & (photos.label >= 0))
        figures[f"teacher_{name}"] = float((out[rows].argmax(1) == y[rows]).float().mean())
    soft = 0.7 * out + 0.3 * _by_vocabulary(photos)
    hard = F.one_hot(y.clamp(min=0), 8).float()
    soft[known] = 0.65 * hard[known] + 0.35 * out[known]
    return soft, figures


def _texture(rng: np.random.Generator, px: int) -> np.ndarray:
    """A surface without a thing on it: noise of some grain, a sky's gradient, or rows of bricks."""
    kind = rng.integers(3)
    if kind == 0:
        grain = int(rng.choice([4, 8, 16, 32, 64, 128]))
        noise = rng.normal(0, 1, (grain, grain, 3 if rng.random() < 0.3 else 1)).repeat(1, 0)
        noise = cv2.resize(noise.astype(np.float32), (px, px), interpolation=cv2.INTER_CUBIC)
    elif kind == 1:
        ramp = np.linspace(-1, 1, px, dtype=np.float32)
        angle = rng.uniform(0, 2 * np.pi)
        noise = np.cos(angle) * ramp[:, None] + np.sin(angle) * ramp[None, :]
        noise = noise + 0.3 * cv2.resize(rng.normal(0, 1, (8, 8)).astype(np.float32), (px, px), interpolation=cv2.INTER_CUBIC)
    else:
        high, wide = int(rng.integers(5, 24)), int(rng.integers(8, 40))
        rows, columns = np.mgrid[0:px, 0:px]
        shifted = columns + (rows // high % 2) * (wide // 2)
        noise = ((rows % high < 2) | (shifted % wide < 2)).astype(np.float32) * -1.5 + rng.normal(0, 0.3, (px, px)).astype(
            np.float32
        )
    noise = np.atleast_3d(noise)
    colour, tint = rng.uniform(40, 215, 3), rng.uniform(5, 60)
    return np.clip(colour + tint * noise, 0, 255).astype(np.uint8) * np.ones((1, 1, 3), np.uint8)


def _view(rng: np.random.Generator, picture: np.ndarray, px: int, zoom: tuple[float, float]) -> np.ndarray:
    """A random crop, aspect, tilt and flip of the picture, in one warp, (px, px, 3) uint8."""
    side = picture.shape[0]
    area, aspect = rng.uniform(*zoom), np.exp(rng.uniform(-0.25, 0.25))
    wide, high = min(side, side * np.sqrt(area * aspect)), min(side, side * np.sqrt(area / aspect))
    left, top = rng.uniform(0, side - wide + 0.01), rng.uniform(0, side - high + 0.01)
    angle = rng.normal(0, 0.08)
    flip = -1 if rng.random() < 0.5 else 1
    c, s = np.cos(angle), np.sin(angle)
    to = np.array([[flip * wide / px * c, -high / px * s], [flip * wide / px * s, high / px * c]])
    centre = np.array([left + wide / 2, top + high / 2])
    matrix = np.hstack([to, (centre - to @ [px / 2, px / 2])[:, None]])
    view = cv2.warpAffine(
        picture, matrix, (px, px), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REFLECT_101
    )
    worn = rng.random()
    if worn < 0.12:  # a cheap or far camera
        small = int(rng.integers(28, 64))
        view = cv2.resize(cv2.resize(view, (small, small), interpolation=cv2.INTER_AREA), (px, px))
    elif worn < 0.2:
        view = cv2.GaussianBlur(view, (0, 0), float(rng.uniform(0.5, 1.5)))
    elif worn < 0.3:
        view = cv2.imdecode(cv2.imencode(".jpg", view, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(15, 60))])[1], 1)
    return view


def _light(rng: np.random.Generator, x: torch.Tensor) -> torch.Tensor:
    """Contrast, brightness, white balance, grey (night), noise; x (N, 3, px, px) in 0..255 → -1..1."""
    n = len(x)
    g = torch.Generator().manual_seed(int(rng.integers(2**31)))
    u = lambda low, high, *shape: torch.rand(n, *shape, 1, 1, generator=g) * (high - low) + low  # noqa: E731
    x = (x - 127.5) * u(0.5, 1.4, 1) + 127.5 + u(-45, 45, 1) + u(-18, 18, 3)
    grey = (u(0, 1, 1) < 0.15).float()
    x = x * (1 - grey) + x.mean(1, keepdim=True) * grey
    x = x + torch.randn(x.shape, generator=g) * u(0, 8, 1)
    return (x.clamp(0, 255) / 127.5 - 1).contiguous(memory_format=torch.channels_last)


class Lessons:
    """An endless source of batches: half labelled (classes equally often), half unlabelled, a few bare surfaces."""

    def __init__(self, photos: Photographs, learn: np.ndarray, soft: torch.Tensor, px: int, batch: int, seed: int) -> None:
        self.photos, self.soft, self.px, self.batch = photos, soft, px, batch
        self.rng = np.random.default_rng(seed)
        self.known = np.flatnonzero(learn & (photos.label >= 0))
        self.unknown = np.flatnonzero(photos.label < 0)
        seldom = 1 / np.bincount(photos.label[self.known], minlength=8).clip(1)
        sizes = {s: int((photos.source[self.known] == s).sum()) for s in set(photos.source[self.known])}
        # a source of 30 pictures is worth more per picture than one of 1,000, or the large ones are all that is learnt
        weight = seldom[photos.label[self.known]] * np.array([sizes[s] ** -0.25 for s in photos.source[self.known]])
        self.known_weight = weight / weight.sum()
        named = soft[self.unknown].argmax(1).numpy()
        weight = (1 / np.bincount(named, minlength=8).clip(300) ** 0.5)[named]
        self.unknown_weight = weight / weight.sum()
        vocabulary = torch.from_numpy(photos.logits[:, 0].astype(np.float32))
        self.taught = (vocabulary / 2).softmax(1).half()

    def next(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Views (B, 3, px, px) in -1..1, soft labels (B, 8), the ImageNet teacher's probabilities (B, 1001), 0 for a surface."""
        half = self.batch // 2
        rows = np.concatenate([
            self.rng.choice(self.known, half, p=self.known_weight),
            self.rng.choice(self.unknown, self.batch - half, p=self.unknown_weight),
        ])  # fmt: skip
        views, soft, taught = [], self.soft[rows].clone(), self.taught[rows].float()
        for n, row in enumerate(rows):
            chance = self.rng.random()
            if chance < 0.02:
                views.append(_texture(self.rng, self.px))
                soft[n], taught[n] = F.one_hot(torch.tensor(0), 8), 0
            elif soft[n, 0] > 0.9 and chance < 0.25:  # a small part of a background is a background too
                views.append(_view(self.rng, self.photos.pictures[row], self.px, (0.05, 0.35)))
                taught[n] = 0
            else:
                views.append(_view(self.rng, self.photos.pictures[row], self.px, (0.35, 1.0)))
        x = torch.from_numpy(np.stack(views)).permute(0, 3, 1, 2).float()
        return _light(self.rng, x), soft, taught
