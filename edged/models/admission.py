"""Before a model may be used: tried in a throw-away process, and the verdict remembered by hash, runtime and board.

A uint8 model and its int8 sibling count as one here: both are tried and measured, and the faster one runs.

Memory safety is not checked, it is survived: a file that crashes, hangs or lies is refused with the reason, and nobody
else notices.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from edged.errors import ModelError, WriteError
from edged.models.measurements import Measured, Measurements, Verdict
from edged.models.recast import Siblings, is_candidate, to_sentence
from edged.models.store import Installed
from edged.process.sandbox import SandboxError, ThrowAway
from edged.system.board import Board, load_board, runtime_version
from edged.system.shapes import WHOLE, Region

log = logging.getLogger("edged")

CHECK_LIMIT_S = 30.0
JUST = 0.92  # of a limit: two measurements of one model may be so far apart
_CHILD = "edged.vision.probe"
_NONSENSE = "the trial of it answered something else than it was asked"
_Layout = Literal["bgr", "rgb", "gray", "nv12", "yuv420"]
# a size that is not configured: what the cameras ask for themselves, and for the others what is common
_GIVES: dict[str, tuple[_Layout, int, int]] = {
    "picamera2": ("yuv420", 640, 480),
    "v4l2": ("bgr", 640, 480),
    "stream": ("bgr", 1280, 720),
    "pictures": ("bgr", 640, 480),
}


@dataclass(frozen=True)
class Scene:
    """What the camera hands to the preprocessing: it costs time too."""

    layout: _Layout = "bgr"
    width: int = 640
    height: int = 480
    region: Region = WHOLE
    crop: Literal["full", "centre", "letterbox"] = "full"

    @classmethod
    def of_camera(
        cls,
        kind: str,
        width_px: int,
        height_px: int,
        region: Region,
        crop: Literal["full", "centre", "letterbox"],
    ) -> "Scene":
        """What a camera of this kind gives, as far as it is known before it is opened."""
        layout, width, height = _GIVES[kind]
        return cls(layout, width_px or width, height_px or height, region, crop)

    @property
    def key(self) -> str:
        return f"{self.layout} {self.width}x{self.height} {','.join(f'{side:g}' for side in self.region)} {self.crop}"


@dataclass
class Admission:
    """Thread: the main one (its children die with it). Blocks for as long as a model takes."""

    state_folder: Path
    board: Board = field(default_factory=load_board)
    runtime: str = field(default_factory=runtime_version)
    nice: int = 0
    recast: bool = True  # whether int8 siblings are made and used

    def __post_init__(self) -> None:
        self.ledger = Measurements(self.state_folder)
        self._siblings = Siblings(self.state_folder, self.ledger, f"{self.runtime} | {self.board.key}", self.nice)

    def admit(self, installed: Installed, *, again: bool = False) -> Verdict:
        """The verdict, remembered or new. Not kept where it says nothing of the file: a busy board, a file that was changed."""
        key = self._key(installed)
        known = None if again else self.ledger.verdict(key)
        if known is not None:
            return known
        with _ProbeProcess(installed) as trial:
            verdict = trial.check()
        if verdict.admitted or trial.was_tried:
            self.remember(key, verdict)
        return verdict

    def measure(
        self,
        installed: Installed,
        scene: Scene,
        threads: Sequence[int],
        seconds: float,
        *,
        again: bool = False,
        limit_ms: float = float("inf"),
    ) -> Measured:
        """Latency and memory on this board, remembered or new; admits on the way. Raises ModelError for a refused model.

        limit_ms: what its p95 may be. Where it only just is, it is measured once more, and the slower of the two counts.
        """
        key = self.measurement_key_of(installed.sha256, scene, threads)
        known = None if again else self.ledger.measured(key)
        if known is not None:
            return known
        measured = doubted(lambda: self._measure(installed, scene, threads, seconds), limit_ms)
        self.remember(key, measured)
        return measured

    def _measure(self, installed: Installed, scene: Scene, threads: Sequence[int], seconds: float) -> Measured:
        with _ProbeProcess(installed) as trial:
            verdict = trial.check()
            if verdict.admitted or trial.was_tried:
                self.remember(self._key(installed), verdict)
            if not verdict.admitted:
                raise ModelError(f"model {installed.card.name} is refused: {verdict.reason}")
            return trial.measure(scene, threads, seconds, self.nice)

    # a uint8 model and its int8 sibling

    def make_sibling(self, original: Installed) -> Installed | None:
        """The int8 sibling, made and admitted where that was not yet tried; None where there is none to use. Never raises."""
        if not self.recast:
            return None
        if self._siblings.is_open(original) and (made := self._siblings.make(original)) is not None:
            self.admit(made)
        return self.sibling(original)

    def sibling(self, original: Installed) -> Installed | None:
        """The int8 sibling that may be used, from what is remembered."""
        found = self._siblings.find(original) if self.recast else None
        verdict = self.recall_verdict(found) if found is not None else None
        return found if verdict is not None and verdict.admitted else None

    def tell_sibling(self, original: Installed) -> str:
        """What came of recasting it, for people; empty where it was not tried."""
        known = self._siblings.known(original) if self.recast and is_candidate(original) else None
        return "" if known is None else to_sentence(known)

    def may_have_sibling(self, original: Installed) -> bool:
        """Whether `make_sibling` would find out something."""
        return self.recast and self._siblings.is_open(original)

    def to_run(self, original: Installed, scene: Scene, threads: Sequence[int]) -> Installed:
        """The file of the two that is faster: as it was measured, else as it was when they were compared."""
        sibling = self.sibling(original)
        if sibling is None:
            return original
        ms = [self.recall(one.sha256, scene, threads) for one in (original, sibling)]
        if ms[0] is not None and ms[1] is not None:
            return sibling if ms[1].p50_ms < ms[0].p50_ms else original
        known = self._siblings.known(original)
        return sibling if known is not None and known.recast_ms < known.original_ms else original

    def measure_both(
        self,
        original: Installed,
        scene: Scene,
        threads: Sequence[int],
        seconds: float,
        *,
        again: bool = False,
        limit_ms: float = float("inf"),
    ) -> Measured:
        """As `measure`, of the model and of its sibling: the faster one's."""
        measured = self.measure(original, scene, threads, seconds, again=again, limit_ms=limit_ms)
        sibling = self.make_sibling(original)
        if sibling is None:
            return measured
        other = self.measure(sibling, scene, threads, seconds, again=again, limit_ms=limit_ms)
        return min(measured, other, key=lambda one: one.p50_ms)

    def recall_both(self, original: Installed, scene: Scene, threads: Sequence[int]) -> Measured | None:
        """What is remembered of the file that would run."""
        return self.recall(self.to_run(original, scene, threads).sha256, scene, threads)

    def is_measured(self, original: Installed, scene: Scene, threads: Sequence[int]) -> bool:
        """Whether `measure_both` would find out nothing new."""
        sibling = self.sibling(original)
        both = (original, *([sibling] if sibling is not None else []))
        return not self.may_have_sibling(original) and all(self.recall(one.sha256, scene, threads) for one in both)

    def remember(self, key: str, entry: Verdict | Measured | str) -> None:
        """On a full or read-only disk the answer still holds; it is only asked for again."""
        try:
            self.ledger.enter(key, entry)
        except WriteError as error:
            log.warning("%s", error)

    def recall_verdict(self, installed: Installed) -> Verdict | None:
        """What was found before, if it was tried."""
        return self.ledger.verdict(self._key(installed))

    def recall(self, installed_sha256: str, scene: Scene, threads: Sequence[int]) -> Measured | None:
        """What was measured before, if it was."""
        return self.ledger.measured(self.measurement_key_of(installed_sha256, scene, threads))

    def measurement_key_of(self, sha256: str, scene: Scene, threads: Sequence[int]) -> str:
        return f"{sha256} | {self.runtime} | {self.board.key} | threads {','.join(map(str, threads))} | {scene.key}"

    def _key(self, installed: Installed) -> str:
        """The labels are not in it: their number is part of the card, and find() has held it against the labels."""
        return f"{installed.sha256} | {self.runtime} | {self.board.key} | {len(installed.labels)} labels {installed.card.output}"


def doubted(measure: Callable[[], Measured], limit_ms: float) -> Measured:
    """What was measured, and where its p95 is only just within the limit, the slower of two measurements."""
    first = measure()
    if limit_ms * JUST <= first.p95_ms <= limit_ms < float("inf"):
        return max(first, measure(), key=lambda one: one.p95_ms)
    return first


class _ProbeProcess:
    """One model in one throw-away process. A context: the process ends with it."""

    def __init__(self, installed: Installed) -> None:
        self._installed = installed
        self._child: ThrowAway | None = None
        self.was_tried = True  # and the verdict is one of the bytes that were meant

    def __enter__(self) -> "_ProbeProcess":
        return self

    def __exit__(self, *_: object) -> None:
        if self._child is not None:
            self._child.close()

    def check(self) -> Verdict:
        """Never raises for what the model does."""
        one = self._installed
        wanted = {
            "path": str(one.path.absolute()),
            "sha256": one.sha256,
            "labels": len(one.labels),
            "output": one.card.output,
            "expected": one.card.expected if one.sha256 == one.card.sha256 else [],
        }
        try:
            self._child = ThrowAway(_CHILD, {"MALLOC_ARENA_MAX": "2", "OPENCV_LOG_LEVEL": "SILENT"}, one.path)
            kind, answer = self._child.ask("check", wanted, CHECK_LIMIT_S)
        except SandboxError as lost:
            return self._lost(lost)
        if kind == "checked":
            return Verdict(admitted=True, facts=answer["facts"] | {"best": answer["best"]})
        self.was_tried = kind != "unreadable"
        return Verdict(admitted=False, reason=str(answer["reason"]) if kind in ("refused", "unreadable") else _NONSENSE)

    def measure(self, scene: Scene, threads: Sequence[int], seconds: float, nice: int) -> Measured:
        """After a check that admitted. Raises ModelError."""
        assert self._child is not None
        wanted: dict[str, Any] = asdict(scene) | {"threads": list(threads), "seconds": seconds, "nice": nice}
        try:
            kind, answer = self._child.ask("measure", wanted, CHECK_LIMIT_S + 10 * seconds)
        except SandboxError as lost:
            raise ModelError(f"model {self._installed.card.name} is refused: {self._lost(lost).reason}") from None
        if kind == "measured":
            return Measured.model_validate(answer)
        reason = answer["reason"] if kind == "refused" else _NONSENSE
        raise ModelError(f"model {self._installed.card.name} is refused: {reason}")

    def _lost(self, lost: SandboxError) -> Verdict:
        self.was_tried = not lost.says_nothing
        return Verdict(admitted=False, reason=f"the trial of it {lost}")
