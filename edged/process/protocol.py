"""What may be said over a pipe: by the vision process and to it, by a sandbox and to it.

A model or a stream may own the process at the other end; what is none of these words, word for word, is not believed, and
the process is ended. Plain functions and not pydantic: the vision process would pay 17 MB for it.
"""

import math
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Check = Callable[[Any], bool]


LONGEST_SENTENCE = 2000
_AHEAD_NS = 1_000_000_000  # both processes have one clock; a little is left for what is rounded
_MOST_WORDS, _MOST_WORDS_A_S = 2000, 1000.0  # of all kinds; the fastest camera makes 240 results a second
_MOST_TOLD, _MOST_TOLD_A_S = 60, 2.0  # of those that are told to people, each in a line of the log and a message


def whole(least: int = 0, most: int = 2**53 - 1) -> Check:
    return lambda value: type(value) is int and least <= value <= most


def past(value: Any) -> bool:
    """A monotonic time in ns that was."""
    return type(value) is int and 0 <= value <= time.monotonic_ns() + _AHEAD_NS


def number(least: float = -math.inf, most: float = math.inf) -> Check:
    """Finite, and no truth value."""
    return lambda value: type(value) in (int, float) and math.isfinite(value) and least <= value <= most


def text(longest: int) -> Check:
    """Of characters that a log and a terminal may be given."""
    return lambda value: type(value) is str and len(value) <= longest and value.isprintable()


def raw(longest: int) -> Check:
    """A path may hold anything; it is not shown."""
    return lambda value: type(value) is str and len(value) <= longest


def like(pattern: str) -> Check:
    whole_text = re.compile(pattern)
    return lambda value: type(value) is str and whole_text.fullmatch(value) is not None


def one_of(*values: str | None) -> Check:
    return lambda value: (value is None or type(value) is str) and value in values


def truth(value: Any) -> bool:
    return type(value) is bool


def each(check: Check, most: int, least: int = 0) -> Check:
    """A list whose items all pass."""
    return lambda value: type(value) in (list, tuple) and least <= len(value) <= most and all(map(check, value))


def tuple_of(*checks: Check) -> Check:
    return lambda value: (
        type(value) in (list, tuple)
        and len(value) == len(checks)
        and all(check(one) for check, one in zip(checks, value, strict=True))
    )


def mapping(value: Any) -> bool:
    """Any JSON object: only in words of the courier's own."""
    return type(value) is dict


def maybe(check: Check) -> Check:
    return lambda value: value is None or check(value)


@dataclass(frozen=True, slots=True)
class Word:
    """The fields of a message. optional: those that may be absent."""

    fields: Mapping[str, Check]
    optional: frozenset[str] = frozenset()

    def __call__(self, value: Any) -> bool:
        return (
            type(value) is dict
            and value.keys() <= self.fields.keys()
            and self.fields.keys() - self.optional <= value.keys()
            and all(self.fields[name](one) for name, one in value.items())
        )


Vocabulary = Mapping[str, Word]

_COUNT, _SENTENCE, _PATH, _SHA256 = whole(), text(LONGEST_SENTENCE), raw(4096), like("(?:[0-9a-f]{64})?")
_NS = whole(0, 2**63 - 1)
_PX, _NUMBER = whole(0, 65_536), number(-1e9, 1e9)
_MS, _MB = number(0, 1e9), number(0, 1e7)
_SCORE = tuple_of(whole(0, 2**20), number(0, 1.01))
_SHARE = number(0, 1)
_REGION = tuple_of(_SHARE, _SHARE, _SHARE, _SHARE)
_CROP, _OUTPUT = one_of("full", "centre", "letterbox"), one_of("probabilities", "logits")
_DTYPE = one_of("uint8", "int8", "float32")
_FRAMES = Word(dict.fromkeys(("captured", "inferred", "stale", "busy", "gated", "paused"), _COUNT))
_TIMING = Word({"capture": _NUMBER, "preprocess": _MS, "invoke": _MS, "postprocess": _MS})
_REASON = Word({"reason": _SENTENCE})
_NOTHING = Word({})
_WHY = ("on_control", "on_event", "local")
_PICTURES = each(one_of(*_WHY), len(_WHY))
_GATE = Word({"threshold": number(), "max_interval_s": number()})
_INPUT = Word(
    {
        "width": _PX,
        "height": _PX,
        "dtype": _DTYPE,
        "scale": _NUMBER,
        "zero": whole(-(2**31), 2**31),
        "float_range": tuple_of(_NUMBER, _NUMBER),
    }
)
_RUNTIME = {"runtime": text(80), "delegate": text(80), "delegate_nodes": _COUNT, "nodes": _COUNT}
_FACTS = Word(_RUNTIME | {"threads": _COUNT, "input": _INPUT, "label_count": _COUNT, "output": _OUTPUT})
_MODEL = {"path": _PATH, "sha256": _SHA256, "labels": _COUNT, "output": maybe(_OUTPUT), "threads": whole(1)}

FROM_VISION: Vocabulary = {
    "ready": Word({"pid": whole(1, 2**31)}),
    "started": Word({"began_ns": _NS, "marks": each(tuple_of(text(40), _NS), 20)}),
    "camera": Word(
        {"state": one_of("starting", "ok", "lost", "frozen", "paused"), "fault": like("[a-z_]{0,40}"), "reason": _SENTENCE}
    ),
    "result": Word(
        {
            "index": _COUNT,
            "captured_ns": past,
            "width": _PX,
            "height": _PX,
            "picture": text(255),
            "scores": each(_SCORE, 2000),
            "timing_ms": _TIMING,
            "frames": _FRAMES,
        }
    ),
    "gated": Word({"captured_ns": past, "frames": _FRAMES}),
    "beat": Word({"frames": _FRAMES, "memory_mb": _MB}),
    "loaded": Word({"number": _COUNT, "path": _PATH, "sha256": _SHA256, "load_ms": _MS, "facts": _FACTS}),
    "load_failed": Word({"number": _COUNT, "path": _PATH, "reason": _SENTENCE}),
    "model_failed": _REASON,
    "snapshot": Word(
        {"last": truth, "index": _COUNT, "captured_ns": past, "event_ns": _NS, "number": _COUNT, "shows": _REGION},
        frozenset({"index", "captured_ns", "event_ns", "number", "shows"}),
    ),
    "tried": Word({"number": _COUNT, "scores": each(_SCORE, 2000), "reason": _SENTENCE}),
}
TO_VISION: Vocabulary = {
    "configure": Word(
        {
            "camera": mapping,
            "region": _REGION,
            "crop": _CROP,
            "max_age_ms": _MS,
            "watched": each(_COUNT, 100_000),
            "no_frame_s": number(0),
            "frozen_s": number(0),
            "gate": maybe(_GATE),
            "failed_runs": _COUNT,
            "pictures": _PICTURES,
            "paused": truth,
        },
        frozenset({"watched", "no_frame_s", "frozen_s", "gate", "failed_runs", "pictures", "paused"}),
    ),
    "tune": Word({"fps": number(0), "region": _REGION, "max_age_ms": _MS, "gate": maybe(_GATE), "pictures": _PICTURES}),
    "load": Word(_MODEL | {"number": _COUNT, "trial": truth}, frozenset({"number", "trial"})),
    "settle": Word({"keep": truth}),
    "watch": Word({"indices": each(_COUNT, 100_000)}),
    "pace": Word({"fps": number(0)}),
    "pause": Word({"paused": truth}),
    "snapshot": Word(
        {
            "why": one_of(*_WHY),
            "max_px": _COUNT,
            "quality": _COUNT,
            "max_kb": _COUNT,
            "event_ns": _NS,
            "number": _COUNT,
            "view": one_of("region", "whole", "model", "mark"),
        },
        frozenset({"event_ns", "number", "view"}),
    ),
    "try": Word({"number": _COUNT, "region": _REGION}),
    "stop": _NOTHING,
}
FROM_SANDBOX: Vocabulary = {
    "ready": _NOTHING,
    "checked": Word(
        {
            "facts": Word(_RUNTIME | {"width": _COUNT, "height": _COUNT, "dtype": _DTYPE, "output": _OUTPUT}),
            "best": each(_SCORE, 16),
        }
    ),
    "measured": Word({"p50_ms": _MS, "p95_ms": _MS, "memory_mb": _MB, "threads": whole(1), "runs": _COUNT}),
    "refused": _REASON,
    "loaded": _NOTHING,
    "scores": Word({"scores": each(_SCORE, 100_000), "timing_ms": _TIMING}),
    "unreadable": _REASON,
    "recast": Word({"pictures": _COUNT, "sure": _COUNT, "same": _COUNT, "apart": _SHARE, "original_ms": _MS, "recast_ms": _MS}),
    "no_schema": _NOTHING,
    "benched": Word(
        dict.fromkeys(("pipeline_cpu_ms", "invoke_cpu_ms", "ratio", "fps"), _MS)
        | dict.fromkeys(("pipeline_ms", "invoke_ms"), tuple_of(_MS, _MS))
        | {"runtime": text(80), "delegate": text(80), "threads": _COUNT, "results": _COUNT}
    ),
    "part": Word({"last": truth}),
    "features": _NOTHING,
    "taught": Word(
        {
            "enter": _SHARE,
            "leave": _SHARE,
            "margin": _SHARE,
            "temperature": number(0, 1000),
            "confusion": each(each(_COUNT, 100, 2), 100, 2),
            "named": each(_COUNT, 100),
            "named_wrong": _COUNT,
            "others": _COUNT,
            "others_named": _COUNT,
            "best": each(whole(0, 99), 20_000),
            "scores": each(_SHARE, 20_000),
            "different": each(_COUNT, 100),
            "bank": _COUNT,
            "left_out": _COUNT,
            "views": _COUNT,
        }
    ),
    "same_picture": Word({"first": _COUNT, "second": _COUNT}),
    "too_alike": Word({"label": _COUNT, "different": _COUNT}),
    "alike": Word({"first": _COUNT, "second": _COUNT, "told_apart": _SHARE}),
}
TO_SANDBOX: Vocabulary = {
    "check": Word(
        {"path": _PATH, "sha256": _SHA256, "labels": _COUNT, "output": maybe(_OUTPUT), "expected": each(_SCORE, 100_000)}
    ),
    "measure": Word(
        {
            "layout": one_of("bgr", "rgb", "gray", "nv12", "yuv420"),
            "width": _COUNT,
            "height": _COUNT,
            "region": _REGION,
            "crop": _CROP,
            "threads": each(whole(1), 1024, 1),
            "seconds": number(0),
            "nice": whole(),
        }
    ),
    "load": Word(_MODEL),
    "look": Word({"picture": _PATH, "region": _REGION, "crop": _CROP, "top": _COUNT}),
    "recast": Word({"path": _PATH, "sha256": _SHA256, "labels": _COUNT, "output": maybe(_OUTPUT), "nice": whole()}),
    "part": Word({"at": _COUNT}),
    "embed": Word({"path": _PATH, "sha256": _SHA256}),
    "see": Word({"picture": _PATH, "crop": _CROP}),
    "base": Word({"path": _PATH, "sha256": _SHA256, "bank": _PATH}),
    "example": Word({"label": whole(-1, 99)}),
    "teach": Word({"labels": whole(2, 99)}),
    "bench": Word(
        _MODEL
        | {"layout": one_of("bgr", "nv12", "yuv420", "mjpeg"), "width": _PX, "height": _PX, "region": _REGION, "crop": _CROP}
        | {"fps": number(0, 240), "seconds": number(0)}
    ),
}


def check_word(kind: str, fields: dict[str, Any], words: Vocabulary = FROM_VISION) -> None:
    """Raises ValueError for what is not exactly one of the words."""
    word = words.get(kind)
    if word is None or not word(fields):
        raise ValueError("no word of ours")


_TOLD = frozenset({"ready", "camera", "loaded", "load_failed", "model_failed"})


class Allowance:
    """How many words a process may say: what is said faster is no work, and is not listened to. One for each process."""

    def __init__(self) -> None:
        self._all, self._told = float(_MOST_WORDS), float(_MOST_TOLD)
        self._at_s = time.monotonic()

    def has_room(self, kind: str) -> bool:
        """Whether one more of this kind is work; it is counted."""
        now_s = time.monotonic()
        passed_s, self._at_s = now_s - self._at_s, now_s
        self._all = min(_MOST_WORDS, self._all + passed_s * _MOST_WORDS_A_S) - 1
        self._told = min(_MOST_TOLD, self._told + passed_s * _MOST_TOLD_A_S) - (kind in _TOLD)
        return self._all >= 0 and self._told >= 0
