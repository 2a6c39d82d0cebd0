"""Growth without end is found; a large model, a small board or a new process is not blamed."""

import pytest

from edged.daemon.memory import SETTLED_S, MemoryGuard, to_limits
from edged.system.figures import board_memory_mb, memory_mb


def test_a_process_that_grows_over_its_limit_is_found():
    guard = MemoryGuard(200)
    for second in range(0, 600, 10):
        assert guard.see(1, 100 + second / 10, float(second)) == ""
    assert guard.see(1, 201, 600.0) == "its memory grew from 106 to 201 MB, and 200 MB are its limit"


def test_a_process_that_was_large_from_the_start_is_left_alone():
    guard = MemoryGuard(200)
    assert [guard.see(1, 280, float(second)) for second in range(0, 3600, 10)] == [""] * 360


def test_the_next_process_is_judged_by_itself():
    guard = MemoryGuard(200)
    assert guard.see(1, 100, 0) == ""
    assert guard.see(1, 100, SETTLED_S) == ""
    assert guard.see(1, 300, SETTLED_S + 1)
    assert guard.see(2, 300, SETTLED_S + 2) == ""
    assert guard.see(2, 300, SETTLED_S + 10) == ""


def test_a_process_that_is_gone_is_not_measured():
    guard = MemoryGuard(200)
    assert [guard.see(1, 0.0, second) for second in (0, 100, 200)] == ["", "", ""]
    assert guard.see(1, 150, 300) == ""


@pytest.mark.parametrize("board_mb", [0, 416, 920, 3800, 7900])
def test_the_limits_leave_room_for_what_is_normal_on_every_board(board_mb):
    limits = to_limits(board_mb)
    assert limits.courier_mb >= 192
    assert limits.vision_mb >= 320
    assert board_mb < 800 or limits.courier_mb + limits.vision_mb < board_mb


def test_the_board_tells_its_memory(tmp_path):
    (tmp_path / "meminfo").write_text("MemTotal:         425984 kB\nMemFree: 1 kB\n")
    assert board_memory_mb(tmp_path) == 416
    assert board_memory_mb(tmp_path / "none") == 0
    assert board_memory_mb() > memory_mb() > 1
