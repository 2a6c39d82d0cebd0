"""What the parts are given: thresholds of the model's card, and budgets of the board, where the operator sets none."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edged.config.parts import to_budget, to_rules
from edged.config.reading import Settings
from edged.decision import Thresholds, to_thresholds
from edged.models.card import Card
from edged.system.figures import spare_memory_mb

RATIOS = st.none() | st.floats(0, 1)
LABELS = ("background", "person", "cat")


def card(**more: float) -> Card:
    return Card(name="it", family="home", px=128, dtype="int8", label_count=3, output="probabilities", **more)


def rules(decision: dict[str, object], **more: float) -> tuple[float, float, float]:
    found = to_rules(Settings.model_validate({"decision": decision}), card(**more), LABELS)
    return found.enter, found.leave, found.margin


def test_the_card_speaks_where_the_operator_does_not() -> None:
    assert rules({}) == (0.6, 0.4, 0.1)
    assert rules({}, enter=0.75, leave=0.55, margin=0.2) == (0.75, 0.55, 0.2)
    assert rules({"enter": 0.3, "leave": 0.2, "margin": 0.0}, enter=0.75, leave=0.55, margin=0.2) == (0.3, 0.2, 0.0)


def test_what_is_not_set_gives_way_to_what_is() -> None:
    assert rules({"enter": 0.5}, enter=0.75, leave=0.55) == (0.5, 0.5, 0.1)
    assert rules({"leave": 0.9}, enter=0.75, leave=0.55) == (0.9, 0.9, 0.1)


@given(st.builds(Thresholds, RATIOS, RATIOS, RATIOS), st.builds(Thresholds, RATIOS, RATIOS, RATIOS))
def test_thresholds_always_hold_together(wanted: Thresholds, model: Thresholds) -> None:
    if wanted.enter is not None and wanted.leave is not None and wanted.leave > wanted.enter:
        wanted = Thresholds(wanted.leave, wanted.enter, wanted.margin)  # the config refuses the other
    enter, leave, margin = to_thresholds(wanted, model)
    assert 0 <= leave <= enter <= 1
    for is_set, holds in ((wanted.enter, enter), (wanted.leave, leave), (wanted.margin, margin)):
        assert is_set is None or is_set == holds


@pytest.mark.parametrize(
    ("written", "latency_ms", "memory_mb"),
    [
        ({}, 100.0, 150.0),
        ({"camera": {"fps": 30.0}}, 16.67, 150.0),
        ({"budget": {"latency_ms": 7.0}}, 7.0, 150.0),
        ({"budget": {"memory_mb": 90.0}}, 100.0, 90.0),
        ({"model": {"name": "home_0.5_128"}}, None, None),
    ],
)
def test_auto_has_a_budget_of_its_own(written: dict[str, object], latency_ms: float | None, memory_mb: float | None) -> None:
    budget = to_budget(Settings.model_validate(written), free_mb=150.0)
    assert (budget.latency_ms, budget.memory_mb) == (latency_ms, memory_mb)


def test_where_memory_is_plenty_there_is_no_limit() -> None:
    assert to_budget(Settings(), free_mb=float("inf")).memory_mb is None


@pytest.mark.parametrize(
    ("available_kb", "spare_mb"), [(8_000_000, float("inf")), (300 * 1024, 200.0), (279 * 1024, 150.0), (10, 50.0)]
)
def test_memory_that_may_be_taken(tmp_path: Path, available_kb: int, spare_mb: float) -> None:
    (tmp_path / "meminfo").write_text(f"MemTotal: 9000000 kB\nMemAvailable: {available_kb} kB\n")
    assert spare_memory_mb(tmp_path) == spare_mb


def test_a_kernel_that_does_not_tell_sets_no_limit(tmp_path: Path) -> None:
    assert spare_memory_mb(tmp_path) == float("inf")
