"""The phases of a start: the first time counts, and a process is as old as the kernel says."""

import time
from pathlib import Path

from edged.process.phases import Phase, Phases, load_began_ns, to_phases


def test_what_happens_again_is_no_phase_of_the_start() -> None:
    phases = Phases()
    phases.ended("load")
    first = phases.marks
    phases.ended("load")
    assert phases.marks == first and [name for name, _ in first] == ["load"]


def test_each_phase_lasts_since_the_one_before_it() -> None:
    marks = [("config", 9_000_000), ("modules", 7_500_000)]
    assert to_phases("courier", marks, 2_000_000, 1_000_000) == [
        Phase("courier", "modules", 5.5, 6.5),
        Phase("courier", "config", 1.5, 8.0),
    ]


def test_a_process_is_as_old_as_the_kernel_says(tmp_path: Path) -> None:
    before_ns = time.monotonic_ns()
    assert 0 < load_began_ns() < before_ns
    assert load_began_ns("absent", tmp_path) >= before_ns
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd/stat").write_text("1 (a) b) S 1")
    assert load_began_ns("odd", tmp_path) >= before_ns
