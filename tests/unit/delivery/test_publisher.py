"""What subscribers are told when nothing is seen: paused, with a slow camera, at a stop. A simulated clock, a real Dispatch."""

import asyncio
from datetime import datetime

import pytest

from edged.config.settings import MqttSection, OutboxSection
from edged.daemon.delivery import open_dispatch
from edged.decision import Rules
from edged.delivery.messages import State
from edged.delivery.publisher import VALID_S, Courier
from edged.system.clock import Clock

FRAMES = dict.fromkeys(("captured", "inferred", "stale", "busy", "gated", "paused"), 1)
TIMING = dict.fromkeys(("capture", "preprocess", "invoke", "postprocess"), 1.0)
SECOND_NS = 10**9


class Stage:
    """A publisher, the time, and what it last told; no broker is there."""

    def __init__(self, folder):
        self.now_ns = 1000 * SECOND_NS
        self.clock = Clock(wall_s=lambda: 1e9 + self.now_ns / 1e9, monotonic_ns=lambda: self.now_ns, synced=lambda: True)
        self._dispatch = open_dispatch(
            device="x", state_folder=folder, mqtt=MqttSection(), outbox=OutboxSection(), clock=self.clock
        )
        rules = Rules(k=1, n=1, hold_s=0.0)
        self.publisher = Courier(self._dispatch, self.clock, rules, result_fps=0, now_ns=lambda: self.now_ns)
        self.publisher.use_model("m", ("person", "cat"))
        self.publisher.begin()

    def see(self, label=0):
        self.publisher.camera("ok")
        self.publisher.result(1, self.now_ns, 640, 480, "", [(label, 0.9)], TIMING, FRAMES)

    def passes(self, seconds):
        """As the daemon's timer: once a second."""
        for _ in range(seconds):
            self.now_ns += SECOND_NS
            self.publisher.renew()

    def told(self, topic):
        return self._dispatch._retained._values[topic][0]

    @property
    def valid_s(self):
        """How long the last state is still to be believed."""
        state = self.told("state")
        assert isinstance(state, State)
        return datetime.fromisoformat(state.valid_until).timestamp() - self.clock.to_wall(self.now_ns)


@pytest.fixture
def stage(tmp_path):
    stages = []

    async def make():
        stages.append(Stage(tmp_path))

    asyncio.run(make())
    return stages[0]


@pytest.mark.parametrize("seconds", [1, 7, 60, 3600])
def test_a_state_is_renewed_while_paused(stage, seconds):
    stage.see()
    stage.publisher.pause(True)
    stage.passes(seconds)
    assert stage.told("state").paused and stage.told("state").label == "unknown"
    assert VALID_S - 6 <= stage.valid_s <= VALID_S


def test_a_slow_camera_keeps_its_state(stage):
    stage.see()
    stage.passes(60)
    assert stage.told("state").label == "person"
    assert stage.told("state").score == 0.9
    assert stage.valid_s >= VALID_S - 6


@pytest.mark.parametrize("state", ["lost", "frozen"])
def test_a_lost_camera_lets_it_run_out(stage, state):
    stage.see()
    stage.publisher.camera(state, "absent", "it is gone")
    stage.passes(20)
    assert stage.told("state").label == "unknown"
    assert stage.valid_s < 0


def test_at_a_stop_nothing_is_known_any_more(stage):
    stage.see()
    assert stage.told("label") == "person"
    stage.publisher.end()
    assert stage.told("label") == "unknown"
    assert stage.told("state").label == "unknown"


def test_a_picture_is_asked_for_with_the_time_of_its_event(stage):
    asked = []
    stage.publisher.on_event = asked.append
    stage.see()
    stage.now_ns += SECOND_NS
    stage.see(1)
    assert asked == [stage.now_ns - SECOND_NS, stage.now_ns]
