"""`python -m edged.vision.rewrite.lesson`: the throw-away process that fits a last layer to features and writes the model.

It is given numbers and a base, never a picture. The asking end is edged/models/teach/teach.py.
"""

import resource
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edged.errors import ModelError, ReadError
from edged.process.pipe import Pipe
from edged.process.sandbox import begin
from edged.process.seccomp import forbid_network
from edged.system.files import SMALL_BYTES, read_file
from edged.vision.classifier import Classifier
from edged.vision.preprocess import to_tensor
from edged.vision.probe import synthetic_frames
from edged.vision.rewrite import head
from edged.vision.rewrite.copies import THUMB_BYTES, find_same, to_groups, to_moved_groups
from edged.vision.rewrite.embedding import VIEWS, Embedder, load_base
from edged.vision.rewrite.flatbuffer import NoSchemaError
from edged.vision.rewrite.trunk import Floats, Trunk

MEMORY_MB = 512
CPU_S = 1800  # thirty pictures of each of fifty labels take 100 s on x86-64, and a Pi Zero 2 W ten times that
OTHER = -1  # the label of what is none of those that are taught
FEWEST_DIFFERENT = 3  # pictures of a label that are no near copies of one another
ALIKE = 0.6  # two labels that are told apart no better than this are the same to the base; by chance it is 0.5
_ENTER_TO_LEAVE = 0.15
_VIEWS_COST = 0.05  # by so much less may be told rightly with the views; with more they hide what tells the labels apart
_OFF = 0.05  # of a score, between this arithmetic and the runtime's
_PART_BYTES = 128 * 1024


@dataclass(frozen=True, slots=True)
class Examples:
    """features (n, features), thumbs (n, 1024), label (n,): 0… for what is taught, OTHER.

    views (n, v, features): of further views of each picture; None for none.
    """

    features: Floats
    thumbs: NDArray[np.float32]
    label: NDArray[np.int64]
    views: Floats | None = None


class RefusedLessonError(Exception):
    """What is wrong with the pictures: a word of the pipe and its fields."""

    def __init__(self, kind: str, fields: dict[str, Any]) -> None:
        super().__init__(kind)
        self.kind, self.fields = kind, fields


class Lesson:
    """Answers one request at a time."""

    def __init__(self) -> None:
        self._base = self._made = b""
        self._trunk: Trunk | None = None
        self._bank: Floats = np.zeros((0, 0), np.float32)
        self._features: list[Floats] = []
        self._thumbs: list[bytes] = []
        self._label: list[int] = []

    def answer(self, pipe: Pipe, kind: str, fields: dict[str, Any], attachment: bytes) -> None:
        try:
            if kind == "base":
                pipe.send("loaded", self._begin(**fields))
            elif kind == "example":
                self._take(attachment, **fields)
                pipe.send("loaded", {})
            elif kind == "teach":
                pipe.send("taught", self._teach(**fields))
            else:
                at = fields["at"]
                pipe.send("part", {"last": at + _PART_BYTES >= len(self._made)}, self._made[at : at + _PART_BYTES])
        except RefusedLessonError as refused:
            pipe.send(refused.kind, refused.fields)
        except NoSchemaError:
            pipe.send("no_schema", {})
        except ModelError as error:
            pipe.send("refused", {"reason": str(error)})
        except MemoryError:
            pipe.send("refused", {"reason": f"it needs more than {MEMORY_MB} MB"})

    def _begin(self, path: str, sha256: str, bank: str) -> dict[str, Any]:
        self._base = load_base(path, sha256)
        self._trunk = Trunk(self._base)
        self._bank = (
            load_bank(Path(bank), sha256, self._trunk.features) if bank else np.zeros((0, self._trunk.features), np.float32)
        )
        return {}

    def _take(self, numbers: bytes, label: int) -> None:
        assert self._trunk is not None
        wanted = THUMB_BYTES + 4 * self._trunk.features * (1 + VIEWS)
        features = np.frombuffer(numbers[THUMB_BYTES:], np.float32) if len(numbers) == wanted else None
        if features is None or not np.isfinite(features).all():
            raise ModelError("the base's features are no finite numbers: it cannot be taught")
        self._features.append(features.reshape(1 + VIEWS, -1))
        self._thumbs.append(numbers[:THUMB_BYTES])
        self._label.append(label)

    def _teach(self, labels: int) -> dict[str, Any]:
        assert self._trunk is not None
        thumbs = np.frombuffer(b"".join(self._thumbs), np.uint8).reshape(-1, THUMB_BYTES).astype(np.float32)
        seen = np.stack(self._features)
        examples = Examples(seen[:, 0], thumbs, np.array(self._label), seen[:, 1:])
        if same := find_same(examples.thumbs, examples.label):
            raise RefusedLessonError("same_picture", {"first": same[0], "second": same[1]})
        learnt, figures = learn(examples, self._bank, labels, self._trunk)
        self._made = self._trunk.with_head(*learnt, shown=labels)
        self._compare(learnt, labels)
        return figures

    def _compare(self, learnt: tuple[Floats, Floats | None, Floats], labels: int) -> None:
        """The runtime must give what the arithmetic says. Raises ModelError."""
        assert self._trunk is not None
        on_features, on_names, bias = learnt
        made, embedder = Classifier(self._made, output="probabilities"), Embedder(self._base)
        for frame in synthetic_frames():
            features = embedder.embed(frame, "full")
            logits = on_features @ features + bias
            if on_names is not None and self._trunk.names is not None:
                logits = logits + on_names @ head.to_roots(features[None], self._trunk.names)[0]
            wanted = head.softmax(logits[None])[0, :labels]
            if np.abs(made.classify(to_tensor(frame, made.facts.input)) - wanted).max() > _OFF:
                raise ModelError("the runtime does not run the new last layer rightly: teach another base")


def load_bank(path: Path, sha256: str, features: int) -> Floats:
    """The shipped features of ordinary things, (n, features). Raises ModelError when they are not this base's."""
    try:
        read_file(path, SMALL_BYTES)
        with np.load(path, allow_pickle=False) as file:
            belongs_to, steps, scale, zero = str(file["base"]), file["features"], float(file["scale"]), int(file["zero"])
    except (ReadError, OSError, ValueError, KeyError):
        raise ModelError(f"{path}: this file of the package is damaged: reinstall edged") from None
    if belongs_to != sha256 or steps.ndim != 2 or steps.shape[1] != features:
        raise ModelError(f"{path}: this file of the package is of another model: reinstall edged")
    made: Floats = (steps.astype(np.float32) - np.float32(zero)) * np.float32(scale)
    return made


def learn(
    examples: Examples, bank: Floats, labels: int, trunk: Trunk
) -> tuple[tuple[Floats, Floats | None, Floats], dict[str, Any]]:
    """The last layer (on_features, on_names, bias) and its figures. Raises RefusedLessonError."""
    is_taught, group = examples.label != OTHER, to_groups(examples.thumbs)
    different = [len(np.unique(group[examples.label == one])) for one in range(labels)]
    if min(different) < FEWEST_DIFFERENT:
        raise RefusedLessonError("too_alike", {"label": int(np.argmin(different)), "different": min(different)})
    taught, others = examples.features[is_taught], examples.features[~is_taught]
    ordinary = np.concatenate([bank, others])
    space = head.Space.of(ordinary if len(bank) else np.concatenate([ordinary, taught]), trunk.names)
    group = to_moved(space, examples, group, labels)
    different = [len(np.unique(group[examples.label == one])) for one in range(labels)]
    points, bank_points = space.to_points(taught), space.to_points(bank)
    views = None if examples.views is None else to_views(space, examples.views[is_taught])
    kept = head.to_ordinary(points, bank_points) if len(bank) else np.zeros(0, bool)
    for is_last in (False, True) if len(bank) else (True,):
        rest = np.concatenate([bank_points[kept], space.to_points(others)])
        rest_group = np.concatenate([len(group) + np.arange(int(kept.sum())), group[~is_taught]])
        everything = np.concatenate([points, rest])
        label = np.concatenate([examples.label[is_taught], np.full(len(rest), labels)])
        groups = np.concatenate([group[is_taught], rest_group])
        logits = head.held_out(everything, label, groups, labels + 1, views)
        if not is_last:
            # what is taken for a label although it was learnt that such things are other is one of that label's kind
            bank_logits = logits[len(points) : len(points) + int(kept.sum())]
            kept[np.flatnonzero(kept)[bank_logits.argmax(1) < labels]] = False
    if views is not None:
        plain = head.held_out(everything, label, groups, labels + 1)
        if to_told(plain, label, labels) - to_told(logits, label, labels) > _VIEWS_COST:
            views, logits = None, plain
    temperature = head.to_temperature(logits, label)
    scores = head.softmax(logits / temperature)
    learnt, of = head.with_more(everything, views)
    weights, bias = head.fit(learnt, label[of], labels + 1)
    scale = np.float32(temperature)
    figures = to_figures(scores, label, labels) | {
        "temperature": temperature,
        "bank": int(kept.sum()),
        "left_out": int((~kept).sum()),
        "different": different,
        "views": 0 if views is None else len(views.of) // len(taught),
    }
    return space.to_layers(weights / scale, bias / scale), figures


def to_moved(space: head.Space, examples: Examples, group: NDArray[np.int64], labels: int) -> NDArray[np.int64]:
    """The groups with moved copies joined, or as they were where that leaves a label too few to be held out: a camera that
    stands still sees nearly the same at all hours, and what little differs is what is to be learnt."""
    if examples.views is None:
        return group
    views = (space.to_features(one) for one in examples.views.transpose(1, 0, 2))
    joined = to_moved_groups(group, space.to_features(examples.features), views)
    few = min(len(np.unique(joined[examples.label == one])) for one in range(labels))
    return joined if few >= head.FOLDS else group


def to_views(space: head.Space, views: Floats) -> head.Views:
    """(n, v, features) → the points of all views."""
    count, each, features = views.shape
    return head.Views(space.to_points(views.reshape(-1, features)), np.repeat(np.arange(count), each))


def to_told(logits: NDArray[np.floating], label: NDArray[np.int64], labels: int) -> float:
    """The share of the taught pictures that are told rightly among the labels, each label alike."""
    is_right = logits[:, :labels].argmax(1) == label
    return float(np.mean([is_right[label == one].mean() for one in range(labels)]))


def to_figures(scores: NDArray[np.floating], label: NDArray[np.int64], labels: int) -> dict[str, Any]:
    """Of held-out scores (n, labels + 1). Raises RefusedLessonError for two labels that are not told apart."""
    is_taught = label < labels
    shown, truth = scores[:, :labels], label[is_taught]
    best = shown[is_taught].argmax(1)
    confusion = np.zeros((labels, labels), np.int64)
    np.add.at(confusion, (truth, best), 1)
    for first in range(labels):
        for second in range(first):
            pair = confusion[np.ix_([second, first], [second, first])]
            told_apart = float(np.mean(pair.diagonal() / np.maximum(1, pair.sum(1))))
            if told_apart < ALIKE:
                raise RefusedLessonError("alike", {"first": second, "second": first, "told_apart": round(told_apart, 3)})
    enter = head.choose_enter(shown[~is_taught])
    named = head.is_named(shown[is_taught], enter)
    return {
        "enter": enter,
        "leave": round(max(0.05, enter - _ENTER_TO_LEAVE), 2),
        "margin": head.MARGIN,
        "confusion": confusion.tolist(),
        "named": np.bincount(truth[named & (best == truth)], minlength=labels).tolist(),
        "named_wrong": int((named & (best != truth)).sum()),
        "others": int((~is_taught).sum()),
        "others_named": int(head.is_named(shown[~is_taught], enter).sum()),
        "best": best.tolist(),
        "scores": [round(float(score), 4) for score in shown[is_taught][np.arange(len(truth)), truth]],
    }


def main() -> None:
    forbid_network()
    pipe = begin(MEMORY_MB)
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_S, CPU_S))
    lesson = Lesson()
    pipe.send("ready", {})
    while (message := pipe.receive()) is not None:
        kind, fields, attachment = message
        lesson.answer(pipe, kind, fields, attachment)


if __name__ == "__main__":
    main()
