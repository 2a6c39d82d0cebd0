"""What an example is taken for, and what it counts, when the last layers are fitted."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from collection import WHOLE, Row
from strangers import BETWEEN

KINDS = ("imagenette", "caltech", "sceneroom")  # collections that nobody labelled: the class is that of the kind


@dataclass(frozen=True)
class Recipe:
    """What examples count. All of a class count 1, or all labelled photographs 8; the rest as said, together."""

    even: bool  # labelled photographs count the same; else classes do, and small collections more by the photograph
    negatives: float
    surfaces: float
    busts: float
    people: float  # times as much
    from_kind: float  # times as much: the class is that of the kind
    decay: Callable[[int], float]  # by the number of features: the more, the more ways to be too sure
    closed: float  # share of the closed fit
    closed_people: float  # times as much; above 1 the closed fit sees heads and shoulders too


RECIPES = {
    "even": Recipe(True, 1.5, 1.0, 0.5, 1.0, 0.1, lambda features: 0.1 * (features / 256) ** 1.5, 0.4, 1.0),
    "people": Recipe(False, 4.0, 3.0, 1.0, 2.0, 0.2, lambda _features: 1.0, 0.25, 3.0),
    "near": Recipe(False, 4.0, 3.0, 2.0, 4.0, 0.2, lambda _features: 1.0, 0.5, 20.0),  # people close up above all
}


def targets(rows: list[Row], seen: np.ndarray) -> torch.Tensor:
    """(N, 8): the label; where nobody labelled, what the detector saw, and background for the rest."""
    label = np.array([row.label for row in rows])
    share = np.array([row.share for row in rows], np.float32)
    soft = np.zeros((len(rows), 8), np.float32)
    known = np.flatnonzero(label >= 0)
    soft[known, label[known]] = share[known]
    soft[known, 0] += 1 - share[known]
    unknown = np.flatnonzero(label < 0)
    best = seen[unknown].max(1)
    soft[unknown] = seen[unknown] / seen[unknown].sum(1, keepdims=True).clip(1e-6) * best[:, None]
    soft[unknown, 0] += 1 - best
    return torch.from_numpy(soft)


def weights(rows: list[Row], learn: np.ndarray, negatives: float, kinds: float, people: float) -> np.ndarray:
    """(N,): labelled classes count the same, small collections more by the photograph; unlabelled ones `negatives` together.

    people: how much more they count, being what it is bought for. kinds: how much less a photograph counts that has its
    class from its kind; a thousand garbage trucks are not what a truck is.
    """
    label, source = np.array([row.label for row in rows]), np.array([row.collection for row in rows])
    kind = np.array([row.kind for row in rows])
    weight = np.zeros(len(rows), np.float32)
    known = learn & (label >= 0)
    for name in set(source[known]):
        here = known & (source == name)
        weight[here] = here.sum() ** -0.25 * (kinds if name in KINDS else 1)
    for n in range(8):
        here = known & (label == n)
        weight[here] /= max(weight[here].sum(), 1e-9)
    weight[known & (label == 1)] *= people
    unknown = learn & (label < 0) & ~np.isin(kind, BETWEEN)
    if unknown.any():
        weight[unknown] = negatives / unknown.sum()
    return weight


def even_weights(rows: list[Row], learn: np.ndarray, negatives: float, kinds: float) -> np.ndarray:
    """(N,): labelled photographs count the same, parts of scenes 0.3 of it, what has its class from the kind `kinds` of it."""
    label, kind = np.array([row.label for row in rows]), np.array([row.kind for row in rows])
    known, unknown = learn & (label >= 0), learn & (label < 0) & ~np.isin(kind, BETWEEN)
    one = [kinds if row.collection in KINDS else 0.3 if row.part != WHOLE else 1.0 for row in rows]
    weight = np.where(known, np.array(one, np.float32), np.float32(0))
    weight *= 8 / max(weight.sum(), 1e-9)
    weight[unknown] = negatives / max(unknown.sum(), 1)
    return weight
