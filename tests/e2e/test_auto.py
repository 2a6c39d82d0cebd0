"""`auto` as a user meets it: the smallest runs at once, fit chooses in the background, and the governor keeps the budget."""

from pathlib import Path
from typing import Any

import pytest

from edged.models.install import Wish, add
from edged.models.store import Store
from tests.e2e.running import alive, children, edged_with, wait_for
from tests.shared import SHARED, needs_shared

pytestmark = needs_shared
SMALL, MIDDLE, LARGE = "mobilenet_v1_0.25_128_quant", "mobilenet_v1_0.5_160_quant", "mobilenet_v1_1.0_224_quant"
AMPLE_MS = 990.0  # for the largest, also on a slow machine that does other things too; a frame comes each second


@pytest.fixture
def on_auto(config: dict[str, Any]) -> dict[str, Any]:
    """Three models of one family in the store; nothing measured yet."""
    assert SHARED is not None
    store = Store(Path(config["state_folder"]))
    for name in (SMALL, MIDDLE, LARGE):
        add(store, SHARED / "models" / f"{name}.tflite", Wish(name=name), None)
    config["camera"]["fps"] = 1.0
    return config | {"model": {"name": "auto", "family": "imagenet"}}


def card(heard: Any) -> str:
    told = heard.of("model")
    return told[-1]["card"] if told else ""


def test_the_smallest_runs_at_once_and_the_chosen_one_when_it_is_measured(tmp_path, on_auto, heard):
    with edged_with(tmp_path, on_auto | {"budget": {"latency_ms": AMPLE_MS}}) as edged:
        wait_for(lambda: heard.of("result") and heard.of("model"), 30, "a result, and of what")
        assert heard.of("model")[0]["card"] == SMALL
        wait_for(lambda: card(heard) == LARGE, 180, "the largest is chosen")
        told = heard.of("model")[-1]
        assert told["budget"] == {"latency_ms": AMPLE_MS} and "auto" in told["chosen"]
        assert told["measurement"]["p95_ms"] > 0 and told["measurement"]["memory_mb"] > 10
        wait_for(lambda: heard.of("result")[-1]["model"] == LARGE, 10, "results of it")
        assert edged.end() == 0
    frames = heard.of("health")[-1]["frames"]
    assert frames["captured"] == sum(frames[k] for k in ("inferred", "stale", "busy", "gated", "paused"))
    # what was measured is remembered, and half the size picks a smaller one at once
    with edged_with(tmp_path, on_auto | {"budget": {"latency_ms": AMPLE_MS, "size_mb": 2.0}}):
        wait_for(lambda: card(heard) == MIDDLE, 30, "the smaller one")
        assert heard.of("model")[-1]["measurement"]["size_mb"] <= 2.0


def test_when_nothing_fits_the_smallest_goes_on_and_it_is_told(tmp_path, on_auto, heard):
    with edged_with(tmp_path, on_auto | {"budget": {"latency_ms": 0.001}}):
        wait_for(lambda: heard.of("model/error"), 60, "the error")
        assert "nothing fits" in heard.of("model/error")[-1]["reason"]
        assert card(heard) == SMALL


def test_the_fit_in_the_background_dies_with_the_courier(tmp_path, on_auto, heard):
    with edged_with(tmp_path, on_auto) as edged:
        measuring = wait_for(lambda: children(edged.process.pid)[1:], 30, "the process that measures")
        family = [*children(edged.process.pid), *children(measuring[0])]
        edged.process.kill()
        wait_for(lambda: not any(map(alive, family)), 15, "nothing is left")
