"""What is promised within edged/1: the documents are those of the code, and the frozen copy holds."""

import copy
import json
import os
import sys
from pathlib import Path

import jsonschema
import pytest

DOCS = Path(__file__).resolve().parents[3] / "docs"
sys.path.insert(0, str(DOCS))

import breaking  # noqa: E402
import contract  # noqa: E402
import write_schemas  # noqa: E402

NODE = Path(os.environ.get("EDGED_BEDS", "/var/tmp/edged-beds"), "node-red")
EXAMPLES = contract.load_examples()


def test_what_is_made_of_the_code_is_what_lies_in_docs():
    for name, content in write_schemas.written().items():
        assert (DOCS / name).read_text() == content, f"docs/{name} is old: make docs"
    for folder in ("schemas", "schemas/strict"):
        lies = {f"{folder}/{path.name}" for path in (DOCS / folder).glob("*.json")}
        assert lies <= write_schemas.written().keys(), f"docs/{folder} holds what no code makes"


def frozen():
    return {path.name: json.loads(path.read_text()) for path in contract.FROZEN.glob("*.json")}


def now():
    return {name: json.loads(content) for name, content in write_schemas.frozen().items()}


def test_nothing_breaks_a_subscriber_of_what_was_promised():
    assert frozen()
    assert breaking.breaks(frozen(), now()) == []


def change(path, make):
    """A contract of tomorrow: `make` gets the object in which the last step stands, and the step."""

    def changed(folder):
        inside = folder
        for step in path[:-1]:
            inside = inside[step]
        make(inside, path[-1])
        return folder

    return changed


def delete(inside, key):
    if isinstance(inside, list):
        inside.remove(key)
    else:
        del inside[key]


def to(value):
    def put(inside, key):
        inside[key] = value

    return put


def add(value):
    def append(inside, key):
        inside[key] = [*inside[key], value]

    return append


BREAKING = {
    "a topic is gone": change(["topics.json", "camera"], delete),
    "a topic is not retained any more": change(["topics.json", "state", "retained"], to(False)),
    "a topic begins to be retained": change(["topics.json", "event", "retained"], to(True)),
    "QoS falls": change(["topics.json", "event", "qos"], to(0)),
    "another content type": change(["topics.json", "label", "payload"], to("application/json")),
    "a topic turns round": change(["topics.json", "model/set", "sent"], to(True)),
    "a message is gone": change(["backlog-gap.json"], delete),
    "a field is gone": change(["event.json", "properties", "duration_s"], delete),
    "a field of an object is gone": change(["result.json", "$defs", "Seen", "properties", "age_ms"], delete),
    "a field may be missing": change(["event.json", "required", "label"], delete),
    "a field of an object may be missing": change(["health.json", "$defs", "Frames", "required", "stale"], delete),
    "another type": change(["state.json", "properties", "score", "type"], to("string")),
    "an integer becomes a number": change(["event.json", "properties", "seq", "type"], to("number")),
    "null where there was a value": change(
        ["health.json", "properties", "fps"], to({"anyOf": [{"type": "number"}, {"type": "null"}]})
    ),
    "a list of something else": change(["health.json", "properties", "degraded", "items", "type"], to("object")),
    "values of something else": change(["state.json", "properties", "groups", "additionalProperties", "type"], to("number")),
    "a word is gone": change(["camera.json", "properties", "state", "enum", "frozen"], delete),
    "a reason is gone": change(["backlog-gap.json", "properties", "reason", "enum", "expired"], delete),
    "another version": change(["event.json", "properties", "schema", "const"], to("edged/2")),
    "a limit falls": change(["event.json", "properties", "duration_s", "minimum"], to(-1)),
    "a limit is gone": change(["event.json", "properties", "seq", "minimum"], delete),
    "another pattern": change(["event.json", "properties", "boot", "pattern"], to("^[0-9a-z]+$")),
    "a command is refused": change(["control.json", "properties", "action", "enum", "resume"], delete),
    "a command wants more": change(["control.json", "required"], add("user")),
}
HARMLESS = {
    "a field": change(["event.json", "properties", "zone"], to({"type": "string"})),
    "a field that is always there": change(["event.json", "required"], add("zone")),
    "a word": change(["camera.json", "properties", "state", "enum"], add("asleep")),
    "an action": change(["control.json", "properties", "action", "enum"], add("blink")),
    "a topic": change(
        ["topics.json", "zone"], to({"sent": True, "qos": 0, "retained": False, "payload": "text/plain", "schemas": []})
    ),
    "a message": change(["zone.json"], to({"type": "object", "properties": {}})),
    "null is given up": change(["health.json", "properties", "temperature_c"], to({"type": "number"})),
    "another sentence": change(["event.json", "properties", "reason", "description"], to("other words")),
    "QoS rises": change(["topics.json", "health", "qos"], to(1)),
    "a limit rises": change(["event.json", "properties", "seq", "minimum"], to(2)),
}


@pytest.mark.parametrize("name", BREAKING)
def test_a_planted_break_is_found(name):
    assert breaking.breaks(now(), BREAKING[name](now())), name


@pytest.mark.parametrize("name", HARMLESS)
def test_what_may_be_added_is_no_break(name):
    assert breaking.breaks(now(), HARMLESS[name](now())) == [], name


def validator(schemas, name):
    jsonschema.Draft202012Validator.check_schema(schemas[name])
    return jsonschema.Draft202012Validator(schemas[name])


def test_there_is_an_example_of_every_message():
    assert EXAMPLES.keys() == contract.tolerant_schemas().keys() - {"control"}


@pytest.mark.parametrize("name", EXAMPLES)
def test_examples_fit_both_sets(name):
    validator(contract.strict_schemas(), name).validate(EXAMPLES[name])
    validator(contract.tolerant_schemas(), name).validate(EXAMPLES[name])


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_published_set_bears_what_may_be_added_and_nothing_else(name):
    strict, tolerant = (validator(made(), name) for made in (contract.strict_schemas, contract.tolerant_schemas))
    more = EXAMPLES[name] | {"added_later": 1}
    assert not strict.is_valid(more)
    tolerant.validate(more)
    for key, value in EXAMPLES[name].items():
        wrong = EXAMPLES[name] | {key: "a string"} if not isinstance(value, str) else EXAMPLES[name] | {key: 1}
        assert not tolerant.is_valid(wrong), key
        if key != "schema":
            assert not tolerant.is_valid({k: v for k, v in EXAMPLES[name].items() if k != key}), key


def test_a_new_word_is_no_fault_in_the_published_set():
    camera = EXAMPLES["camera"] | {"state": "asleep"}
    assert not validator(contract.strict_schemas(), "camera").is_valid(camera)
    validator(contract.tolerant_schemas(), "camera").validate(camera)


def references(value):
    if isinstance(value, dict):
        yield from ([value["$ref"]] if isinstance(value.get("$ref"), str) else [])
        value = list(value.values())
    for one in value if isinstance(value, list) else ():
        yield from references(one)


def test_every_reference_of_the_asyncapi_document_leads_somewhere():
    document = contract.asyncapi()
    assert document["channels"].keys() == document["operations"].keys() == {one.name.replace("/", "-") for one in contract.TOPICS}
    for reference in references(document):
        inside = document
        for step in reference.removeprefix("#/").split("/"):
            inside = inside[step]


@pytest.mark.skipif(not (NODE / "built").is_file(), reason=f"no AsyncAPI schemas in {NODE}; `make bed-node-red` builds it")
def test_the_asyncapi_document_is_one():
    schema = json.loads((NODE / "node_modules/@asyncapi/specs/schemas/3.0.0.json").read_text())
    jsonschema.Draft7Validator(schema).validate(contract.asyncapi())
    wrong = copy.deepcopy(contract.asyncapi())
    wrong["operations"]["event"]["action"] = "publish"
    assert not jsonschema.Draft7Validator(schema).is_valid(wrong)
