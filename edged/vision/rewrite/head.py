"""The arithmetic of teaching: features of a few pictures → a last layer, and what it is worth on pictures it did not see. Pure.

A regularised multinomial logistic regression over what was taught and one class more, `other`: the bank of ordinary things.
It stands on the pooled features, each in units of its spread among ordinary things, and on the square roots of the base's
own names. Every label counts the same, however many pictures it has.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edged.vision.rewrite.trunk import Floats, Names

DECAY = 0.015
FOLDS = 5
NAMES_SHARE = 0.8  # how long the part of the names is, beside that of the features
_SPREAD = 0.02  # added to each feature's variance: one that is almost always zero is not made huge
_STEPS, _STILL = 200, 5e-4  # at most; and the share of the largest weight that a step must move one, to be worth another
_NEIGHBOURS, _MOST_TAUGHT = 5, 3  # of an entry of the bank: with so many taught ones among its nearest it is left out
_TEMPERATURES = np.geomspace(0.25, 4.0, 41)
_ENTERS = np.round(np.arange(0.30, 0.951, 0.01), 2)
MARGIN = 0.1  # how far the best score must be above the next
QUIET = 0.95  # of the bank's entries that must get no name at the score that is chosen
SEED = 17

Whole = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Views:
    """Further views of pictures: points (v, d), and the number of the picture that each is of."""

    points: Floats
    of: Whole


@dataclass(frozen=True, slots=True)
class Space:
    """How features are measured: what ordinary things look like on the mean, and how far they spread."""

    mean: Floats
    spread: Floats
    names: Names | None
    names_mean: Floats
    names_spread: float

    @classmethod
    def of(cls, features: Floats, names: Names | None) -> "Space":
        """From features (n, features) of many different things."""
        mean, spread = features.mean(0), np.sqrt(features.var(0) + _SPREAD)
        length = float(np.sqrt((((features - mean) / spread) ** 2).sum(1).mean())) or 1.0
        if names is None:
            return cls(mean, spread * length, None, np.zeros(0, np.float32), 1.0)
        roots = to_roots(features, names)
        apart = float(np.sqrt(((roots - roots.mean(0)) ** 2).sum(1).mean())) or 1.0
        return cls(mean, spread * length, names, roots.mean(0), apart / NAMES_SHARE)

    def to_features(self, features: Floats) -> Floats:
        """(n, features) → the same, each from its mean and in units of its spread."""
        made: Floats = (features - self.mean) / self.spread
        return made

    def to_points(self, features: Floats) -> Floats:
        """(n, features) → (n, features + names)."""
        points = self.to_features(features)
        if self.names is None:
            return points
        return np.concatenate([points, (to_roots(features, self.names) - self.names_mean) / self.names_spread], axis=1)

    def to_layers(self, weights: Floats, bias: Floats) -> tuple[Floats, Floats | None, Floats]:
        """(points, classes), (classes,) → the same as layers upon plain features and plain roots: on_features, on_names, bias."""
        count = len(self.mean)
        on_features = (weights[:count] / self.spread[:, None]).T
        moved = bias - on_features @ self.mean
        if self.names is None:
            return _plain(on_features), None, _plain(moved)
        on_names = (weights[count:] / self.names_spread).T
        return _plain(on_features), _plain(on_names), _plain(moved - on_names @ self.names_mean)


def _plain(values: NDArray[np.floating]) -> Floats:
    return np.ascontiguousarray(values, np.float32)


def to_roots(features: Floats, names: Names) -> Floats:
    """The square roots of the probabilities of the base's own names."""
    made: Floats = np.sqrt(softmax(features @ names.weights.T + names.bias))
    return made


def softmax(logits: NDArray[np.floating]) -> NDArray[np.floating]:
    raised = np.exp(logits - logits.max(axis=1, keepdims=True))
    made: NDArray[np.floating] = raised / raised.sum(axis=1, keepdims=True)
    return made


def fit(points: Floats, label: Whole, classes: int) -> tuple[Floats, Floats]:
    """(n, d), (n,) → weights (d, classes), bias (classes,)."""
    weights, bias = fit_each(points, label, classes, np.ones((len(label), 1), bool))
    return weights[0], bias[0]


def fit_each(points: Floats, label: Whole, classes: int, used: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """Several fits at once: used (n, m), the points that each may learn from → weights (m, d, classes), bias (m, classes).

    Nesterov's method with the step that the data allow, until nothing moves; each class weighs the same. What costs is to go
    through the points, and they are gone through once for all fits.
    """
    many, wide = used.shape[1], points.shape[1]
    counts = np.stack([np.bincount(label[mine], minlength=classes) for mine in used.T])
    weight = (used / np.maximum(1, counts)[:, label].T / np.maximum(1, (counts > 0).sum(1))).astype(np.float32)
    wanted = np.eye(classes, dtype=np.float32)[label][:, None]
    step = np.repeat(1 / (0.5 * _largest(points, weight) + 0.5 + DECAY), classes).astype(np.float32)
    weights, bias = np.zeros((wide, many * classes), np.float32), np.zeros(many * classes, np.float32)
    ahead, ahead_bias, pace = weights, bias, 1.0
    for _ in range(_STEPS):
        scores = softmax((points @ ahead + ahead_bias).reshape(-1, classes)).reshape(-1, many, classes)
        wrong = ((scores - wanted) * weight[:, :, None]).reshape(-1, many * classes)
        new = ahead - step * (points.T @ wrong + np.float32(DECAY) * ahead)
        new_bias = ahead_bias - step * wrong.sum(0)
        faster = (1 + np.sqrt(1 + 4 * pace * pace)) / 2
        share = np.float32((pace - 1) / faster)
        moved = float(np.abs(new - weights).max()) > _STILL * float(np.abs(new).max())
        ahead, ahead_bias = new + share * (new - weights), new_bias + share * (new_bias - bias)
        weights, bias, pace = new, new_bias, faster
        if not moved:
            break
    return weights.reshape(wide, many, classes).transpose(1, 0, 2), bias.reshape(many, classes)


def _largest(points: Floats, weight: Floats) -> Floats:
    """The largest eigenvalue of the Gram matrix of the points by each of the weights (n, m), by the power method: (m,); a
    little too much is safe."""
    shape = (points.shape[1], weight.shape[1])
    vectors: Floats = np.random.default_rng(SEED).standard_normal(shape, np.float32)
    for _ in range(20):
        vectors = points.T @ (weight * (points @ vectors))
        vectors = vectors / np.maximum(1e-20, np.linalg.norm(vectors, axis=0)).astype(np.float32)
    made: Floats = (1.1 * (weight * (points @ vectors) ** 2).sum(0)).astype(np.float32)
    return made


def to_ordinary(taught: Floats, bank: Floats) -> NDArray[np.bool_]:
    """Which entries of the bank are not what is taught: most of their nearest neighbours are of the bank, too."""
    everything = np.concatenate([taught, bank])
    everything = everything / np.maximum(1e-9, np.linalg.norm(everything, axis=1, keepdims=True))
    likeness = everything[len(taught) :] @ everything.T
    likeness[np.arange(len(bank)), len(taught) + np.arange(len(bank))] = -2  # itself
    some = min(_NEIGHBOURS, likeness.shape[1] - 1)
    nearest = np.argpartition(-likeness, some, axis=1)[:, :some]
    made: NDArray[np.bool_] = (nearest < len(taught)).sum(1) < _MOST_TAUGHT
    return made


def to_folds(label: Whole, group: Whole, folds: int = FOLDS) -> Whole:
    """Which fold each picture is tried in: whole groups of near copies, dealt out label by label, the largest first."""
    found = np.zeros(len(label), np.int64)
    for one in np.unique(label):
        mine = np.flatnonzero(label == one)
        groups, sizes = np.unique(group[mine], return_counts=True)
        filled = np.zeros(folds, np.int64)
        for n in np.argsort(-sizes, kind="stable"):
            fold = int(filled.argmin())
            found[mine[group[mine] == groups[n]]] = fold
            filled[fold] += sizes[n]
    return found


def held_out(points: Floats, label: Whole, group: Whole, classes: int, more: Views | None = None) -> NDArray[np.floating]:
    """The logits (n, classes) of each picture, by a fit to the other folds only. more: what is also learnt from, never tried."""
    fold = to_folds(label, group)
    numbers = np.unique(fold)
    everything, of = with_more(points, more)
    weights, bias = fit_each(everything, label[of], classes, fold[of][:, None] != numbers)
    found = np.zeros((len(label), classes))
    for n, number in enumerate(numbers):
        tried = fold == number
        found[tried] = points[tried] @ weights[n] + bias[n]
    return found


def with_more(points: Floats, more: Views | None) -> tuple[Floats, Whole]:
    """The points and the further views of them, and of which picture each is."""
    of = np.arange(len(points))
    return (points, of) if more is None else (np.concatenate([points, more.points]), np.concatenate([of, more.of]))


def to_temperature(logits: NDArray[np.floating], label: Whole) -> float:
    """What logits must be divided by, so that scores are shares of right answers: the least log loss, each class alike."""
    weight = 1 / np.bincount(label, minlength=logits.shape[1])[label]

    def loss(temperature: float) -> float:
        right = softmax(logits / temperature)[np.arange(len(label)), label]
        return float(-(weight * np.log(np.maximum(right, 1e-9))).sum())

    return float(min(_TEMPERATURES, key=loss))


def is_named(scores: NDArray[np.floating], enter: float) -> NDArray[np.bool_]:
    """Whether the best of these scores (n, labels) becomes the label."""
    two = np.sort(scores, axis=1)[:, -2:]
    made: NDArray[np.bool_] = (two[:, 1] >= enter) & (two[:, 1] - two[:, 0] >= MARGIN)
    return made


def choose_enter(other: NDArray[np.floating]) -> float:
    """The lowest score at which few of the others get a name. other: scores (n, labels) of held-out entries of the bank."""
    return next((float(enter) for enter in _ENTERS if is_named(other, enter).mean() <= 1 - QUIET), float(_ENTERS[-1]))
