"""Classifying picture files, in a process of its own that a hostile file may take down: this end asks and survives."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from edged.errors import ModelError
from edged.process.sandbox import SandboxError, ThrowAway, handed_over, to_owner
from edged.system.files import read_model
from edged.system.shapes import LARGEST_PICTURE_PIXELS, WHOLE, Region

LOAD_LIMIT_S = 30.0
PICTURE_LIMIT_S = 20.0  # a decode and an inference; the largest of both take 2 s on a Pi Zero 2 W
CRASHES_IN_A_ROW = 3  # then it is the model and not the pictures

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp"})


@dataclass(frozen=True)
class Ask:
    """What is wanted of every picture. `labels` is their number; `output` None: as the graph itself ends."""

    model: Path
    sha256: str
    labels: int
    output: str | None
    region: Region = WHOLE
    crop: str = "full"
    top: int = 3
    threads: int = 1


@dataclass(frozen=True)
class Look:
    """What came of one picture: [index, score] best first, or `error`."""

    picture: Path
    scores: list[tuple[int, float]] = field(default_factory=list)
    timing_ms: dict[str, float] = field(default_factory=dict)
    error: str = ""


def find_pictures(named: Iterable[Path]) -> Iterator[Path]:
    """Files as they were named, and for a folder its pictures in order of name."""
    for path in named:
        try:
            inside = sorted(one for one in path.iterdir() if one.suffix.lower() in SUFFIXES) if path.is_dir() else []
        except OSError:
            inside = []  # the folder itself is then told as unreadable
        yield from inside or [path]


def look_at(pictures: Iterable[Path], ask: Ask) -> Iterator[Look]:
    """Classify one picture after the other. Raises ModelError when the model can't be used."""
    child: ThrowAway | None = None
    crashes = owner = 0
    try:
        for picture in pictures:
            if picture.is_dir():
                yield Look(picture, error="is a folder without pictures")
                continue
            if child is not None and owner != to_owner(picture):
                child.close()
                child = None
            if child is None:
                child, owner = _start(ask, picture), to_owner(picture)
            fields = {"picture": str(picture.absolute()), "region": ask.region, "crop": ask.crop, "top": ask.top}
            try:
                kind, answer = child.ask("look", fields, PICTURE_LIMIT_S)
            except SandboxError as lost:
                child, crashes = None, crashes + 1
                if crashes == CRASHES_IN_A_ROW:
                    raise ModelError(
                        f"{ask.model}: the runtime {lost} on {crashes} pictures in a row: the model is damaged"
                    ) from None
                yield Look(picture, error=f"the decoder or the model {lost} on it")
                continue
            crashes = 0
            if kind == "scores":
                yield Look(picture, [(index, score) for index, score in answer["scores"]], answer["timing_ms"])
            else:
                yield Look(picture, error=answer.get("reason", "the process that looks at pictures answered something else"))
    finally:
        if child is not None:
            child.close()


def _start(ask: Ask, picture: Path) -> ThrowAway:
    """Where root asks, with the rights of whom the picture belongs to."""
    with handed_over(ask.model, lambda: read_model(ask.model), to_owner(picture)) as (path, passed):
        return _load(ask, picture, path, passed)


def _load(ask: Ask, picture: Path, path: Path, passed: int | None) -> ThrowAway:
    environment = {"OPENCV_IO_MAX_IMAGE_PIXELS": str(LARGEST_PICTURE_PIXELS), "OPENCV_LOG_LEVEL": "SILENT"}
    try:
        child = ThrowAway("edged.vision.classify", environment, picture, passed=passed)
    except SandboxError as lost:
        raise ModelError(f"the process that looks at pictures {lost}: edged or its libraries are not installed well") from None
    model = {"path": str(path), "sha256": ask.sha256, "labels": ask.labels, "output": ask.output, "threads": ask.threads}
    try:
        kind, answer = child.ask("load", model, LOAD_LIMIT_S)
    except SandboxError as lost:
        raise ModelError(f"{ask.model}: the runtime {lost} while loading it: the file is damaged") from None
    if kind != "loaded":
        child.close()
        raise ModelError(str(answer.get("reason", f"{ask.model}: it was not loaded")))
    return child
