"""One look through a camera, for a command: a vision process of its own, which ends with the look."""

import select
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edged.process.child import fork_vision
from edged.process.pipe import NotOursError, Pipe
from edged.process.protocol import FROM_VISION, TO_VISION

LIMIT_S = 30.0  # libraries from a slow card, and a camera that wakes slowly
_SETTLING = 5  # results of a camera whose exposure still settles


@dataclass(frozen=True, slots=True)
class FirstLook:
    """scores: [index, score 0..1], best first; `fault` is a sentence where there are none. invoke_ms: what the model took."""

    scores: tuple[tuple[int, float], ...] = ()
    invoke_ms: float = 0.0
    width: int = 0
    height: int = 0
    fault: str = ""


def look_once(camera: Mapping[str, Any], model: Mapping[str, Any], *, limit_s: float = LIMIT_S) -> FirstLook:
    """camera: the fields of `configure`; model: those of `load`. Up to limit_s. Thread: the main one, whose child it is."""
    ours, theirs = Pipe.pair(FROM_VISION, TO_VISION)
    try:
        child = fork_vision(theirs)
    except OSError as error:
        ours.close()
        return FirstLook(fault=f"the vision process could not be started: {error.strerror or error}")
    finally:
        theirs.close()
    try:
        ours.send("configure", camera)
        ours.send("load", model)
        return _hear(ours, time.monotonic() + limit_s, limit_s)
    except (OSError, NotOursError):
        return FirstLook(fault="the vision process was lost")
    finally:
        ours.close()
        child.kill()
        select.select([child.ended_fd], [], [], 1.0)
        child.poll()
        child.close()


def _hear(ours: Pipe, ends_s: float, limit_s: float) -> FirstLook:
    """Raises OSError and NotOursError."""
    seen = FirstLook(fault=f"no picture was classified within {limit_s:g} s")
    count = 0
    while (left_s := ends_s - time.monotonic()) > 0 and select.select([ours.fileno()], [], [], left_s)[0]:
        message = ours.receive()
        if message is None:
            return seen if count else FirstLook(fault="the vision process was lost")
        kind, fields, _ = message
        if kind == "result":
            count += 1
            scores = tuple((index, score) for index, score in fields["scores"])
            seen = FirstLook(scores, fields["timing_ms"]["invoke"], fields["width"], fields["height"])
            if count == _SETTLING:
                return seen
        elif kind == "camera" and fields["state"] in ("lost", "frozen"):
            return seen if count else FirstLook(fault=fields["reason"])
        elif kind in ("load_failed", "model_failed"):
            return FirstLook(fault=fields["reason"])
    return seen
