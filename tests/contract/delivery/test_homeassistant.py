"""The discovery message against Home Assistant's own schemas, and against a list of ours for what they let pass."""

import copy
import json
import os
import re
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edged.delivery.homeassistant import MOST_OPTIONS, Announced, to_bytes, to_discovery, to_option, to_platforms, to_topic
from tests.contract.delivery.discovery_keys import faults_of

BED = Path(os.environ.get("EDGED_BEDS", "/var/tmp/edged-beds"), "homeassistant")
PYTHON = BED / "venv" / "bin" / "python"
VALIDATE = Path(__file__).parents[2] / "beds" / "homeassistant" / "validate.py"
needs_homeassistant = pytest.mark.skipif(
    not (BED / "built").is_file(), reason=f"no Home Assistant in {BED}; `make bed-homeassistant` builds it"
)

HOME = Announced(
    device_id="0123456789abcdef0123456789abcdef",
    base="edged/door",
    name="Front door",
    board="Raspberry Pi 5 Model B Rev 1.0",
    version="1.0",
    labels=("person", "cat", "dog", "background"),
    groups=("pet",),
    own=("person",),
    wishes=("auto", "home_0.5_160", "@night", "@file"),
    snapshots=("control", "event"),
    page="http://door.local:8080",
    ignored=("background",),
)
# names that a template, a topic or an identity could stumble over
AWKWARD = ('say "hi"', "a\\b", "{{ x }}", "{% if %}", "}}", "Größe", "😀", "unknown", "None", "unavailable", "a b", "A B", "'")
STATES = {
    "status": "online",
    "camera": {"state": "ok", "since": "2026-01-01T00:00:00.000Z", "reason": "", "fault": ""},
    "state": {"label": "unknown", "score": 0.73, "groups": {"pet": True}, "paused": False},
    "model": {"card": "home_0.5_160", "wish": "@night"},
    "health": {
        "fps": 4.9,
        "latency_p95_ms": None,
        "temperature_c": None,
        "throttled": False,
        "memory_mb": 30.0,
        "vision_memory_mb": 90.0,
        "vision_restarts": 0,
        "waiting_oldest_s": 0.0,
        "events": {"events": 3, "delivered": 2, "queued": 0, "dropped": {"expired": 1}},
        "degraded": [],
    },
}


def question(payload, *, states=STATES, topic=None):
    told = {f"edged/door/{name}": text if isinstance(text, str) else json.dumps(text) for name, text in states.items()}
    return {"topic": topic or to_topic("homeassistant", HOME.device_id), "payload": payload, "states": told}


def asked(*asked):
    """What Home Assistant finds wrong with each message. One start of its Python for all of them: it takes seconds."""
    done = subprocess.run([PYTHON, VALIDATE], input=json.dumps(asked), capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


EVERY = [
    to_discovery(HOME),
    to_discovery(replace(HOME, snapshots=(), own=(), groups=(), page="")),
    to_discovery(replace(HOME, labels=AWKWARD, own=AWKWARD, groups=AWKWARD, ignored=())),
    to_discovery(replace(HOME, labels=[f"label {n}" for n in range(1001)])),
    to_discovery(HOME, gone={"group_bird": "binary_sensor", "label": "sensor"}),
]


@pytest.mark.parametrize("payload", EVERY)
def test_our_own_list_finds_nothing(payload):
    assert faults_of(payload) == []
    assert json.loads(to_bytes(payload)) == payload


@needs_homeassistant
def test_its_own_schemas_and_templates_take_everything():
    assert asked(*map(question, EVERY)) == [[]] * len(EVERY)


names = st.lists(st.text(st.characters(blacklist_categories=("Cs",)), min_size=1, max_size=40), max_size=8, unique=True)


@given(labels=names, groups=names, own=names, earlier=names)
def test_no_name_makes_a_fault_or_takes_anothers_place(labels, groups, own, earlier):
    gone = to_platforms(to_discovery(replace(HOME, groups=earlier, own=earlier)))
    payload = to_discovery(replace(HOME, labels=labels, groups=groups, own=own), gone)
    assert faults_of(payload) == []
    assert json.loads(to_bytes(payload)) == payload
    assert all(re.fullmatch(r"[a-zA-Z0-9_-]+", key) for key in payload["cmps"])
    shown = [one["name"] for one in payload["cmps"].values() if one.get("dev_cla") == "occupancy"]
    assert sorted(shown) == sorted([*groups, *own]), "each has its own"
    assert gone.keys() <= payload["cmps"].keys(), "what was announced is named until it is taken back"


@needs_homeassistant
def test_awkward_labels_are_told_apart_by_the_templates():
    """Each label makes its own binary sensor on, and its own option."""
    payload = to_discovery(replace(HOME, labels=AWKWARD, own=AWKWARD, groups=AWKWARD, ignored=()))
    seen = [STATES["state"] | {"label": label, "groups": {name: name == label for name in AWKWARD}} for label in AWKWARD]
    found = asked(*(question(payload, states=STATES | {"state": state}) for state in seen))
    assert dict(zip(AWKWARD, found, strict=True)) == {label: [] for label in AWKWARD}
    names = [component["uniq_id"] for component in payload["cmps"].values()]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[a-zA-Z0-9_-]+", key) for key in payload["cmps"])


def test_a_house_has_at_least_fourteen_entities():
    platforms = [component["p"] for component in to_discovery(HOME)["cmps"].values()]
    assert len(platforms) >= 14
    assert set(platforms) == {"sensor", "binary_sensor", "event", "select", "switch", "image", "button"}


def test_what_is_gone_is_taken_away_and_stays_away():
    before = to_platforms(to_discovery(HOME))
    after = to_discovery(replace(HOME, own=(), groups=("bird",)), gone=before)
    assert after["cmps"]["label_person"] == {"p": "binary_sensor"}
    assert after["cmps"]["group_pet"] == {"p": "binary_sensor"}
    assert to_platforms(after).keys() == before.keys() | {"group_bird"}
    again = to_discovery(HOME, gone=to_platforms(after))
    assert again["cmps"]["label_person"]["uniq_id"] == f"edged_{HOME.device_id}_label_person"
    assert again["cmps"]["group_bird"] == {"p": "binary_sensor"}


def test_the_identity_does_not_follow_the_name():
    renamed = to_discovery(replace(HOME, name="Back door", base="edged/back"))
    assert renamed["dev"]["ids"] == to_discovery(HOME)["dev"]["ids"]
    assert {one["uniq_id"] for one in renamed["cmps"].values()} == {one["uniq_id"] for one in to_discovery(HOME)["cmps"].values()}
    assert "edged/door" not in json.dumps(renamed)


def test_a_long_list_of_labels_is_plain_text():
    label = to_discovery(replace(HOME, labels=[f"label {n}" for n in range(MOST_OPTIONS + 1)]))["cmps"]["label"]
    assert "ops" not in label
    assert "dev_cla" not in label


def test_home_assistants_own_words_are_not_ours():
    ops = to_discovery(HOME)["cmps"]["label"]["ops"]
    assert ops == ["none", "unclear", "person", "cat", "dog"]
    assert to_option("person") == "person"


def edited(change):
    payload = copy.deepcopy(to_discovery(HOME))
    change(payload)
    return payload


def drop(*path):
    def change(payload):
        for step in path[:-1]:
            payload = payload[step]
        del payload[path[-1]]

    return change


def put(*path, to):
    def change(payload):
        for step in path[:-1]:
            payload = payload[step]
        payload[path[-1]] = to

    return change


# name → the fault, and whether Home Assistant's own schemas are enough to find it
PLANTED = {
    "no device": (drop("dev"), True),
    "a device without identity": (put("dev", "ids", to=[]), True),
    "no origin": (drop("o"), True),
    "an origin without a name": (drop("o", "name"), True),
    "an unknown key at the root": (put("more", to=1), True),
    "an unknown key of the device": (put("dev", "colour", to="red"), True),
    "a page that is no address": (put("dev", "cu", to="door.local"), True),
    "a topic base at the root": (put("~", to="edged/door"), True),
    "no components": (put("cmps", to={}), False),
    "an entity without identity": (drop("cmps", "label", "uniq_id"), True),
    "an entity without platform": (drop("cmps", "label", "p"), True),
    "an unknown platform": (put("cmps", "label", "p", to="sensors"), True),
    "an unknown key of an entity": (put("cmps", "label", "option", to=["a"]), False),
    "an enum without options": (drop("cmps", "label", "ops"), False),
    "options without an enum": (drop("cmps", "label", "dev_cla"), True),
    "a select without options": (drop("cmps", "model", "ops"), True),
    "an unknown device class": (put("cmps", "temperature", "dev_cla", to="heat"), True),
    "a unit of another class": (put("cmps", "temperature", "unit_of_meas", to="mm"), True),
    "an unknown state class": (put("cmps", "fps", "stat_cla", to="rising"), True),
    "a template that does not end": (put("cmps", "fps", "val_tpl", to="{{ value_json.fps"), True),
    "a template of a field that is not there": (put("cmps", "dropped", "val_tpl", to="{{ value_json.nothing.more }}"), True),
    "an event without types": (put("cmps", "event", "evt_typ", to=[]), False),
    "an image without topic": (drop("cmps", "snapshot", "img_t"), True),
    "a switch without command": (drop("cmps", "looking", "cmd_t"), True),
    "a command with a wildcard": (put("cmps", "looking", "cmd_t", to="edged/+/control"), True),
    "two entities of one identity": (put("cmps", "fps", "uniq_id", to=f"edged_{HOME.device_id}_label"), False),
    "late events that look like now": (put("cmps", "event", "stat_t", to="edged/door/backlog"), False),
    "attributes that fill the recorder": (drop("cmps", "camera", "json_attr_tpl"), False),
    "an expiry before the next message": (put("cmps", "label", "exp_aft", to=5), False),
    "diagnostics that hide with the camera": (put("cmps", "fps", "avty", to=[{"t": "edged/door/camera"}]), False),
    "Home Assistant's own word": (put("cmps", "label", "ops", 1, to="unknown"), False),
}


@pytest.mark.parametrize("name", [name for name, (_, theirs) in PLANTED.items() if not theirs])
def test_our_own_list_rejects(name):
    assert faults_of(edited(PLANTED[name][0])), name


@needs_homeassistant
def test_planted_faults_are_rejected_and_ours_are_those_that_its_schemas_miss():
    payloads = {name: edited(change) for name, (change, _) in PLANTED.items()}
    theirs = dict(zip(payloads, asked(*map(question, payloads.values())), strict=True))
    missed = [name for name, (_, by_them) in PLANTED.items() if by_them and not theirs[name]]
    assert not missed
    assert len(PLANTED) >= 15
    unseen = [name for name in PLANTED if not theirs[name]]
    assert {"no components", "an unknown key of an entity", "an enum without options"} <= set(unseen)
    assert all(faults_of(payloads[name]) for name in unseen)


@needs_homeassistant
def test_a_topic_that_it_does_not_listen_to_is_rejected():
    assert asked(question(to_discovery(HOME), topic="homeassistant/device/edged door/config")) != [[]]
