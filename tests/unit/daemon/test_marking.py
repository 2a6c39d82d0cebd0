"""Marks over the control socket, with the real parts on our side: what is kept, and when nothing is."""

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest

from edged.daemon.pictures import marking as module
from edged.daemon.pictures.marking import Marking
from edged.errors import EdgedError
from edged.models.teach.marks import Marks
from edged.process.control import Control
from tests.unit.daemon.played import Stage, until
from tests.unit.daemon.test_link import Talk, talk

JPEG = b"\xff\xd8\xff\xe0what a model sees\xff\xd9"


def marking_of(one: Talk) -> Marking:
    control = Control(one.stage.state, lambda: "")
    return Marking(control, Marks(one.stage.state), one.link._snapshots, one.publisher, one.apply)


def asked(one: Talk) -> list[dict[str, Any]]:
    return [fields for fields in one.vision.told("snapshot") if fields.get("view") == "mark"]


def shown(one: Talk, captured_ns: int | None = None) -> None:
    """What the vision process answers to the newest question."""
    taken_ns = time.monotonic_ns() if captured_ns is None else captured_ns
    one.say("snapshot", JPEG, last=True, captured_ns=taken_ns, number=asked(one)[-1]["number"])


async def marked(one: Talk, marking: Marking, label: str) -> dict[str, Any]:
    before = len(asked(one))
    waiting = asyncio.ensure_future(marking._mark({"label": label}))
    await until(lambda: len(asked(one)) > before, "it is asked for")
    shown(one)
    return await waiting


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


def test_what_is_seen_now_is_kept_listed_and_forgotten(stage: Stage) -> None:
    async def play(one: Talk) -> None:
        marking = marking_of(one)
        for count in (1, 2):
            assert await marked(one, marking, "bin out") == {"label": "bin out", "count": count}
        assert (await marked(one, marking, "other"))["count"] == 1
        told = await marking._list({})
        assert [(row["label"], row["count"]) for row in told["marks"]] == [("bin out", 2), ("other", 1)]
        assert await marking._forget({"label": "bin out"}) == {"erased": 2}
        assert await marking._forget({}) == {"erased": 1}

    talk(stage, play)


@pytest.mark.parametrize("label", [None, 7, ["x"], "none", "unknown", "../x"])
def test_a_label_that_is_none_is_refused(stage: Stage, label: object) -> None:
    async def play(one: Talk) -> None:
        with pytest.raises(EdgedError):
            await marking_of(one)._mark({"label": label})
        assert not asked(one)

    talk(stage, play)


def test_forget_needs_a_label_or_null(stage: Stage) -> None:
    async def play(one: Talk) -> None:
        with pytest.raises(EdgedError, match="forget needs a label"):
            await marking_of(one)._forget({"label": 7})

    talk(stage, play)


def test_nothing_is_asked_for_while_paused_nor_kept_when_somebody_paused_meanwhile(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ANSWER_S", 0.2)

    async def play(one: Talk) -> None:
        marking = marking_of(one)
        waiting = asyncio.ensure_future(marking._mark({"label": "bin out"}))
        await until(lambda: asked(one), "it is asked for")
        one.link.act("pause")
        shown(one)
        with pytest.raises(EdgedError, match="edged is paused"):
            await waiting
        with pytest.raises(EdgedError, match="edged is paused"):
            await marking._mark({"label": "bin out"})
        assert len(asked(one)) == 1 and (await marking._list({}))["marks"] == []

    talk(stage, play)


def test_what_was_exposed_before_a_pause_is_not_kept_after_it(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before: a mark had a word of its own, and nobody looked at when its frame was exposed."""
    monkeypatch.setattr(module, "ANSWER_S", 0.2)

    async def play(one: Talk) -> None:
        marking = marking_of(one)
        exposed_ns = time.monotonic_ns()
        waiting = asyncio.ensure_future(marking._mark({"label": "bin out"}))
        await until(lambda: asked(one), "it is asked for")
        one.link.act("pause")
        one.link.act("resume")
        shown(one, exposed_ns)
        with pytest.raises(EdgedError, match="gives no picture now"):
            await waiting
        assert (await marking._list({}))["marks"] == []

    talk(stage, play)


def test_a_picture_that_nobody_asked_for_is_distrusted(stage: Stage) -> None:
    async def play(one: Talk) -> None:
        marking_of(one)
        one.say("snapshot", JPEG, last=True, number=2**50)
        await until(lambda: len(stage.visions) == 2, "another process")

    talk(stage, play)


def test_a_camera_that_gives_none_is_told(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ANSWER_S", 0.01)

    async def play(one: Talk) -> None:
        marking = marking_of(one)
        with pytest.raises(EdgedError, match="gives no picture now"):
            await marking._mark({"label": "bin out"})
        shown(one)  # too late, but it was asked for
        assert len(stage.visions) == 1 and (await marking._list({}))["marks"] == []

    talk(stage, play)
