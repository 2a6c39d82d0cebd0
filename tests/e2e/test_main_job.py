"""Camera → MobileNet → MQTT, and what happens when a process of it is killed."""

import json
import os
import signal
import time

import jsonschema
import pytest

from edged.delivery.messages import BODIES, to_schema
from tests.e2e.judge_demo import SHOWN, judged
from tests.e2e.running import HANG_S, alive, edged_with, promised, wait_for, wait_promised

SCHEMAS = {topic: [to_schema(body) for body in bodies] for topic, bodies in BODIES.items()}


def topic_of(name: str) -> str:
    return name.split("/", 2)[2]


def validate(name: str, payload: bytes) -> None:
    """A JSON payload has exactly one schema that it fits; text is one of the few words that a text topic may say."""
    topic = topic_of(name)
    if topic == "status":
        assert payload in (b"online", b"offline")
    elif topic in SCHEMAS:
        fits = [s for s in SCHEMAS[topic] if jsonschema.Draft202012Validator(s).is_valid(json.loads(payload))]
        assert len(fits) == 1, (name, payload)
    else:
        assert topic == "label", name


def test_real_photographs_become_messages(tmp_path, config, heard):
    with edged_with(tmp_path, config) as edged:
        wait_for(lambda: len({r["frame"]["picture"].split("_", 1)[1] for r in heard.of("result")}) == len(SHOWN), 60, "all seen")
        wait_for(
            lambda: len({event["label"] for event in heard.of("event")}) >= 3,
            60,
            "labels, each of what was seen twice",
        )
        assert edged.end() == 0
    wait_for(lambda: heard.of("status")[-1:] == ["offline"], 15, "offline")
    lines = [{"topic": name, "payload": json.loads(p) if p[:1] == b"{" else p.decode()} for name, p, _ in heard.messages]
    verdict = judged(lines)
    assert len(verdict["decided"]) >= 3, verdict
    assert verdict["right"] * 2 >= verdict["shown"], verdict
    assert verdict["balanced"], verdict
    for name, payload, _ in heard.messages:
        validate(name, payload)


def test_events_are_numbered_without_gaps_and_alternate(tmp_path, config, heard):
    with edged_with(tmp_path, config) as edged:
        wait_for(lambda: len(heard.of("event")) >= 6, 60, "six events")
        edged.end()
    events = heard.of("event")
    assert [e["seq"] for e in events] == list(range(1, len(events) + 1))
    assert [e["event_type"] for e in events] == ["entered", *["left", "entered"] * len(events)][: len(events)]
    health = heard.of("health")[-1]["events"]
    assert health["events"] == health["delivered"] + health["queued"] + sum(health["dropped"].values())


def test_a_killed_vision_process_comes_back_and_the_broker_never_notices(tmp_path, config, heard):
    with edged_with(tmp_path, config) as edged:
        wait_for(lambda: heard.of("label")[-1:] not in ([], ["unknown"]), 60, "something is seen")
        os.kill(edged.vision_pid(), signal.SIGKILL)
        lost = wait_for(lambda: [c for c in heard.of("camera") if c["state"] == "lost"], 5, "camera says so")
        assert "SIGKILL" in lost[0]["reason"]
        wait_for(lambda: heard.of("label")[-1] == "unknown", 15, "what is not seen is not claimed")
        before = len(heard.of("result"))
        wait_promised(lambda: len(heard.of("result")) > before, 10, "results are back")
        wait_for(lambda: heard.of("camera")[-1]["state"] == "ok", 5, "camera is ok again")
        assert heard.of("status") == ["online"]
        edged.end()
    assert heard.of("health")[-1]["vision_restarts"] == 1
    assert heard.of("health")[-1]["broker_connects"] == 1


@pytest.mark.parametrize("vision", ["working", "frozen"])
def test_nothing_is_left_of_a_killed_courier(tmp_path, config, heard, vision):
    with edged_with(tmp_path, config) as edged:
        wait_for(lambda: heard.of("result"), 30, "first result")
        pid = edged.vision_pid()
        if vision == "frozen":
            os.kill(pid, signal.SIGSTOP)
        edged.process.kill()
        wait_for(lambda: not alive(pid) and not alive(edged.process.pid), 15, "both gone")
        wait_for(lambda: heard.of("status")[-1:] == ["offline"], 5, "the will says offline")


def test_sigterm_says_goodbye(tmp_path, config, heard):
    with edged_with(tmp_path, config) as edged:
        wait_for(lambda: heard.of("result"), 30, "first result")
        began_s = time.monotonic()
        assert edged.end() == 0
        promised("the end", time.monotonic() - began_s, 3)
    wait_for(lambda: heard.of("status")[-1:] == ["offline"], 15, "offline")


def test_a_second_copy_is_refused(tmp_path, config, heard):
    with edged_with(tmp_path, config) as edged:
        wait_for(lambda: heard.of("status"), 30, "online")
        (tmp_path / "second").mkdir()
        with edged_with(tmp_path / "second", config) as second:
            assert second.process.wait(HANG_S) == 75
            assert str(edged.process.pid) in second.said.read_text()


def test_pause_and_resume(tmp_path, config, heard):
    with edged_with(tmp_path, config):
        wait_for(lambda: heard.of("result"), 30, "first result")
        heard.publish("edged/test/control", b'{"action": "pause"}')
        wait_for(lambda: heard.of("camera")[-1]["state"] == "paused", 5, "paused")
        wait_for(lambda: heard.of("state")[-1]["paused"], 5, "state says so")
        heard.publish("edged/test/control", b'{"action": "resume"}')
        wait_for(lambda: heard.of("camera")[-1]["state"] == "ok", 5, "resumed")
