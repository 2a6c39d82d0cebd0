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


def test_what_was_exposed_before_a_pause_is_not_told_after_it(stage):
    before_ns = stage.now_ns
    stage.passes(1)
    stage.publisher.pause(True)
    stage.publisher.pause(False)
    stage.publisher.result(1, before_ns, 640, 480, "", [(0, 0.9)], TIMING, FRAMES)  # it was on its way
    stage.publisher.gated(before_ns, FRAMES)
    assert stage.told("label") != "person" and not stage.publisher.may_tell(before_ns)
    stage.see()
    assert stage.told("label") == "person"


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


def frames(**counts):
    return dict.fromkeys(FRAMES, 0) | counts


@pytest.mark.parametrize("asked", [True, False])
def test_the_account_of_frames_goes_on_over_all_vision_processes(stage, asked):
    stage.publisher.frames(frames(captured=10, inferred=7, stale=3))
    stage.publisher.vision_gone("it crashed", 1.0, asked=asked)
    stage.publisher.frames(frames(captured=5, gated=5))
    told = stage.publisher.frames()
    assert (told.captured, told.inferred, told.stale, told.gated) == (15, 7, 3, 5)
    assert told.captured == told.inferred + told.stale + told.busy + told.gated + told.paused


def test_a_process_that_was_asked_to_end_is_no_loss_of_the_camera(stage):
    stage.see()
    stage.publisher.vision_gone("another camera", 0.0, asked=True)
    assert stage.told("camera").state == "ok" and stage.told("label") == "person" and stage.publisher.failed_runs == 0
    stage.publisher.vision_gone("it crashed", 2.0, asked=False)
    assert (stage.told("camera").state, stage.told("camera").fault) == ("lost", "process")
    assert "it is started again in 2 s" in stage.told("camera").reason and stage.told("label") == "unknown"
    stage.publisher.vision_gone("it crashed", 4.0, asked=False)
    assert stage.publisher.failed_runs == 2 and "in 2 s" in stage.told("camera").reason, "told once"
    stage.publisher.camera("ok")
    assert stage.publisher.failed_runs == 0


def test_an_attempt_at_a_lost_camera_is_no_news(stage):
    stage.see()
    stage.publisher.camera("lost", "absent", "it is gone")
    since = stage.told("camera").since
    stage.now_ns += 5 * SECOND_NS
    stage.publisher.camera("starting")
    stage.publisher.camera("lost", "absent", "it is still gone")
    assert stage.told("camera").since == since and stage.told("camera").reason == "it is still gone"


def test_while_paused_the_camera_is_paused(stage):
    stage.see()
    stage.publisher.pause(True)
    stage.publisher.camera("ok")
    stage.publisher.camera("lost", "absent", "it is gone")
    assert stage.told("camera").state == "paused"
    stage.see(1)
    assert stage.told("label") == "unknown", "what is still on its way is not believed"
    stage.publisher.pause(False)
    assert stage.told("camera").state == "starting"
    stage.see(1)
    assert stage.told("label") == "cat"


def test_an_unchanged_scene_is_the_last_one_seen_again(stage):
    rules = Rules(k=2, n=2, hold_s=0.0)
    stage.publisher.follow(rules)
    stage.see()
    assert stage.told("label") == "unknown"
    stage.now_ns += SECOND_NS
    stage.publisher.gated(stage.now_ns, FRAMES)
    assert stage.told("label") == "person" and stage.publisher.looked_within(1.0)
    stage.publisher.use_model("other", ("cat", "person"))
    stage.now_ns += SECOND_NS
    stage.publisher.gated(stage.now_ns, FRAMES)
    assert stage.told("label") == "person", "indices of another model mean nothing"


def test_scores_beyond_the_labels_are_not_read(stage):
    stage.publisher.camera("ok")
    stage.publisher.result(1, stage.now_ns, 640, 480, "", [(7, 0.99), (1, 0.9)], TIMING, FRAMES)
    assert stage.told("label") == "cat"


def test_results_are_told_as_often_as_is_wished(stage):
    live = []
    for fps, wanted in ((0.0, 0), (2.0, 20), (100.0, 100)):
        stage.publisher.tell_results(fps)
        before = stage._dispatch.results_dropped.get("offline", 0)
        for _ in range(100):
            stage.now_ns += SECOND_NS // 10
            stage.see()
        live.append((stage._dispatch.results_dropped.get("offline", 0) - before, wanted))
    assert all(told == wanted for told, wanted in live), live


def test_a_new_connection_begins_with_a_result(stage):
    """What came a moment before it had nobody to be sent to."""
    publisher, told = stage.publisher, []
    stage._dispatch.on_said = lambda topic, _body, _ns: told.append(topic)
    publisher.tell_results(0.1)
    stage.see()
    stage._dispatch._broker.connects += 1
    stage.now_ns += SECOND_NS // 5
    stage.see()
    stage.see()
    assert told.count("result") == 2


def test_only_members_of_groups_are_watched(stage):
    stage.publisher.follow(Rules(groups={"pet": ("cat", "dog")}))
    assert stage.publisher.watched() == [1]
    stage.publisher.follow(Rules())
    assert stage.publisher.watched() == []


def test_thresholds_are_those_that_hold_now(stage):
    stage.publisher.follow(Rules(enter=0.9, leave=0.2, margin=0.05))
    assert stage.publisher.thresholds() == {"enter": 0.9, "leave": 0.2, "margin": 0.05}
