"""Measuring on a board that others use: noise is told from slowness."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edged.system.figures import spent_ns
from edged.vision.probe import Run, to_own_ms

MS = 1_000_000


def test_a_quiet_run_takes_what_the_clock_says() -> None:
    assert to_own_ms([Run(5 * MS, 5 * MS, 0), Run(6 * MS, 5 * MS, MS // 10)], 1) == [5.0, 6.0]


@given(st.lists(st.integers(MS // 10, 50 * MS), min_size=20, max_size=20))
def test_what_others_took_is_taken_off(waits_ns: list[int]) -> None:
    runs = [Run(4 * MS + waited, 4 * MS, waited) for waited in waits_ns]
    assert to_own_ms(runs, 1) == pytest.approx([4.0] * 20)


def test_a_slow_run_stays_slow() -> None:
    """It waited for nobody: that is the model, or the board."""
    assert to_own_ms([Run(20 * MS, 20 * MS, 0), Run(30 * MS, 20 * MS, 10 * MS)], 1) == [20.0, 20.0]


def test_two_threads_that_were_held_up_one_after_the_other() -> None:
    """Together they waited longer than the clock went on: each still has its share, and what sharing costs in quiet runs."""
    quiet = [Run(5 * MS, 8 * MS, 0)] * 5
    assert to_own_ms([*quiet, Run(12 * MS, 8 * MS, 14 * MS)], 2)[-1] == pytest.approx(5.0)
    assert to_own_ms([Run(12 * MS, 8 * MS, 14 * MS)], 2) == [4.0], "nothing was quiet: at least their share"
    assert to_own_ms([Run(6 * MS, 20 * MS, 14 * MS)], 2) == [6.0], "never more than the clock says"


def test_what_the_threads_of_this_process_ran_only_grows() -> None:
    before = spent_ns()
    assert before and sum(range(200_000)) > 0
    after = spent_ns()
    assert all(after[thread] >= spent for thread, spent in before.items() if thread in after)
    assert sum(ran for ran, _ in after.values()) > sum(ran for ran, _ in before.values())


def test_a_kernel_that_does_not_tell_takes_nothing_off(tmp_path: Path) -> None:
    assert spent_ns(tmp_path) == {}
    assert to_own_ms([Run(5 * MS, 0, 0)], 2) == [5.0]
