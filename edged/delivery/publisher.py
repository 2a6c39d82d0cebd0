"""What the vision process says → what subscribers are told: decision, messages, and an account of every frame."""

import logging
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from typing import Any

from edged.decision import Decided, Decision, LabelChange, Rules, to_watched
from edged.delivery.dispatch import Dispatch
from edged.delivery.messages import CameraState, Event, Frames, Result, Score, Seen, State, Timing, to_rfc3339
from edged.system.clock import Clock
from edged.system.figures import Histogram

log = logging.getLogger("edged")

VALID_S = 15.0  # how long a state may be believed when nothing more is heard
_BAD = ("lost", "frozen")
_RENEW_S = 5.0
_RECENT = 240  # inferences that the latency figures look back on


class Courier:
    """Thread: the event loop's. Every method is called with what came over the pipe, and returns at once."""

    def __init__(
        self,
        dispatch: Dispatch,
        clock: Clock,
        rules: Rules,
        *,
        result_fps: float,
        top_k: int = 5,
        now_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._dispatch, self._clock, self._now_ns = dispatch, clock, now_ns
        self._decision = Decision(rules)
        self.tell_results(result_fps)
        self._top_k = top_k
        self._labels: Sequence[str] = ()
        self._model = ""
        self._camera = ("", "", "")
        self._camera_since_ns = now_ns()
        self.on_event: Callable[[int], None] | None = None  # called at each change of the label, with its time
        self.on_camera: Callable[[], None] | None = None  # called at each change of the camera's state or its reason
        self.paused = False
        self._paused_ns = 0  # of what was exposed before this nothing is told any more
        self.failed_runs = 0  # of the vision process, since the camera gave its last frame
        self._named: dict[str, float] | None = None  # the last scores, which an unchanged scene repeats
        self.looks = 0  # decisions that were made
        self._stated: tuple[Any, ...] = ()
        self._stated_ns = self._resulted_ns = self._resulted_on = self._looked_ns = 0
        self._before: Counter[str] = Counter()  # frames of vision processes that are gone
        self._frames: Counter[str] = Counter()
        self.latency_ms: deque[float] = deque(maxlen=_RECENT)
        self.latencies = Histogram()  # of all since the start, in s
        self.inferred_ns: deque[int] = deque(maxlen=_RECENT)

    @property
    def camera_reason(self) -> str:
        return self._camera[2]

    @property
    def camera_state(self) -> str:
        return self._camera[0]

    def current(self) -> dict[str, Any]:
        """The label now and its score, since when (UTC), and the age of the last result in s; None where there was none yet."""
        decided, since_ns, now_ns = self._decision.current(), self._decision.since_ns, self._now_ns()
        return {
            "label": decided.label,
            "score": decided.score,
            "label_since": to_rfc3339(self._clock.to_wall(since_ns)) if since_ns else None,
            "label_s": round((now_ns - since_ns) / 1e9, 1) if since_ns else None,
            "result_age_s": round((now_ns - self._looked_ns) / 1e9, 2) if self._looked_ns else None,
        }

    @property
    def scores(self) -> dict[str, float]:
        """The last ones, by label; empty while nothing is seen."""
        return self._named or {}

    @property
    def rules(self) -> Rules:
        return self._decision.rules

    def decided(self) -> Decided:
        """What is said now."""
        return self._decision.current()

    def looked_within(self, seconds: float) -> bool:
        """Whether a frame was classified, or found unchanged, in the last seconds."""
        return self._looked_ns > 0 and self._now_ns() - self._looked_ns < seconds * 1e9

    def use_model(self, name: str, labels: Sequence[str]) -> None:
        """From the next result on, indices mean these labels."""
        self._model, self._labels, self._named = name, labels, None

    def follow(self, rules: Rules) -> None:
        """Other thresholds and groups, from the next result on."""
        if rules != self._decision.rules:
            self._decision.follow(rules)

    def thresholds(self) -> dict[str, float]:
        """What holds now: scores 0..1."""
        rules = self._decision.rules
        return {"enter": rules.enter, "leave": rules.leave, "margin": rules.margin}

    def tell_results(self, fps: float) -> None:
        """At most so many live results a second; 0: none."""
        self._result_every_ns = 1e9 / fps if fps else None

    def watched(self) -> list[int]:
        """The indices whose scores are needed however low they are: members of groups, and of nothing else."""
        return to_watched(self._decision.rules.groups, self._labels)

    def begin(self) -> None:
        """What an earlier run left on the broker is not known to be true any more."""
        now_ns = self._now_ns()
        self._tell(self._decision.forget(now_ns, "start"), now_ns)

    def camera(self, state: str, fault: str = "", reason: str = "") -> None:
        """Tell when something changed, once, and not for each attempt."""
        if state == "ok":
            self.failed_runs = 0
        if (state, fault, reason) == self._camera or (self.paused and state != "paused"):
            return
        if state == "starting" and self._camera[0] in _BAD:
            return  # another attempt at a camera that is lost is no news; its first frame will be
        if state != self._camera[0]:
            self._camera_since_ns = self._now_ns()
        self._camera = (state, fault, reason)
        if self.on_camera is not None:
            self.on_camera()
        log.log(logging.WARNING if fault else logging.INFO, "camera %s%s", state, f": {reason}" if reason else "")
        since = to_rfc3339(self._clock.to_wall(self._camera_since_ns))
        self._dispatch.retain("camera", CameraState(state=state, since=since, reason=reason, fault=fault))
        if state in _BAD:
            self._named = None
            self._tell(self._decision.forget(self._now_ns(), f"camera {state}: {fault}"), self._now_ns())

    def end(self) -> None:
        """edged is stopped: what was seen is not known any more, and nobody will say so later."""
        self._tell(self._decision.forget(self._now_ns(), "stop"), self._now_ns())

    def renew(self) -> None:
        """Must be called about once a second: says again what is still true, when it was last said 5 s ago.

        With a working camera that also happens with each frame; while paused, or with a slow camera, nothing else comes.
        """
        if self._stated and self._camera[0] in ("ok", "paused") and self._now_ns() - self._stated_ns >= _RENEW_S * 1e9:
            self._tell(self._decision.current(), self._now_ns())

    def may_tell(self, captured_ns: int) -> bool:
        """Whether something of this frame may be told: nobody has paused since it was exposed, and nobody pauses now."""
        return not self.paused and captured_ns >= self._paused_ns

    def pause(self, paused: bool) -> None:
        self.paused, self._paused_ns = paused, self._now_ns()
        self._named = None
        if paused:
            self._tell(self._decision.forget(self._now_ns(), "paused"), self._now_ns())
        self.camera("paused" if paused else "starting")

    def vision_gone(self, why: str, again_s: float, *, asked: bool) -> None:
        """The counters of the next process begin at 0; those of this one are kept. Its unfinished frame is nobody's."""
        self._before.update(self._frames)
        self._frames.clear()
        if asked:
            return  # what was seen is still believed; the next one is soon there
        self.failed_runs += 1
        if self._camera[0] not in _BAD:
            self.camera("lost", "process", f"the vision process was lost: {why}; it is started again in {again_s:g} s")

    def result(
        self,
        index: int,
        captured_ns: int,
        width: int,
        height: int,
        picture: str,
        scores: list[tuple[int, float]],
        timing_ms: dict[str, float],
        frames: dict[str, int],
    ) -> None:
        scores = [(i, score) for i, score in scores if i < len(self._labels)]
        self._frames = Counter(frames)
        self.latency_ms.append(timing_ms["preprocess"] + timing_ms["invoke"] + timing_ms["postprocess"])
        self.latencies.add(self.latency_ms[-1] / 1000)
        self._looked_ns = self._now_ns()
        self.inferred_ns.append(self._looked_ns)
        if not self.may_tell(captured_ns):
            return
        self._named = self.to_named(scores)
        self.looks += 1
        self._tell(self._decision.decide(captured_ns, self._named), captured_ns)
        now_ns, connects = self._now_ns(), self._dispatch.broker_connects
        is_due = now_ns - self._resulted_ns >= (self._result_every_ns or 0) * 0.95 or connects != self._resulted_on
        if self._result_every_ns is None or not is_due:
            return
        self._resulted_ns, self._resulted_on = now_ns, connects  # a new connection begins with one at once
        age_ms = round((now_ns - captured_ns) / 1e6, 1)
        self._dispatch.live(
            "result",
            Result(
                frame=Seen(index=index, age_ms=age_ms, width=width, height=height, picture=picture),
                model=self._model,
                top=[Score(label=self._labels[i], index=i, score=score) for i, score in scores[: self._top_k]],
                timing_ms=Timing(**timing_ms),
            ),
        )

    def to_named(self, scores: list[tuple[int, float]]) -> dict[str, float]:
        """By label; what is none of the model's is left out."""
        return {self._labels[i]: score for i, score in scores if i < len(self._labels)}

    def gated(self, captured_ns: int, frames: dict[str, int]) -> None:
        """The scene has not changed, so what was seen last is seen again."""
        self._frames = Counter(frames)
        self._looked_ns = self._now_ns()
        if self._named is not None and self.may_tell(captured_ns):
            self.looks += 1
            self._tell(self._decision.decide(captured_ns, self._named), captured_ns)

    def frames(self, frames: dict[str, int] | None = None) -> Frames:
        """All frames since the courier started, over all vision processes."""
        if frames is not None:
            self._frames = Counter(frames)
        return Frames(**(self._before + self._frames))

    def _tell(self, decided: Decided, at_ns: int) -> None:
        for change in decided.changes:
            log.info("%s %s (%s)", change.event_type, change.label, change.reason)
            self._dispatch.event(self._to_event(change), change.at_ns)
        if decided.changes or not self._stated:
            self._dispatch.retain("label", decided.label)
        if decided.changes and self.on_event is not None:
            self.on_event(decided.changes[-1].at_ns)
        stated = (decided.label, decided.groups, self.paused)
        if stated == self._stated and at_ns - self._stated_ns < _RENEW_S * 1e9:
            return
        self._stated, self._stated_ns = stated, at_ns
        valid_until = to_rfc3339(self._clock.to_wall(at_ns) + VALID_S)
        self._dispatch.retain(
            "state",
            State(label=decided.label, score=decided.score, groups=decided.groups, paused=self.paused, valid_until=valid_until),
        )

    def _to_event(self, change: LabelChange) -> Event:
        return Event(
            event_type=change.event_type,
            label=change.label,
            score=change.score,
            since=to_rfc3339(self._clock.to_wall(change.since_ns)),
            duration_s=round((change.at_ns - change.since_ns) / 1e9, 3),
            reason=change.reason,
            model=self._model,
        )
