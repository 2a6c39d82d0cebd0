"""The vision process: a capture thread, a thread for the courier's commands, and this, the loop that classifies.

Native code lives here and may hang or die here; the courier watches the beats, kills, and starts again.
"""

import os
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2

from edged.errors import ModelError
from edged.process.phases import START, load_began_ns
from edged.process.pipe import NotOursError, Pipe
from edged.system.figures import peak_memory_mb
from edged.system.shapes import WHOLE
from edged.system.text import to_sentence
from edged.vision.cameras.kinds import open_camera
from edged.vision.capture import Capture
from edged.vision.classifier import TOP, Classifier, OutputKind, load_classifier, to_reason
from edged.vision.frame import Frame, to_timing_ms
from edged.vision.gate import Gate
from edged.vision.preprocess import to_tensor
from edged.vision.slot import Slot
from edged.vision.snapshot import View, to_jpeg_of, to_packets, try_region

_BEAT_S = 1.0
_NEEDS_NEW_PROCESS = frozenset({"picamera2"})  # libcamera does not always survive a fault; elsewhere opening it again does
_OPENED_WITH_REGION = frozenset({"picamera2"})  # the others crop each frame
_MANY_RUNS = 3
_SHOWN = 10  # frames of a model on trial that the gate must let through
_RESEAT = "; it failed several times: switch the Pi off, push the camera's cable home at both ends, and switch it on again"


@dataclass(frozen=True, slots=True)
class _ReadyModel:
    """A model that is ready, and the word about it that the courier gets whenever it begins to be used."""

    classifier: Classifier
    word: dict[str, Any]


class Vision:
    """Started once by `python -m edged.vision`; `run` returns when the courier says stop or goes away."""

    def __init__(self, pipe: Pipe) -> None:
        self._pipe = pipe
        self._sending = threading.Lock()
        self._switching = threading.Lock()
        self._stopping = threading.Event()
        self._loaded: _ReadyModel | None = None  # the model that is used
        self._before: _ReadyModel | None = None  # the one to go back to, while the model that is used is on trial
        self._ungated = 0  # frames that a model on trial is still to be shown
        self._watched: list[int] = []
        self._slot = Slot(max_age_ms=500)
        self._capture: Capture | None = None
        self._region, self._crop = WHOLE, "full"
        self._camera: dict[str, Any] = {}  # what it is opened with
        self._no_frame_s = 5.0
        self._gate: Gate | None = None
        self._newest: Frame | None = None  # the last that was looked at; what a snapshot shows
        self._advice = ""
        self._allowed = frozenset[str]()  # for what a picture may leave this process
        self._beaten_ns = 0
        self._is_started = False
        self._every_ns = self._due_ns = 0.0  # the pace when the board must rest; 0: every frame

    def run(self) -> None:
        cv2.setNumThreads(1)  # these pictures are small: to wake threads for them costs more than it saves
        threading.Thread(target=self._obey, name="commands", daemon=True).start()
        self._send("ready", {"pid": os.getpid()})
        while not self._stopping.is_set():
            if self._loaded is None:
                self._stopping.wait(0.05)
            elif (frame := self._slot.take(timeout_s=0.2)) is not None:
                with self._switching:
                    self._look(self._loaded.classifier, frame)
            if not self._stopping.is_set():
                self._beat()
        self._send("beat", {"frames": self._slot.counts(), "memory_mb": peak_memory_mb()})  # the last account

    def _look(self, classifier: Classifier, frame: Frame) -> None:
        taken = time.monotonic_ns()
        if taken < self._due_ns:
            self._slot.gated()
            return
        # from the last due time and not from now, so that the camera's beat does not make it slower still
        self._due_ns = max(self._due_ns, taken - self._every_ns) + self._every_ns
        region = WHOLE if frame.cropped else self._region
        if not self._slot.is_of_now(frame):  # it was taken before somebody paused
            self._slot.gated()
            return
        self._newest = frame
        self._ungated = max(0, self._ungated - 1)
        if self._gate is not None and self._gate.is_still(frame, region) and not self._ungated:
            self._slot.gated()
            self._send("gated", {"captured_ns": frame.captured_ns, "frames": self._slot.counts()})
            return
        tensor = to_tensor(frame, classifier.facts.input, region, self._crop)  # type: ignore[arg-type]
        prepared = time.monotonic_ns()
        try:
            raw = classifier.run(tensor)
        except ModelError as e:
            self._slot.busy()
            self._send("model_failed", {"reason": to_sentence(str(e))})
            self._stopping.set()
            return
        invoked = time.monotonic_ns()
        best = classifier.best(raw, TOP, self._watched)
        self._slot.inferred()
        done = time.monotonic_ns()
        told = frame.to_dict() | {"scores": best, "timing_ms": to_timing_ms(frame.captured_ns, taken, prepared, invoked, done)}
        self._send("result", told | {"frames": self._slot.counts()})
        if not self._is_started:
            self._is_started = True
            START.ended("first result")
            self._send("started", {"began_ns": load_began_ns(), "marks": START.marks})

    def _beat(self) -> None:
        """Proof that this loop runs; also the place where a hanging camera is noticed, for its own thread cannot."""
        if self._capture is not None and self._capture.overdue_s():
            self._report("lost", "hang", "the camera gave no frame in time; the vision process is started again")
            self._stopping.set()
        now = time.monotonic_ns()
        if now - self._beaten_ns < _BEAT_S * 1e9:
            return
        self._beaten_ns = now
        self._send("beat", {"frames": self._slot.counts(), "memory_mb": peak_memory_mb()})

    def _obey(self) -> None:
        handlers: dict[str, Callable[..., None]] = {
            "configure": self._on_configure,
            "tune": self._on_tune,
            "load": self._on_load,
            "settle": self._on_settle,
            "watch": self._on_watch,
            "pace": self._on_pace,
            "pause": self._on_pause,
            "snapshot": self._on_snapshot,
            "try": self._on_try,
            "stop": self._stopping.set,
        }
        try:
            while (message := self._pipe.receive()) is not None:
                kind, fields, _ = message
                handlers[kind](**fields)
                START.ended(kind)
        except (OSError, NotOursError):  # whoever speaks is not the courier any more
            pass
        self._stopping.set()

    def _on_configure(
        self,
        camera: dict[str, Any],
        region: list[float],
        crop: str,
        max_age_ms: float,
        watched: list[int] | None = None,
        no_frame_s: float = 5.0,
        frozen_s: float = 0.0,
        gate: dict[str, float] | None = None,
        failed_runs: int = 0,
        pictures: list[str] | None = None,
        paused: bool = False,
    ) -> None:
        """Once, before anything else. gate None = off; failed_runs: how often this process died without giving a frame.

        pictures: for what one may leave this process, "on_control", "on_event", "local"; for nothing else, whoever asks.
        """
        self._allowed = frozenset(pictures or ())
        self._slot.pause(paused)
        self._region, self._crop = (region[0], region[1], region[2], region[3]), crop
        self._slot.max_age_ms = max_age_ms
        self._watched = watched or []
        self._gate = Gate(**gate) if gate else None
        self._camera, self._no_frame_s = camera, no_frame_s
        must_end = camera["kind"] in _NEEDS_NEW_PROCESS
        self._advice = _RESEAT if must_end and failed_runs >= _MANY_RUNS else ""
        self._capture = Capture(
            lambda: open_camera(region=self._region, **self._camera),
            self._slot,
            self._report,
            frozen_s=0 if camera["kind"] == "pictures" else frozen_s,
            silent_s=max(no_frame_s, 2 / camera["fps"]),
            on_fault=self._stopping.set if must_end else None,
        )
        self._report("starting", "", "")
        self._capture.start()

    def _on_tune(
        self, fps: float, region: list[float], max_age_ms: float, gate: dict[str, float] | None, pictures: list[str]
    ) -> None:
        """Other values for what is there already. The camera is opened again only where it was opened with one of them."""
        part = (region[0], region[1], region[2], region[3])
        is_other = fps != self._camera.get("fps") or (part != self._region and self._camera.get("kind") in _OPENED_WITH_REGION)
        self._allowed = frozenset(pictures)
        with self._switching:  # between two frames
            self._region, self._slot.max_age_ms = part, max_age_ms
            self._camera = self._camera | {"fps": fps}
            self._gate = Gate(**gate) if gate else None
        if is_other and self._capture is not None:
            self._capture.open_again(silent_s=max(self._no_frame_s, 2 / fps))

    def _on_load(
        self, path: str, sha256: str, labels: int, output: OutputKind | None, threads: int, number: int = 0, trial: bool = False
    ) -> None:
        """Build the new interpreter beside the old one, warm it, and let the loop find it between two frames.

        number: of the answer; trial: the old one is kept until `settle` says which of the two is used.
        """
        began = time.monotonic_ns()
        try:
            classifier, found = load_classifier(Path(path), sha256, labels, threads=threads, output=output)
        except ModelError as e:
            reason = to_sentence(to_reason(Path(path), e))
            self._send("load_failed", {"number": number, "path": path, "reason": reason})
            return
        load_ms = round((time.monotonic_ns() - began) / 1e6, 1)
        word = {"number": number, "path": path, "sha256": found, "load_ms": load_ms, "facts": asdict(classifier.facts)}
        self._before = (self._before or self._loaded) if trial else None
        self._ungated = _SHOWN if trial else 0
        self._use(_ReadyModel(classifier, word))

    def _on_settle(self, keep: bool) -> None:
        """The end of a trial: the new model is kept, or the old one is used again."""
        before, self._before, self._ungated = self._before, None, 0
        if not keep and before is not None:
            self._use(before)

    def _use(self, loaded: _ReadyModel) -> None:
        with self._switching:  # so that no result of the old one follows the word that the new one is loaded
            self._loaded = loaded
            if self._gate is not None:
                self._gate.forget()
            self._send("loaded", loaded.word)

    def _on_watch(self, indices: list[int]) -> None:
        self._watched = indices

    def _on_pace(self, fps: float) -> None:
        """Classify at most so many frames a second; 0: all. The others count as gated."""
        self._every_ns = 1e9 / fps if fps else 0.0
        self._due_ns = 0.0

    def _on_pause(self, paused: bool) -> None:
        self._slot.pause(paused)
        self._newest = None
        if not paused and self._capture is not None:
            self._capture.tell_again()
        with self._switching:  # not while a frame is compared
            if self._gate is not None:
                self._gate.forget()

    def _on_snapshot(
        self, why: str, max_px: int, quality: int, max_kb: int, event_ns: int = 0, number: int = 0, view: View = "region"
    ) -> None:
        """The frame that was looked at last; nothing while there is none. event_ns, number: handed back.

        Pause and snapshot come through one thread: no picture leaves after a pause was heard of.
        """
        frame = self._newest
        if frame is None or self._slot.paused or why not in self._allowed:  # whoever paused does not want to be seen
            return
        model = self._loaded.classifier if self._loaded else None
        jpeg, shows = to_jpeg_of(view, frame, self._region, self._crop, model, max_px=max_px, quality=quality, max_kb=max_kb)
        about = {"index": frame.index, "captured_ns": frame.captured_ns, "event_ns": event_ns, "number": number, "shows": shows}
        for part, is_last in to_packets(jpeg):
            self._send("snapshot", about | {"last": is_last}, part)

    def _on_try(self, number: int, region: list[float]) -> None:
        """What the newest frame would score in another region. It is no result, and in no account."""
        with self._switching:  # between two frames: the interpreter is one
            frame, model = None if self._slot.paused else self._newest, self._loaded.classifier if self._loaded else None
            raw, reason = try_region(frame, model, region, self._region, self._crop)
            best = [] if raw is None or model is None else model.best(raw, TOP, self._watched)
        self._send("tried", {"number": number, "scores": best, "reason": to_sentence(reason)})

    def _report(self, state: str, fault: str, reason: str) -> None:
        if state in ("lost", "frozen"):
            self._newest = None  # no snapshot of what is long gone
            reason += self._advice
        self._send("camera", {"state": state, "fault": fault, "reason": to_sentence(reason)})

    def _send(self, kind: str, fields: dict[str, Any], attachment: bytes = b"") -> None:
        try:
            with self._sending:
                self._pipe.send(kind, fields, attachment)
        except OSError:  # the courier is gone, and this process has nobody to work for
            self._stopping.set()
