"""Teaching: pictures of a few labels and a base → a model that knows those labels, and what it is worth on pictures it did not see.

Two throw-away processes do it, one after the other: the first decodes pictures and gives their features, the second is given
those numbers and writes the model. This end asks, survives both, and believes neither more than their words.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from edged.errors import ModelError
from edged.models.classify import PICTURE_LIMIT_S
from edged.models.labels import LONGEST_LABEL, RESERVED
from edged.models.names import check_name
from edged.models.store import Installed
from edged.models.teach.figures import is_consistent
from edged.process.sandbox import SandboxError, ThrowAway, handed_over, to_owner
from edged.system.files import LARGEST_BYTES, read_model, shipped
from edged.system.shapes import LARGEST_PICTURE_PIXELS

Crop = Literal["full", "centre", "letterbox"]

OTHER = "other"
FEWEST, MOST = 8, 500  # pictures of a label
MOST_PICTURES = 1500  # altogether: they take 400 MB with the largest of the bundled bases
FEWEST_OTHERS = 20  # without a bank
MOST_LABELS = 50
COMMANDS = ("mark", "marks", "forget")
_LOAD_LIMIT_S = 60.0
_TEACH_LIMIT_S = 2000.0
_CRASHES_IN_A_ROW = 3
_ENVIRONMENT = {"MALLOC_ARENA_MAX": "2", "OPENCV_LOG_LEVEL": "SILENT", "OPENCV_IO_MAX_IMAGE_PIXELS": str(LARGEST_PICTURE_PIXELS)}


@dataclass(frozen=True, slots=True)
class Picture:
    """A file that shows a label. crop: what is looked at of it; a mark was already cropped as the camera's frames are."""

    path: Path
    label: str
    crop: Crop = "full"


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be taught. pictures: in any order; those of `OTHER` show what is none of the labels."""

    name: str
    base: Installed
    labels: tuple[str, ...]
    pictures: tuple[Picture, ...]


@dataclass(frozen=True, slots=True)
class Lost:
    """A picture that was left out, and why."""

    picture: Picture
    why: str


@dataclass(frozen=True)
class Taught:
    """What came of it. figures: the fields of the word "taught" of process/protocol.py; pictures: those that were used, in the
    order of its `best` and `scores`."""

    plan: Plan
    model: bytes
    figures: dict[str, Any]
    pictures: list[Picture]
    others: int
    lost: list[Lost] = field(default_factory=list)

    def counts(self) -> list[tuple[str, int, int]]:
        """Each label with its pictures, and how many of them were told rightly while they were held out."""
        rows = self.figures["confusion"]
        return [(label, sum(rows[n]), rows[n][n]) for n, label in enumerate(self.plan.labels)]

    @property
    def accuracy(self) -> float:
        """The mean of the labels' accuracies, on held-out pictures."""
        return sum(right / max(1, count) for _, count, right in self.counts()) / len(self.plan.labels)

    @property
    def named(self) -> float:
        """The share of held-out pictures that get their own name, with the thresholds of the card."""
        return float(sum(self.figures["named"]) / max(1, len(self.pictures)))

    @property
    def others_named(self) -> float:
        """The share of held-out other things that get a name."""
        return float(self.figures["others_named"] / max(1, self.figures["others"]))


def check_label(label: str) -> str:
    """The label itself. Raises ModelError for one that can't be taught."""
    if label in RESERVED:
        raise ModelError(f'"{label}" means that no label is seen: give this label another name')
    if label == OTHER:
        raise ModelError(f'"{OTHER}" means what is none of the labels: give these pictures with --other')
    if not label or not label.isprintable() or label != label.strip() or label.startswith(".") or "=" in label:
        raise ModelError(f"{label!r} is no label: printable characters, no spaces around them, no dot first, and no =")
    if len(label.encode()) > min(80, LONGEST_LABEL):
        raise ModelError(f'the label "{label[:20]}…" is longer than 80 bytes: a label is a name')
    return label


def check_plan(plan: Plan) -> None:
    """Raises ModelError for what can be seen before any picture is opened."""
    check_name(plan.name)
    if plan.name in COMMANDS:
        raise ModelError(f'a model cannot be named "{plan.name}": edged teach {plan.name} is a command; choose another name')
    for label in plan.labels:
        check_label(label)
    if len(plan.labels) < 2:
        have = f'only "{plan.labels[0]}"' if plan.labels else "none"
        raise ModelError(
            f"teaching needs at least two labels, and there is {have}: "
            "also show what it is to be told apart from, as --label open=FOLDER --label shut=FOLDER"
        )
    if len(plan.labels) > MOST_LABELS:
        raise ModelError(f"{len(plan.labels)} labels are more than the {MOST_LABELS} that can be taught")
    if len(plan.pictures) > MOST_PICTURES:
        raise ModelError(
            f"{len(plan.pictures):,} pictures are more than the {MOST_PICTURES:,} that are taken altogether; "
            "20 to 50 of each label are good"
        )
    for label in (*plan.labels, OTHER):
        count = sum(picture.label == label for picture in plan.pictures)
        if count > MOST:
            raise ModelError(
                f'"{label}" has {count} pictures: {MOST} are the most that are taken; leave the ones out that look alike'
            )
        if label != OTHER and count < FEWEST:
            raise _too_few(label, count)
    if find_bank(plan.base) is None:
        _check_others(plan, sum(picture.label == OTHER for picture in plan.pictures))


def find_bank(base: Installed) -> Path | None:
    """The shipped features of ordinary things by this base."""
    path = shipped("models", f"{base.card.name}.bank.npz")
    return path if base.path == shipped("models", base.card.file or "-") and path.is_file() else None


def teach(plan: Plan, on_step: Callable[[str, int, int], None] = lambda *_: None) -> Taught:
    """Takes seconds to minutes. on_step: what is done now, how much of it is done, of how much. Raises ModelError.

    Thread: the main one (its children die with it).
    """
    check_plan(plan)
    seen, lost = _look(plan, on_step)
    used = [picture for picture, _ in seen]
    for label in plan.labels:
        if (count := sum(picture.label == label for picture in used)) < FEWEST:
            raise _too_few(label, count, lost)
    bank = find_bank(plan.base)
    others = sum(picture.label == OTHER for picture in used)
    if bank is None:
        _check_others(plan, others)
    figures, model = _learn(plan, seen, bank, on_step)
    taught = [picture for picture in used if picture.label != OTHER]
    if not is_consistent(figures, len(plan.labels), len(taught)):
        raise ModelError("the process that teaches gave figures that do not belong together")
    return Taught(plan, model, figures, taught, others, lost)


def _look(plan: Plan, on_step: Callable[[str, int, int], None]) -> tuple[list[tuple[Picture, bytes]], list[Lost]]:
    """The features of every picture that could be read, and the others. Raises ModelError for a base that can't be used."""
    seen, lost = list[tuple[Picture, bytes]](), list[Lost]()
    child: ThrowAway | None = None
    crashes = owner = 0
    try:
        for number, picture in enumerate(plan.pictures):
            on_step("looking at pictures", number, len(plan.pictures))
            if child is not None and owner != to_owner(picture.path):
                child.close()
                child = None
            if child is None:
                child, owner = _start_embedding(plan.base, picture.path), to_owner(picture.path)
            try:
                fields = {"picture": str(picture.path.absolute()), "crop": picture.crop}
                kind, answer, features = child.exchange("see", fields, PICTURE_LIMIT_S)
            except SandboxError as gone:
                child, crashes = None, crashes + 1
                if crashes == _CRASHES_IN_A_ROW:
                    raise ModelError(f"the process that looks at pictures {gone}, {crashes} times in a row") from None
                lost.append(Lost(picture, f"the decoder or the model {gone} on it"))
                continue
            crashes = 0
            if kind == "features":
                seen.append((picture, features))
            else:
                lost.append(Lost(picture, str(answer.get("reason", "it could not be read"))))
    finally:
        if child is not None:
            child.close()
    return seen, lost


def _start_embedding(base: Installed, picture: Path) -> ThrowAway:
    """Where root asks, with the rights of whom the picture belongs to."""
    try:
        with handed_over(base.path, lambda: read_model(base.path), to_owner(picture)) as (path, passed):
            child = ThrowAway("edged.vision.rewrite.embedding", _ENVIRONMENT, picture, passed=passed)
            kind, answer = child.ask("embed", {"path": str(path), "sha256": base.sha256}, _LOAD_LIMIT_S)
    except SandboxError as gone:
        raise ModelError(f"the base {base.card.name} cannot be taught: the process that loads it {gone}") from None
    if kind != "loaded":
        child.close()
        raise _refusal(base, kind, answer)
    return child


def _learn(
    plan: Plan, seen: list[tuple[Picture, bytes]], bank: Path | None, on_step: Callable[[str, int, int], None]
) -> tuple[dict[str, Any], bytes]:
    """The figures and the model. Raises ModelError."""
    label_of = {label: number for number, label in enumerate(plan.labels)}
    on_step("learning", 0, 1)
    with _lesson(plan.base) as child:
        wanted = {"path": str(plan.base.path.absolute()), "sha256": plan.base.sha256, "bank": str(bank or "")}
        _expect("loaded", plan.base, child.ask("base", wanted, _LOAD_LIMIT_S))
        for picture, features in seen:
            kind, answer, _ = child.exchange("example", {"label": label_of.get(picture.label, -1)}, _LOAD_LIMIT_S, features)
            _expect("loaded", plan.base, (kind, answer))
        kind, answer = child.ask("teach", {"labels": len(plan.labels)}, _TEACH_LIMIT_S)
        if kind in ("same_picture", "too_alike", "alike"):
            raise ModelError(_to_sentence(kind, answer, plan.labels, [picture for picture, _ in seen]))
        figures = _expect("taught", plan.base, (kind, answer))
        model = child.fetch("part", _LOAD_LIMIT_S, LARGEST_BYTES)
    on_step("learning", 1, 1)
    return figures, model


@contextmanager
def _lesson(base: Installed) -> Iterator[ThrowAway]:
    try:
        child = ThrowAway("edged.vision.rewrite.lesson", {"MALLOC_ARENA_MAX": "2", "OPENCV_LOG_LEVEL": "SILENT"})
        try:
            yield child
        finally:
            child.close()
    except SandboxError as gone:
        raise ModelError(f"the base {base.card.name} cannot be taught: the process that teaches {gone}") from None


def _expect(wanted: str, base: Installed, answer: tuple[str, dict[str, Any]]) -> dict[str, Any]:
    if answer[0] != wanted:
        raise _refusal(base, *answer)
    return answer[1]


def _refusal(base: Installed, kind: str, answer: dict[str, Any]) -> ModelError:
    if kind == "no_schema":
        return ModelError("teaching needs ai-edge-litert: the installed runtime brings no schema of .tflite files")
    reason = str(answer.get("reason", "the process that does it answered something else"))
    return ModelError(f"the base {base.card.name} cannot be taught: {reason}")


def _to_sentence(kind: str, fields: dict[str, Any], labels: tuple[str, ...], pictures: list[Picture]) -> str:
    """Why what was shown can't be taught. Pure."""
    if kind == "too_alike":
        label, different = labels[fields["label"] % len(labels)], fields["different"]
        return (
            f'the pictures of "{label}" are near copies of only {different}: without pictures of other moments nobody can say '
            "how good the model is; take them at other hours, from other places"
        )
    if kind == "same_picture":
        first, second = (pictures[fields[key] % len(pictures)] for key in ("first", "second"))
        return (
            f'{first.path} shows "{first.label}" and {second.path} shows "{second.label}", but they are the same picture: '
            "take it out of one of the two folders"
        )
    first_label, second_label = (labels[fields[key] % len(labels)] for key in ("first", "second"))
    return (
        f'"{first_label}" and "{second_label}" look alike to this base: it tells held-out pictures of the two apart '
        f"{fields['told_apart']:.0%} of the time, and chance does 50 %; show more and clearer pictures, set camera.region to where "
        "they differ, or take a larger --base"
    )


def _too_few(label: str, count: int, lost: list[Lost] | None = None) -> ModelError:
    left_out = [one for one in lost or () if one.picture.label == label]
    why = f" ({len(left_out)} were left out: {left_out[0].picture.path} {left_out[0].why})" if left_out else ""
    return ModelError(f'"{label}" has {count} pictures{why}: at least {FEWEST} are needed, and 20 to 50 are better')


def _check_others(plan: Plan, count: int) -> None:
    if count < FEWEST_OTHERS:
        raise ModelError(
            f"the base {plan.base.card.name} has no bank of ordinary things, so it needs pictures of what is none of the labels: "
            f"--other FOLDER with at least {FEWEST_OTHERS} of them (there are {count})"
        )
