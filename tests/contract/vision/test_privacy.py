"""The rule of pictures, kept by the vision process itself: whoever asks, and whatever the courier was talked into."""

import itertools
import time
from typing import Any

import pytest

from tests.contract.vision.test_process import Vision, photographs, vision  # noqa: F401

WHYS = ["on_control", "on_event", "local"]
LIMITS = {"max_px": 320, "quality": 80, "max_kb": 64}


def kinds_until(vision: Vision, wanted: str, many: int) -> list[str]:  # noqa: F811
    """The kinds of the messages up to the `many`-th of `wanted`."""
    found: list[str] = []
    while found.count(wanted) < many:
        message = vision.pipe.receive()
        assert message is not None
        found.append(message[0])
    return found


def answers(vision: Vision) -> list[str]:  # noqa: F811
    """The kinds of the messages until a trial is answered: what was asked before it has been answered then, or never will be."""
    vision.pipe.send("try", {"number": 1, "region": [0, 0, 1, 1]})
    return kinds_until(vision, "tried", 1)


def begin(vision: Vision, folder: Any, **more: Any) -> None:  # noqa: F811
    vision.load()
    vision.configure(folder, **more)


@pytest.mark.parametrize("allowed", [[], ["on_event"], ["on_control"], ["local"], ["on_control", "on_event"]])
@pytest.mark.parametrize("why", WHYS)
def test_a_picture_leaves_for_what_is_allowed_only(vision, photographs, allowed, why):  # noqa: F811
    begin(vision, photographs, pictures=allowed)
    vision.next("result")
    vision.pipe.send("snapshot", LIMITS | {"why": why})
    assert ("snapshot" in answers(vision)) == (why in allowed)


def test_without_a_word_about_it_nothing_is_allowed(vision, photographs):  # noqa: F811
    begin(vision, photographs)
    vision.next("result")
    vision.pipe.send("snapshot", LIMITS | {"why": "on_control"})
    assert "snapshot" not in answers(vision) + kinds_until(vision, "beat", 2)


def test_none_leaves_while_paused(vision, photographs):  # noqa: F811
    begin(vision, photographs, pictures=WHYS)
    vision.next("result")
    vision.pipe.send("pause", {"paused": True})
    for why in itertools.islice(itertools.cycle(WHYS), 12):
        vision.pipe.send("snapshot", LIMITS | {"why": why})
    assert "snapshot" not in answers(vision) + kinds_until(vision, "beat", 3)


def test_one_that_begins_paused_sees_nothing_at_all(vision, photographs):  # noqa: F811
    begin(vision, photographs, pictures=["on_control"], paused=True)
    vision.pipe.send("snapshot", LIMITS | {"why": "on_control"})
    kinds = kinds_until(vision, "beat", 3)
    assert "snapshot" not in kinds and "result" not in kinds


def test_none_from_before_the_pause_leaves_after_it(vision, photographs):  # noqa: F811
    """Asked at once, before a frame of the time after the pause can have been looked at, and again when one was."""
    begin(vision, photographs, pictures=["on_control", "local"])
    shown = 0
    for _ in range(20):
        vision.next("result")
        paused_ns = time.monotonic_ns()
        vision.pipe.send("pause", {"paused": True})
        vision.pipe.send("pause", {"paused": False})
        for why in ("on_control", "local"):
            vision.pipe.send("snapshot", LIMITS | {"why": why})
        kind, fields = "", {"captured_ns": 0}
        while kind != "result" or fields["captured_ns"] < paused_ns:  # a result may be on its way
            message = vision.pipe.receive()
            assert message is not None
            kind, fields = message[:2]
            assert kind != "snapshot" or fields["captured_ns"] >= paused_ns
        vision.pipe.send("snapshot", LIMITS | {"why": "local"})
        assert vision.next("snapshot")["captured_ns"] >= paused_ns
        shown += 1
    assert shown == 20


def test_what_is_forbidden_while_it_runs_does_not_leave(vision, photographs):  # noqa: F811
    begin(vision, photographs, pictures=WHYS)
    vision.next("result")
    tuning = {"fps": 20.0, "region": [0, 0, 1, 1], "max_age_ms": 500, "gate": None}
    for allowed in ([], ["local"], ["on_event"]):
        vision.pipe.send("tune", tuning | {"pictures": allowed})
        for why in WHYS:
            vision.pipe.send("snapshot", LIMITS | {"why": why})
        assert answers(vision).count("snapshot") == len(allowed)


@pytest.mark.parametrize("allowed", [[], ["on_event", "on_control"], ["local"]])
def test_a_mark_leaves_where_that_is_allowed_only(vision, photographs, allowed):  # noqa: F811
    begin(vision, photographs, pictures=allowed)
    vision.next("result")
    vision.pipe.send("snapshot", LIMITS | {"why": "local", "view": "mark"})
    assert ("snapshot" in answers(vision)) == (allowed == ["local"])


def test_no_mark_leaves_while_paused(vision, photographs):  # noqa: F811
    begin(vision, photographs, pictures=["local"])
    vision.next("result")
    vision.pipe.send("pause", {"paused": True})
    for _ in range(10):
        vision.pipe.send("snapshot", LIMITS | {"why": "local", "view": "mark"})
    assert "snapshot" not in answers(vision) + kinds_until(vision, "beat", 3)
