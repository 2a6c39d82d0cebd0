"""Every topic of the contract, from a real edged in good and bad days, held against the published schemas.

EDGED_WRITE_DOCS=1: the messages of this run become the examples of docs/mqtt.md.
"""

import contextlib
import json
import os
import signal
import sqlite3
import sys
from collections import Counter, defaultdict
from pathlib import Path

import jsonschema
import pytest

from tests.e2e.running import HANG_S, Broker, Heard, edged_with, wait_for

DOCS = Path(__file__).resolve().parents[2] / "docs"
sys.path.insert(0, str(DOCS))

import contract  # noqa: E402

PUBLISHED = {path.stem: json.loads(path.read_text()) for path in (DOCS / "schemas").glob("*.json")}
STRICT = {path.stem: json.loads(path.read_text()) for path in (DOCS / "schemas" / "strict").glob("*.json")}
TOPICS = {one.name: one for one in contract.TOPICS}
LEAST = 200


def names_of(topic, payload, schemas):
    """The schemas of the topic that a payload fits: exactly one, where all is right."""
    body = json.loads(payload)
    return [n for n in TOPICS[topic].schema_names if jsonschema.Draft202012Validator(schemas[n]).is_valid(body)]


def check(name, payload):
    """The schema's name; a message that fits none, or two, is a fault."""
    topic = name.split("/", 2)[2]
    if topic in contract.TEXTS:
        schema = contract.TEXTS[topic]
        assert topic == "snapshot" or jsonschema.Draft202012Validator(schema).is_valid(payload.decode()), (topic, payload)
        assert topic != "snapshot" or payload[:2] == b"\xff\xd8"
        return topic
    for schemas in (PUBLISHED, STRICT):
        fits = names_of(topic, payload, schemas)
        assert len(fits) == 1, (name, payload, fits)
    return fits[0]


def entered(edged):
    return edged.said.read_text(errors="replace").count(" entered ")


@pytest.fixture
def broker(tmp_path):
    """It keeps sessions over its own restart."""
    broker = Broker(tmp_path, "persistence true", f"persistence_location {tmp_path}/")
    yield broker
    broker.end()


@pytest.fixture
def heard(broker):
    heard = Heard(broker.port, session="contract")
    yield heard
    heard.close()


@pytest.fixture
def config(config):
    config["device"] = "door"
    config["decision"]["groups"] = {"pet": ["cat", "dog"]}
    config["snapshot"] = {"on_control": True}
    config["profile"] = {"night": {"camera": {"fps": 4.0}}}
    return config


def test_every_message_of_good_and_bad_days_is_as_published(tmp_path, config, broker, heard):
    def of(topic):
        return heard.of(topic)

    # the broker is away, and events become too old for it: a gap
    broker.end()
    config["outbox"] = {"ttl_s": 0.5}
    with edged_with(tmp_path, config) as edged:
        wait_for(lambda: entered(edged) >= 12, 60, "seconds of events that nobody hears")
        broker.start()
        wait_for(lambda: [b for b in of("backlog") if b["event_type"] == "gap"], 30, "a gap")
        del config["outbox"]
        assert edged.end() == 0
    # the power is cut with events in the outbox: late ones
    broker.end()
    with edged_with(tmp_path, config) as edged:
        before = entered(edged)
        wait_for(lambda: entered(edged) >= before + 3, 60, "more of them")
        edged.process.send_signal(signal.SIGTERM)
        edged.process.wait(HANG_S)
    with contextlib.closing(sqlite3.connect(tmp_path / "state" / "outbox.db")) as database, database:
        database.execute("UPDATE sessions SET kernel_boot = 'another'")
    broker.start()
    with edged_with(tmp_path, config) as edged:
        wait_for(lambda: [b for b in of("backlog") if b.get("late")], 60, "late events")
        wait_for(lambda: of("camera")[-1]["state"] == "ok" and of("model"), 60, "it works")
        late_subscriber = Heard(broker.port)
        heard.publish("edged/door/control", b'{"action": "snapshot"}')
        wait_for(lambda: [n for n, _, _ in heard.messages if n.endswith("/snapshot")], 20, "a picture")
        (topic, content_type, told) = heard.about[-1]
        assert (topic, content_type) == ("edged/door/snapshot", "image/jpeg")
        assert told.keys() == {"id", "time", "frame"} and told["id"].endswith("-1") and told["time"].endswith("Z")
        heard.publish("edged/door/control", b'{"action": "explode"}')
        wait_for(lambda: of("control/error"), 20, "a command that is refused")
        heard.publish("edged/door/model/set", b"no_such_model")
        wait_for(lambda: of("model/error"), 20, "a refusal")
        assert of("model")[-1]["wish"] == "auto"
        heard.publish("edged/door/model/set", b"home_0.25_96")
        wait_for(lambda: (of("model")[-1]["wish"], of("model")[-1]["card"]) == ("home_0.25_96",) * 2, 60, "a wish that is told")
        heard.publish("edged/door/model/set", b"@night")
        wait_for(lambda: of("model")[-1]["wish"] == "@night", 60, "a profile that is told")
        heard.publish("edged/door/model/set", b"@file")
        wait_for(lambda: of("model")[-1]["wish"] == "auto", 60, "what the file says")
        heard.publish("edged/door/control", b'{"action": "pause"}')
        wait_for(lambda: of("state")[-1]["paused"], 20, "paused")
        paused = len(of("state"))
        wait_for(lambda: len({s["valid_until"] for s in of("state")[paused:] if s["paused"]}) >= 2, 30, "renewed while paused")
        heard.publish("edged/door/control", b'{"action": "resume"}')
        wait_for(lambda: of("camera")[-1]["state"] == "ok" and not of("state")[-1]["paused"], 20, "it looks again")
        os.kill(wait_for(edged.vision_pid, 20, "a vision process"), signal.SIGKILL)
        wait_for(lambda: [c for c in of("camera") if c["state"] == "lost"], 20, "lost")
        wait_for(lambda: of("camera")[-1]["state"] == "ok", 60, "back")
        wait_for(lambda: len(heard.messages) >= LEAST + 20 and of("label")[-1] != "unknown", 60, f"{LEAST} messages")
        assert edged.end() == 0
    wait_for(lambda: of("status")[-1:] == ["offline"], 5, "offline")
    assert of("label")[-1] == "unknown", "what was seen is not known after a stop"
    assert of("state")[-1]["label"] == "unknown"
    assert [e["label"] for e in of("event")[-1:]] == ["unknown"]

    sent = [(name, payload) for name, payload, _ in heard.messages if TOPICS[name.split("/", 2)[2]].sent]
    counted = Counter(check(*message) for message in sent)
    print(dict(counted))
    wanted = {n for one in contract.TOPICS if one.sent for n in one.schema_names or [one.name]}
    assert counted.keys() == wanted
    assert sum(counted.values()) >= LEAST
    retained = {name.split("/", 2)[2] for name, _, is_retained in late_subscriber.messages if is_retained}
    late_subscriber.close()
    assert retained == {one.name for one in contract.TOPICS if one.retained}
    gap_free(heard)
    if os.environ.get("EDGED_WRITE_DOCS"):
        contract.EXAMPLES.write_text(json.dumps(examples(heard), indent=1, ensure_ascii=False) + "\n")


def test_a_picture_says_to_which_event_it_belongs(tmp_path, config, heard):
    config["snapshot"] = {"on_event": True}
    with edged_with(tmp_path, config):
        known = wait_for(lambda: [told for _, _, told in heard.about if told.get("event")][:3], 60, "pictures with their events")
        event_of = lambda: {event["id"]: event for event in heard.of("event")}  # noqa: E731
        wait_for(lambda: {told["event"] for told in known} <= event_of().keys(), 60, "the events, which a disk may hold up")
    ids = event_of()
    for told in known:
        assert ids[told["event"]]["event_type"] == "entered"
        assert told["time"] >= ids[told["event"]]["time"], "it was taken when, or after, it happened"


def gap_free(heard):
    """What comes with QoS 1 and is not retained counts without a hole; events, late ones and gaps together."""
    seqs = defaultdict(set)
    for name, payload, _ in heard.messages:
        topic = name.split("/", 2)[2]
        if payload[:1] == b"{" and TOPICS[topic].sent and TOPICS[topic].qos and not TOPICS[topic].retained:
            body = json.loads(payload)
            seqs[("event" if topic == "backlog" else topic, body["boot"])].add(body["seq"])
    for (topic, boot), found in seqs.items():
        gaps = [b for b in heard.of("backlog") if b["event_type"] == "gap" and b["boot"] == boot] if topic == "event" else []
        told = {seq for gap in gaps if gap["to_seq"] is not None for seq in range(gap["from_seq"], gap["to_seq"] + 1)}
        assert set(range(1, max(found) + 1)) <= found | told, (topic, boot, sorted(found))


def examples(heard):
    """One good message of each kind; the last, and one that shows something."""
    found = {}
    for name, payload, _ in heard.messages:
        topic = name.split("/", 2)[2]
        if topic in contract.TEXTS or topic == "control":
            continue
        kind, body = check(name, payload), json.loads(payload)
        if kind not in found or shows(kind, body):
            found[kind] = body
    return dict(sorted(found.items()))


def shows(kind, body):
    if kind == "camera":
        return body["state"] == "lost"
    if kind in ("event", "state", "backlog-lateevent"):
        return body["label"] not in ("none", "unknown", "background") and body.get("event_type") != "left"
    return True
