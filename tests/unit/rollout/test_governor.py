"""The governor: down when it must, up when it may, and no input whatever makes it flap. Heat comes from a folder."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edged.rollout.governor import CALM_S, RATES, Governor, Rung, Step
from edged.system.heat import Heat, read_heat

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
