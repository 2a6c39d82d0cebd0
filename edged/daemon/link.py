"""The talk with the vision process: what it says goes to those whom it concerns, and a new one is told what it must know."""

import logging
from collections.abc import Callable
from typing import Any

from edged.config.parts import to_camera, to_jpeg_limits
from edged.delivery.dispatch import Dispatch
from edged.delivery.publisher import Courier
from edged.process.jpeg import JpegParts
from edged.process.supervisor import Gone, Supervision
from edged.rollout.apply import Apply

log = logging.getLogger("edged")


class Link:
    """Thread: the event loop's. `vision_memory_mb`: the peak that the vision process last told."""

    def __init__(self, vision: Supervision, publisher: Courier, dispatch: Dispatch, apply: Apply) -> None:
        self._vision, self._publisher, self._dispatch, self._apply = vision, publisher, dispatch, apply
        self._jpeg = JpegParts()
        self.vision_memory_mb = 0.0
        # kind: handler of its fields; what may be said at all, process/protocol.py has checked
        self._handlers: dict[str, Callable[..., None]] = {
            "ready": self._ready,
            "camera": publisher.camera,
            "result": self._result,
            "gated": publisher.gated,
            "beat": self._beat,
            "loaded": self._loaded,
            "load_failed": self._load_failed,
            "model_failed": apply.on_model_failed,
        }
        vision.listen(self.on_message, self.on_gone)

    def on_message(self, kind: str, fields: dict[str, Any], attachment: bytes) -> None:
        if kind == "snapshot":
            self._take_part(attachment, **fields)
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
            self.ask_snapshot(to_jpeg_limits(self._apply.settings), "on_control")

    def ask_snapshot(self, limits: dict[str, Any], why: str, event_ns: int = 0) -> None:
        """why: `on_control` or `on_event`; the vision process knows which of them the config allows. event_ns: when it happened."""
        if self._vision.send("snapshot", limits | {"why": why, "event_ns": event_ns}):
            self._jpeg.ask(limits["max_kb"])

    def _ready(self, pid: int) -> None:
        """A new vision process knows nothing; it is told everything, also after each restart."""
        active = self._apply.active
        self._publisher.use_model(active.name, active.installed.labels)
        more = {"watched": self._publisher.watched(), "failed_runs": self._publisher.failed_runs}
        more["paused"] = self._publisher.paused
        self._vision.send("configure", to_camera(self._apply.settings) | more)
        self._jpeg.forget()
        if self._publisher.paused:
            self._vision.send("pause", {"paused": True})
        self._apply.on_ready()

    # what it says

    def _result(self, **fields: Any) -> None:
        self._publisher.result(**fields)
        self._apply.on_result(self._publisher.latency_ms[-1])

    def _beat(self, frames: dict[str, int], memory_mb: float) -> None:
        self._publisher.frames(frames)
        self.vision_memory_mb = memory_mb

    def _loaded(self, number: int, path: str, sha256: str, load_ms: float, facts: dict[str, Any]) -> None:
        self._apply.on_loaded(number, facts)

    def _load_failed(self, number: int, path: str, reason: str) -> None:
        self._apply.on_load_failed(number, reason)

    def _take_part(self, part: bytes, last: bool, index: int = 0, captured_ns: int = 0, event_ns: int = 0) -> None:
        try:
            whole = self._jpeg.add(part, last=last)
        except ValueError as error:
            self._vision.distrust(f"it sent {error}")
            return
        if whole is not None and not self._publisher.paused:
            self._dispatch.picture("snapshot", whole, captured_ns=captured_ns, frame=index, event_ns=event_ns)
