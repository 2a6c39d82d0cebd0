"""The talk with the vision process, with the real parts on our side: who hears what is said, and what a new one is told."""

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from edged.config.parts import to_rules
from edged.daemon.delivery import open_dispatch
from edged.daemon.link import Link
from edged.daemon.pictures.snapshots import Snapshots
from edged.delivery.publisher import Courier
from edged.process.protocol import FROM_VISION
from edged.process.supervisor import Gone, Supervision
from edged.rollout.apply import Apply
from edged.rollout.effects import Effects
from edged.rollout.last_good import LastGood
from edged.rollout.recovery import Probation
from edged.rollout.startup import begin, find_config
from edged.system.clock import Clock
from edged.system.tasks import Tasks
from tests.unit.daemon.played import FRAMES, TIMING, PlayedVision, Stage, until

JPEG = b"\xff\xd8\xff", b"\xff\xd9"


class Talk:
    """A link with all that it speaks for; no root, no broker, no timer."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        clock = Clock()
        start = begin(find_config(stage.path), clock, 0)
        settings, installed = start.intent.settings(), start.active.installed
        self.dispatch = open_dispatch(
            device="test", state_folder=stage.state, mqtt=settings.mqtt, outbox=settings.outbox, clock=clock
        )
        self.publisher = Courier(self.dispatch, clock, to_rules(settings, installed.card, installed.labels), result_fps=0)
        self.supervision = Supervision(stage.fork)
        snapshots = Snapshots(self.supervision, self.publisher, self.dispatch)
        effects = Effects(self.supervision, self.publisher, self.dispatch, snapshots.ask)
        self.apply = Apply(start, LastGood(stage.state), effects, Tasks())
        self.link = Link(self.supervision, self.publisher, snapshots, self.apply)

    @property
    def vision(self) -> PlayedVision:
        return self.stage.vision

    def say(self, kind: str, attachment: bytes = b"", **fields: Any) -> None:
        self.link.on_message(kind, fields, attachment)

    def sent(self) -> int:
        """Pictures that went out, if a broker were there."""
        return self.dispatch.results_dropped.get("offline", 0)

    def retained(self, topic: str) -> Any:
        return self.dispatch._retained._values[topic][0]


def talk(stage: Stage, play: Callable[[Talk], Coroutine[Any, Any, None]]) -> None:
    async def go() -> None:
        one = Talk(stage)
        one.publisher.begin()
        one.supervision.start()
        try:
            await until(lambda: one.apply.active.facts, "the model is loaded")
            await play(one)
        finally:
            await one.supervision.stop(1.0)

    asyncio.run(go())


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


def test_every_word_that_vision_may_say_has_its_handler(stage: Stage) -> None:
    async def play(one: Talk) -> None:
        assert one.link._handlers.keys() | {"snapshot"} == set(FROM_VISION)

    talk(stage, play)


@pytest.mark.parametrize("paused", [False, True])
def test_a_new_process_is_told_everything_once(stage: Stage, paused: bool) -> None:
    async def play(one: Talk) -> None:
        if paused:
            one.link.act("pause")
        one.vision.end(-9)
        await until(lambda: len(stage.visions) == 2 and one.vision.told("load"), "the next one")
        kinds = [kind for kind, _ in one.vision.heard]
        assert kinds.count("configure") == kinds.count("load") == 1 and kinds.index("configure") < kinds.index("load")
        (configure,) = one.vision.told("configure")
        assert configure["paused"] is paused and configure["failed_runs"] == 1 and not one.vision.told("pause")

    talk(stage, play)


def test_a_pause_reaches_vision_and_subscribers_once(stage: Stage) -> None:
    async def play(one: Talk) -> None:
        for action in ("pause", "pause", "resume", "resume", "nonsense"):
            one.link.act(action)
        await until(lambda: len(one.vision.told("pause")) == 2, "both words")
        assert [word["paused"] for word in one.vision.told("pause")] == [True, False] and not one.publisher.paused

    talk(stage, play)


def test_results_and_beats_are_accounted_for(stage: Stage) -> None:
    async def play(one: Talk) -> None:
        size = {"width": 640, "height": 480, "picture": ""}
        one.say("camera", state="ok", fault="", reason="")
        frames = FRAMES | {"captured": 2, "inferred": 1, "gated": 1}
        one.say("result", index=1, captured_ns=1, scores=[(0, 0.9)], timing_ms=TIMING, frames=frames, **size)
        assert list(one.publisher.latency_ms) == [3.0] and one.publisher.frames().gated == 1
        one.say("gated", captured_ns=2, frames=frames | {"captured": 3, "gated": 2})
        one.say("beat", frames=frames | {"captured": 4, "gated": 3}, memory_mb=77.5)
        assert one.link.vision_memory_mb == 77.5 and one.publisher.frames().captured == 4
        assert one.retained("camera").state == "ok"

    talk(stage, play)


def test_an_end_is_told_and_only_a_crash_counts(stage: Stage) -> None:
    async def play(one: Talk) -> None:
        recovery = one.apply.recovery
        assert isinstance(recovery.state, Probation)
        for gone, crashes in (
            (Gone("it ended", 1.0, crashed=False, asked=False), 0),
            (Gone("another camera", 0.0, crashed=False, asked=True), 0),
            (Gone("it died of SIGSEGV", 2.0, crashed=True, asked=False), 1),
        ):
            one.link.on_gone(gone)
            assert len(recovery._crashes) == crashes
        assert one.publisher.failed_runs == 2
        assert "it ended; it is started again in 1 s" in one.retained("camera").reason

    talk(stage, play)


def test_a_model_that_fails_takes_its_way(stage: Stage) -> None:
    async def play(one: Talk) -> None:
        one.say("load_failed", number=99, path="/x", reason="nobody asked for it")
        one.say("loaded", number=99, path="/x", sha256="", load_ms=1.0, facts={})
        assert one.apply.active.facts and not one.apply.faults
        one.say("model_failed", reason="the runtime failed")
        assert len(one.apply.recovery._crashes) == 1

    talk(stage, play)


def test_a_picture_is_handed_on_whole_where_it_was_asked_for(stage: Stage) -> None:
    stage.write(stage.config | {"snapshot": {"on_control": True}})

    async def play(one: Talk) -> None:
        one.link.act("snapshot")
        await until(lambda: one.vision.told("snapshot"), "it is asked for")
        one.say("snapshot", JPEG[0], last=False)
        one.say("snapshot", JPEG[1], last=True)
        assert one.sent() == 1 and not one.supervision.is_distrusted
        one.link.act("snapshot")
        one.link.act("pause")
        one.say("snapshot", JPEG[0], last=True)
        assert one.sent() == 1, "nothing leaves while paused"
        one.say("snapshot", JPEG[0], last=True)
        assert one.supervision.is_distrusted, "nobody asked for this one"

    talk(stage, play)


def test_no_picture_is_asked_for_where_the_config_allows_none(stage: Stage) -> None:
    async def play(one: Talk) -> None:
        one.link.act("snapshot")
        one.link.act("pause")
        await until(lambda: one.vision.told("pause"), "what was said later")
        assert not one.vision.told("snapshot")

    talk(stage, play)
