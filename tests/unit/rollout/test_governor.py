"""The governor: down when it must, up when it may, and no input whatever makes it flap. Heat comes from a folder."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from edged.rollout.governor import CALM_S, RATES, REFUSED_S, Governor, Rung, Step
from edged.system.heat import Heat, read_heat
from tests.campaigns.size import count

RUNGS = (Rung("large", 40.0), Rung("middle", 20.0), Rung("small", 8.0))
LIMIT_MS = 60.0
WELL = Heat(50.0)


def run(governor: Governor, seconds: range, slowness: float, heat: Heat = WELL, fps: int = 5) -> list[tuple[int, Step]]:
    """Seconds on a board that is `slowness` times slower than at rest."""
    ms = {rung.name: rung.ms for rung in RUNGS}
    steps = []
    for now in seconds:
        for frame in range(fps):
            governor.see(now + frame / fps, ms[governor.name] * slowness)
        if step := governor.step(float(now + 1), heat):
            governor.accepted()
            steps.append((now + 1, step))
    return steps


def test_within_budget_nothing_happens() -> None:
    governor = Governor(RUNGS, LIMIT_MS, 0)
    assert run(governor, range(3600), 1.2) == []
    assert (governor.name, governor.rate, governor.reason) == ("large", 1.0, "")


def test_hogs_bring_it_down_in_30_s_and_their_end_up_in_2_min_without_flapping() -> None:
    governor = Governor(RUNGS, LIMIT_MS, 0)
    down = run(governor, range(300), 2.5)
    assert [step.name for _, step in down] == ["middle"] and down[0][0] <= 30
    assert "100 ms of 60 ms" in governor.reason
    up = run(governor, range(300, 600), 1.0)
    assert [step.name for _, step in up] == ["large"] and up[0][0] <= 300 + 120
    assert governor.reason == ""


def test_it_goes_at_once_to_the_one_that_will_hold() -> None:
    governor = Governor(RUNGS, LIMIT_MS, 0)
    assert [step.name for _, step in run(governor, range(60), 6.0)] == ["small"]


def test_one_slow_frame_is_nothing() -> None:
    governor = Governor(RUNGS, LIMIT_MS, 0)
    for now in range(600):
        governor.see(now, 500.0 if now % 20 == 0 else 40.0)
        assert governor.step(now, WELL) is None


@pytest.mark.parametrize("heat", [Heat(85.0), Heat(70.0, throttled=True), Heat(None, under_voltage=True)])
def test_heat_and_power_lower_first_the_rate_and_then_the_model(heat: Heat) -> None:
    governor = Governor(RUNGS, LIMIT_MS, 0)
    steps = [step for _, step in run(governor, range(300), 1.0, heat)]
    assert [(step.name, step.rate) for step in steps] == [("large", 0.5), ("large", 0.25), ("middle", 0.25), ("small", 0.25)]
    assert heat.trouble in steps[0].reason
    back = [step for _, step in run(governor, range(300, 900), 1.0)]
    assert (back[-1].name, back[-1].rate) == ("large", 1.0)


def test_warm_is_neither_hot_nor_well() -> None:
    governor = Governor(RUNGS, LIMIT_MS, 0)
    run(governor, range(20), 1.0, Heat(82.0))
    assert governor.rate == 0.5
    assert run(governor, range(20, 900), 1.0, Heat(76.0)) == []


@given(
    st.lists(
        st.tuples(st.integers(1, 90), st.sampled_from([0.5, 1.0, 1.6, 2.5, 6.0, 50.0]), st.sampled_from([40.0, 76.0, 90.0, None])),
        max_size=60,
    )
)
@settings(max_examples=150, deadline=None)
def test_no_input_makes_it_flap(spells: list[tuple[int, float, float | None]]) -> None:
    governor, now, ups, at = Governor(RUNGS, LIMIT_MS, 0), 0, [], []
    for length, slowness, degrees in spells:
        for when, step in run(governor, range(now, now + length), slowness, Heat(degrees)):
            at.append(when)
            if "again" in step.reason:
                ups.append(when)
            assert step.rate in RATES and step.name in {rung.name for rung in RUNGS}
        now += length
    # never up sooner than a calm time after the step before
    assert all(
        when - before >= CALM_S for when in ups for before in at if before < when and before == max(b for b in at if b < when)
    )
    # each step up that is taken back makes the next wait longer, so that their number grows with the logarithm of the time
    heights = len(RUNGS) + len(RATES) - 2
    assert len(ups) <= heights * (2 + now / 600) + 9


def test_heat_is_read_from_sysfs(tmp_path: Path) -> None:
    assert read_heat(tmp_path) == Heat(None, False, False)
    for zone, milli in (("thermal_zone0", "61234\n"), ("thermal_zone1", "broken\n"), ("thermal_zone2", "81000\n")):
        (tmp_path / "class/thermal" / zone).mkdir(parents=True)
        (tmp_path / "class/thermal" / zone / "temp").write_text(milli)
    firmware = tmp_path / "devices/platform/soc/soc:firmware"
    firmware.mkdir(parents=True)
    (firmware / "get_throttled").write_text("50005\n")
    heat = read_heat(tmp_path)
    assert heat == Heat(81.0, True, True)
    assert "under-voltage" in heat.trouble and not heat.is_well
    (firmware / "get_throttled").write_text("50000\n")  # it happened since boot, but not now
    assert read_heat(tmp_path).trouble == "the board is hot: 81 °C"


class Walk(RuleBasedStateMachine):
    """A board that gets slow and hot at will, and models that are refused at will."""

    def __init__(self) -> None:
        super().__init__()
        self.governor, self.now_s = Governor(RUNGS, LIMIT_MS, 0.0), 0.0
        self.runs, self.rate = "large", 1.0  # what the world has in force
        self.asked: Step | None = None
        self.refused: dict[str, float] = {}

    @rule(seconds=st.integers(1, 40), slowness=st.sampled_from([0.5, 1.0, 2.5, 6.0]), degrees=st.sampled_from([40.0, 76.0, 90.0]))
    def time(self, seconds: int, slowness: float, degrees: float) -> None:
        ms = {rung.name: rung.ms for rung in RUNGS}
        for _ in range(seconds):
            self.now_s += 1
            for frame in range(4):
                self.governor.see(self.now_s + frame / 4, ms[self.runs] * slowness)
            step = self.governor.step(self.now_s + 1, Heat(degrees))
            if step is None:
                continue
            assert self.asked is None, "one step at a time"
            assert self.refused.get(step.name, 0.0) <= self.now_s + 1 or step.name == self.runs
            if step.name == self.runs:
                self.rate = step.rate
            else:
                self.asked = step
                return

    @precondition(lambda self: self.asked is not None)
    @rule()
    def accept(self) -> None:
        assert self.asked is not None
        self.runs, self.rate, self.asked = self.asked.name, self.asked.rate, None
        self.governor.accepted()

    @precondition(lambda self: self.asked is not None)
    @rule()
    def refuse(self) -> None:
        assert self.asked is not None
        self.refused[self.asked.name], self.asked = self.now_s + REFUSED_S, None
        self.governor.refused(self.now_s)

    @rule()
    def an_hour(self) -> None:
        self.now_s += REFUSED_S + 1
        if self.asked is None:
            self.governor.refused(self.now_s)  # an answer to nothing

    @invariant()
    def what_it_says_is_so(self) -> None:
        assert self.governor.is_asking == (self.asked is not None)
        if self.asked is None:
            assert (self.governor.name, self.governor.rate) == (self.runs, self.rate)
            assert bool(self.governor.reason) == ((self.runs, self.rate) != ("large", 1.0))


TestWalk = Walk.TestCase
TestWalk.settings = settings(max_examples=count(40, 3000), stateful_step_count=50, deadline=None)


def test_a_refused_step_is_taken_back_and_the_next_rung_is_tried() -> None:
    governor = Governor(RUNGS, LIMIT_MS, 0)
    asked = []
    for now in range(120):
        for frame in range(5):
            governor.see(now + frame / 5, 100.0)
        if step := governor.step(now + 1, WELL):
            asked.append(step.name)
            if step.name == "middle":
                governor.refused(now + 1)
                assert (governor.name, governor.reason) == ("large", "")
            else:
                governor.accepted()
    assert asked == ["middle", "small"] and governor.name == "small" and "smaller model" in governor.reason
