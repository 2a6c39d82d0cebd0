"""The rule of pictures, kept by the vision process itself: whoever asks, and whatever the courier was talked into."""

import itertools
from typing import Any

import pytest

from tests.contract.vision.test_process import Vision, photographs, vision  # noqa: F401

LIMITS = {"max_px": 320, "quality": 80, "max_kb": 64}


def kinds_until(vision: Vision, wanted: str, many: int) -> list[str]:  # noqa: F811
    """The kinds of the messages up to the `many`-th of `wanted`."""
    found: list[str] = []
    while found.count(wanted) < many:
        message = vision.pipe.receive()
        assert message is not None
        found.append(message[0])
    return found


def begin(vision: Vision, folder: Any, **more: Any) -> None:  # noqa: F811
    vision.load()
    vision.configure(folder, **more)


@pytest.mark.parametrize("allowed", [[], ["on_event"], ["on_control"], ["on_control", "on_event"]])
@pytest.mark.parametrize("why", ["on_control", "on_event"])
def test_a_picture_leaves_for_what_is_allowed_only(vision, photographs, allowed, why):  # noqa: F811
    begin(vision, photographs, pictures=allowed)
    vision.next("result")
    vision.pipe.send("snapshot", LIMITS | {"why": why})
    assert ("snapshot" in kinds_until(vision, "beat", 2)) == (why in allowed)


def test_without_a_word_about_it_nothing_is_allowed(vision, photographs):  # noqa: F811
    begin(vision, photographs)
    vision.next("result")
    vision.pipe.send("snapshot", LIMITS | {"why": "on_control"})
    assert "snapshot" not in kinds_until(vision, "beat", 2)


def test_none_leaves_while_paused(vision, photographs):  # noqa: F811
    begin(vision, photographs, pictures=["on_control", "on_event"])
    vision.next("result")
    vision.pipe.send("pause", {"paused": True})
    for why in itertools.islice(itertools.cycle(("on_control", "on_event")), 10):
        vision.pipe.send("snapshot", LIMITS | {"why": why})
    assert "snapshot" not in kinds_until(vision, "beat", 3)


def test_one_that_begins_paused_sees_nothing_at_all(vision, photographs):  # noqa: F811
    begin(vision, photographs, pictures=["on_control"], paused=True)
    vision.pipe.send("snapshot", LIMITS | {"why": "on_control"})
    kinds = kinds_until(vision, "beat", 3)
    assert "snapshot" not in kinds and "result" not in kinds


def test_none_from_before_the_pause_leaves_after_it(vision, photographs):  # noqa: F811
    begin(vision, photographs, pictures=["on_control"])
    for _ in range(20):
        vision.next("result")
        vision.pipe.send("pause", {"paused": True})
        vision.pipe.send("pause", {"paused": False})
        # asked before a frame of the time after the pause can have been looked at: there is none to show, or a new one
        vision.pipe.send("snapshot", LIMITS | {"why": "on_control"})
    assert vision.process.poll() is None
