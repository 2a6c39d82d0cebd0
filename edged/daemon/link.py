"""The talk with the vision process: what it says goes to those whom it concerns, and a new one is told what it must know."""

import logging
from collections.abc import Callable
from typing import Any

from edged.config.parts import to_configure, to_jpeg_limits
from edged.daemon.pictures.snapshots import Snapshots
from edged.delivery.publisher import Courier
from edged.process.phases import START, Mark, OnStarted
from edged.process.supervisor import Gone, Supervision
from edged.rollout.apply import Apply

log = logging.getLogger("edged")


class Link:
    """Thread: the event loop's. `vision_memory_mb`: the peak that the vision process last told."""

    def __init__(
        self, vision: Supervision, publisher: Courier, snapshots: Snapshots, apply: Apply, on_started: OnStarted = lambda *_: None
    ) -> None:
        """on_started: called with when a vision process began and the phases of its start, after its first result."""
        self._vision, self._publisher, self._snapshots, self._apply = vision, publisher, snapshots, apply
        self.vision_memory_mb = 0.0
        self._on_started = on_started
        self.on_tried: Callable[[int, dict[str, float], str], None] = lambda *_: None  # number, scores by label, or why none
        # kind: handler of its fields; what may be said at all, process/protocol.py has checked
        self._handlers: dict[str, Callable[..., None]] = {
            "ready": self._ready,
            "started": self._started,
            "camera": publisher.camera,
            "result": self._result,
            "gated": publisher.gated,
            "beat": self._beat,
            "loaded": self._loaded,
            "load_failed": self._load_failed,
            "model_failed": apply.on_model_failed,
            "tried": self._tried,
        }
        vision.listen(self.on_message, self.on_gone)

    def on_message(self, kind: str, fields: dict[str, Any], attachment: bytes) -> None:
        if kind == "snapshot":
            self._snapshots.take_part(attachment, **fields)
        else:
            self._handlers[kind](**fields)

    def on_gone(self, gone: Gone) -> None:
        self._publisher.vision_gone(gone.why, gone.again_s, asked=gone.asked)
        if gone.crashed:
            self._apply.on_crash(gone.why)

    # what it is told

    def act(self, action: str) -> None:
        """pause, resume or snapshot, as subscribers ask for."""
        if action in ("pause", "resume") and self._publisher.paused != (action == "pause"):
            self._vision.send("pause", {"paused": action == "pause"})
            self._publisher.pause(action == "pause")
        elif action == "snapshot" and self._apply.settings.snapshot.on_control:
            self._snapshots.ask(to_jpeg_limits(self._apply.settings), "on_control")

    def ask_view(self, number: int, view: str) -> bool:
        """A picture for somebody on this board. False where none may be had."""
        settings = self._apply.settings
        if not settings.snapshot.local or self._publisher.paused:
            return False
        return self._snapshots.ask_view(to_jpeg_limits(settings), number, view)

    def ask_try(self, number: int, region: list[float]) -> bool:
        """What would be scored in another region; `on_tried` gets it."""
        return not self._publisher.paused and self._vision.send("try", {"number": number, "region": region})

    def _ready(self, pid: int) -> None:
        """A new vision process knows nothing; it is told everything, also after each restart."""
        START.ended("vision ready")
        active = self._apply.active
        self._publisher.use_model(active.name, active.installed.labels)
        card, labels, publisher = active.installed.card, active.installed.labels, self._publisher
        more: dict[str, Any] = {"failed_runs": publisher.failed_runs, "paused": publisher.paused}
        self._vision.send("configure", to_configure(self._apply.settings, card, labels, **more))
        self._snapshots.forget()
        self._apply.on_ready()

    # what it says

    def _started(self, began_ns: int, marks: list[Mark]) -> None:
        START.ended("first result")  # which came right before this
        self._on_started(began_ns, marks)

    def _result(self, **fields: Any) -> None:
        self._publisher.result(**fields)
        self._apply.on_result(self._publisher.latency_ms[-1])

    def _beat(self, frames: dict[str, int], memory_mb: float) -> None:
        self._publisher.frames(frames)
        self.vision_memory_mb = memory_mb

    def _loaded(self, number: int, path: str, sha256: str, load_ms: float, facts: dict[str, Any]) -> None:
        START.ended("model loaded")
        self._apply.on_loaded(number, facts)

    def _load_failed(self, number: int, path: str, reason: str) -> None:
        self._apply.on_load_failed(number, reason)

    def _tried(self, number: int, scores: list[tuple[int, float]], reason: str) -> None:
        if not self._publisher.paused:
            self.on_tried(number, self._publisher.to_named(scores), reason)
