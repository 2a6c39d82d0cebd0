"""The pipe keeps messages whole, and the courier believes only its own words."""

import json
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edged.process.pipe import LARGEST_BYTES, NotOursError, Pipe
from edged.process.protocol import FROM_SANDBOX, FROM_VISION, TO_SANDBOX, TO_VISION, Vocabulary, check_word

simple = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
anything = st.recursive(simple, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner))
BEAT = {"frames": dict.fromkeys(("captured", "inferred", "stale", "busy", "gated", "paused"), 0), "memory_mb": 1.0}


FRAMES = BEAT["frames"]
INPUT = {"width": 96, "height": 96, "dtype": "uint8", "scale": 1.0, "zero": 0, "float_range": [0.0, 1.0]}
RUNTIME = {"runtime": "x", "delegate": "x", "delegate_nodes": 1, "nodes": 2}
FACTS = RUNTIME | {"threads": 1, "input": INPUT, "label_count": 3, "output": "logits"}
TIMING = {"capture": -1.5, "preprocess": 1.0, "invoke": 2.0, "postprocess": 0}
MODEL = {"path": "/x", "sha256": "0" * 64, "labels": 3, "output": None, "threads": 1}
REGION = [0, 0.0, 1, 1.0]
GATE = {"threshold": 0.1, "max_interval_s": 1.0}
# one of each word that may go each way
SAID: list[tuple[Vocabulary, str, dict[str, object]]] = [
    (FROM_VISION, "ready", {"pid": 1}),
    (FROM_VISION, "started", {"began_ns": 1, "marks": [["libraries", 2]]}),
    (FROM_VISION, "tried", {"number": 1, "scores": [[0, 0.5]], "reason": ""}),
    (TO_VISION, "try", {"number": 1, "region": REGION}),
    (FROM_VISION, "camera", {"state": "ok", "fault": "", "reason": ""}),
    (
        FROM_VISION,
        "result",
        {
            "index": 0,
            "captured_ns": 1,
            "width": 1,
            "height": 1,
            "picture": "",
            "scores": [[0, 1.0]],
            "timing_ms": TIMING,
            "frames": FRAMES,
        },
    ),
    (FROM_VISION, "gated", {"captured_ns": 1, "frames": FRAMES}),
    (FROM_VISION, "beat", BEAT),
    (FROM_VISION, "loaded", {"number": 1, "path": "/x", "sha256": "0" * 64, "load_ms": 1.0, "facts": FACTS}),
    (FROM_VISION, "load_failed", {"number": 1, "path": "/x", "reason": "x"}),
    (FROM_VISION, "model_failed", {"reason": "x"}),
    (FROM_VISION, "snapshot", {"last": True}),
    (TO_VISION, "configure", {"camera": {"kind": "v4l2"}, "region": REGION, "crop": "full", "max_age_ms": 1.0, "gate": None}),
    (
        TO_VISION,
        "tune",
        {"fps": 1.0, "region": REGION, "max_age_ms": 1, "gate": {"threshold": 0.1, "max_interval_s": 1.0}, "pictures": []},
    ),
    (TO_VISION, "load", MODEL | {"number": 1, "trial": True}),
    (TO_VISION, "settle", {"keep": True}),
    (TO_VISION, "watch", {"indices": [0, 1]}),
    (TO_VISION, "pace", {"fps": 0.0}),
    (TO_VISION, "pause", {"paused": False}),
    (TO_VISION, "snapshot", {"why": "on_event", "max_px": 1, "quality": 1, "max_kb": 1}),
    (TO_VISION, "stop", {}),
    (FROM_SANDBOX, "ready", {}),
    (
        FROM_SANDBOX,
        "checked",
        {"facts": RUNTIME | {"width": 1, "height": 1, "dtype": "int8", "output": "logits"}, "best": [[0, 0.5]]},
    ),
    (FROM_SANDBOX, "measured", {"p50_ms": 1.0, "p95_ms": 1.0, "memory_mb": 1.0, "threads": 1, "runs": 20}),
    (FROM_SANDBOX, "refused", {"reason": "x"}),
    (FROM_SANDBOX, "loaded", {}),
    (FROM_SANDBOX, "scores", {"scores": [[0, 0.5]], "timing_ms": TIMING}),
    (FROM_SANDBOX, "unreadable", {"reason": "x"}),
    (
        FROM_SANDBOX,
        "recast",
        {"pictures": 36, "sure": 20, "same": 19, "apart": 0.1, "original_ms": 1.0, "recast_ms": 0.5},
    ),
    (FROM_SANDBOX, "no_schema", {}),
    (
        FROM_SANDBOX,
        "benched",
        {"pipeline_cpu_ms": 1.0, "invoke_cpu_ms": 0.5, "ratio": 2.0, "pipeline_ms": [1.0, 2.0], "invoke_ms": [0.5, 0.6]}
        | {"fps": 900.0, "runtime": "x", "delegate": "x", "threads": 1, "results": 90},
    ),
    (FROM_SANDBOX, "part", {"last": True}),
    (FROM_SANDBOX, "features", {}),
    (
        FROM_SANDBOX,
        "taught",
        {
            "enter": 0.3,
            "leave": 0.2,
            "margin": 0.1,
            "temperature": 1.0,
            "confusion": [[2, 0], [1, 1]],
            "named": [2, 1],
            "named_wrong": 0,
            "others": 3,
            "others_named": 1,
            "best": [0, 1],
            "scores": [0.5],
            "different": [2, 2],
            "bank": 3,
            "left_out": 0,
            "views": 5,
        },
    ),
    (FROM_SANDBOX, "same_picture", {"first": 0, "second": 1}),
    (FROM_SANDBOX, "too_alike", {"label": 0, "different": 1}),
    (FROM_SANDBOX, "alike", {"first": 0, "second": 1, "told_apart": 0.5}),
    (TO_SANDBOX, "embed", {"path": "/x", "sha256": ""}),
    (TO_SANDBOX, "see", {"picture": "/x", "crop": "full"}),
    (TO_SANDBOX, "base", {"path": "/x", "sha256": "", "bank": ""}),
    (TO_SANDBOX, "example", {"label": -1}),
    (TO_SANDBOX, "teach", {"labels": 2}),
    (TO_SANDBOX, "check", {"path": "/x", "sha256": "", "labels": 3, "output": "logits", "expected": [[0, 0.5]]}),
    (
        TO_SANDBOX,
        "measure",
        {
            "layout": "bgr",
            "width": 1,
            "height": 1,
            "region": REGION,
            "crop": "full",
            "threads": [1],
            "seconds": 1.0,
            "nice": 0,
        },
    ),
    (TO_SANDBOX, "recast", {"path": "/x", "sha256": "", "labels": 3, "output": "logits", "nice": 0}),
    (TO_SANDBOX, "part", {"at": 0}),
    (
        TO_SANDBOX,
        "bench",
        MODEL | {"layout": "mjpeg", "width": 640, "height": 480, "region": REGION, "crop": "full", "fps": 30.0, "seconds": 1.0},
    ),
    (TO_SANDBOX, "load", MODEL),
    (TO_SANDBOX, "look", {"picture": "/x", "region": REGION, "crop": "full", "top": 3}),
]


def test_every_word_is_in_the_list():
    for words in (FROM_VISION, TO_VISION, FROM_SANDBOX, TO_SANDBOX):
        assert {kind for vocabulary, kind, _ in SAID if vocabulary is words} == set(words)


@pytest.mark.parametrize(("words", "kind", "fields"), SAID)
def test_a_word_comes_out_as_it_went_in_and_nothing_near_it_does(words, kind, fields):
    a, b = Pipe.pair(words, words)
    a.send(kind, fields, b"\0more")
    assert b.receive() == (kind, json.loads(json.dumps(fields)), b"\0more")
    near = [fields | {"extra": 1}]
    optional = words[kind].optional
    near += [{key: value for key, value in fields.items() if key != left} for left in fields.keys() - optional]
    near += [fields | {key: wrong} for key in fields for wrong in (float("nan"), [[]], {"x": 1}, "x" * 5000, -(2**70))]
    for one in near:
        if not any(isinstance(one[key], dict) for key in one if key == "camera"):
            a.send(kind, one)
            with pytest.raises(NotOursError):
                b.receive()
    a.close()
    assert b.receive() is None
    b.close()


def test_a_full_pipe_never_blocks_the_courier():
    a, b = Pipe.pair()
    while a.try_send("load", MODEL | {"path": "x" * 4000}):
        pass
    assert b.receive() is not None
    b.close()
    assert not a.try_send("stop", {})
    a.close()


def test_the_largest_packet_fits():
    a, b = Pipe.pair(FROM_VISION, FROM_VISION)
    a.send("snapshot", {"last": True}, b"\0" * (LARGEST_BYTES - 100))
    message = b.receive()
    assert message is not None and len(message[2]) == LARGEST_BYTES - 100
    a.close()
    b.close()


@pytest.mark.parametrize("words", [FROM_VISION, TO_VISION, FROM_SANDBOX, TO_SANDBOX])
@given(
    st.binary(min_size=1, max_size=2000)
    | anything.map(lambda value: json.dumps(value).encode())
    | st.just(b"[" * 100_000)
    | st.just(b"1" * 5000)
)
def test_bytes_of_anybody_are_no_message(words, packet):
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        theirs.send(packet)
        with pytest.raises(NotOursError):
            Pipe(ours, words).receive()


@given(
    st.sampled_from(["ready", "result", "beat", "camera", "stop", "_on_control", ""]), st.dictionaries(st.text(max_size=9), simple)
)
def test_what_is_no_word_of_ours_is_not_believed(kind, fields):
    with pytest.raises(ValueError):
        check_word(kind, fields)
