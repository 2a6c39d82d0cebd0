"""The contract in one table, and what is made of it: the schemas, the AsyncAPI document and the tables of mqtt.md.

What a payload holds comes from the classes that the daemon sends (edged/delivery/messages.py); what a schema can't say,
QoS, retained, how often and what for, stands here. The end-to-end test of the contract compares it with what is sent.
"""

import copy
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edged.delivery.messages import BODIES, QOS, SCHEMA, to_schema

HERE = Path(__file__).parent
EXAMPLES = HERE / "examples" / "messages.json"
FROZEN = HERE / "schemas" / "edged-1"
_DRAFT = "https://json-schema.org/draft/2020-12/schema"

Schema = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Topic:
    """name: below <prefix>/<device>. sent: by edged; else edged listens. payload: what stands in AsyncAPI as content type."""

    name: str
    summary: str
    rate: str
    retained: bool = False
    sent: bool = True
    payload: str = "application/json"

    @property
    def qos(self) -> int:
        return QOS.get(self.name, 1)

    @property
    def schema_names(self) -> list[str]:
        """File names in docs/schemas without `.json`; none for plain text and pictures."""
        return [name for name, topic, _ in named_bodies() if topic == self.name] or (["control"] if self.name == "control" else [])


_TEXT = "text/plain"
TOPICS = (
    Topic("status", "Whether the daemon is connected: `online` or `offline`.", "at a change", True, payload=_TEXT),
    Topic("label", "What is seen now: one of the model's labels, `none` or `unknown`.", "at a change", True, payload=_TEXT),
    Topic("state", "The same with its score, the groups, and until when it holds.", "at a change, else every 5 s", True),
    Topic("event", "A label was entered or left. Stored until the broker acknowledged it.", "at a change"),
    Topic("backlog", "Events that are more than 60 s old when they are sent, and gaps.", "at most `outbox.backlog_per_s`"),
    Topic("result", "One classification, as it comes, before any decision.", "at most `mqtt.result_fps`"),
    Topic("camera", "How the camera is.", "at a change", True),
    Topic("info", "Who this is: versions, board, labels, and what may be asked of it.", "at a change", True),
    Topic("model", "Which model runs, and how and why it was chosen.", "at a change", True),
    Topic("health", "Counters and gauges, and what does not work as it should.", "every 30 s", True),
    Topic("snapshot", "A JPEG, only when it is asked for or enabled.", "when asked, or with events", payload="image/jpeg"),
    Topic("control", "Pause, resume, or take a snapshot.", "at most 5 a second, 20 at once", sent=False),
    Topic("model/set", "Another model: a name, `auto`, `@profile` or `@file`.", "the newest counts", sent=False, payload=_TEXT),
    Topic("control/error", "A command was refused, or came too fast.", "at most one a second"),
    Topic("model/error", "Why a wished model does not run.", "for each refusal"),
)

ACTIONS = ("pause", "resume", "snapshot")
TEXTS: dict[str, Schema] = {
    "status": {"enum": ["online", "offline"]},
    "label": {"type": "string", "minLength": 1, "examples": ["person", "none", "unknown"]},
    "model/set": {"type": "string", "maxLength": 200, "examples": ["auto", "home_0.5_160", "@night", "@file"]},
    "snapshot": {"type": "string", "format": "binary"},
}
_CONTROL: Schema = {
    "title": "Control",
    "description": "At most 4096 bytes; unknown keys are refused.",
    "type": "object",
    "properties": {"action": {"enum": list(ACTIONS)}},
    "required": ["action"],
    "additionalProperties": False,
    "examples": [{"action": "pause"}],
}


def named_bodies() -> Iterator[tuple[str, str, Any]]:
    """Schema name, topic, class."""
    for topic, bodies in BODIES.items():
        for body in bodies:
            more = "" if len(bodies) == 1 else f"-{body.__name__.lower()}"
            yield topic.replace("/", "-") + more, topic, body


def load_examples() -> dict[str, Any]:
    """Schema name → a message of a real run."""
    return json.loads(EXAMPLES.read_text()) if EXAMPLES.is_file() else {}


def strict_schemas() -> dict[str, Schema]:
    """Schema name → what this version of edged sends, to the letter: for our tests, and for nobody else."""
    found = {name: to_schema(body) for name, _, body in named_bodies()} | {"control": copy.deepcopy(_CONTROL)}
    return {name: {"$schema": _DRAFT, "$id": f"urn:edged:1:strict:{name}", **schema} for name, schema in found.items()}


def tolerant_schemas() -> dict[str, Schema]:
    """Schema name → what every version of the contract edged/1 sends, this one and later ones: fields and words may be added.

    Known words stand in an `enum` beside the type: a program finds them, and a new one is no fault.
    """
    examples = load_examples()
    found = {}
    for name, schema in strict_schemas().items():
        opened = schema if name == "control" else _open(schema)
        opened |= {"$id": f"urn:edged:1:{name}"} | ({"examples": [examples[name]]} if name in examples else {})
        found[name] = opened
    return found


def _open(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_open(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    opened = {key: _open(one) for key, one in schema.items() if not (key == "additionalProperties" and one is False)}
    if "enum" in opened:
        opened["anyOf"] = [{"enum": opened.pop("enum")}, {"type": opened.pop("type", "string")}]
    return opened


def topics_table() -> dict[str, dict[str, Any]]:
    """What is promised of each topic besides its payload."""
    return {
        one.name: {"sent": one.sent, "qos": one.qos, "retained": one.retained, "payload": one.payload, "schemas": one.schema_names}
        for one in TOPICS
    }


def asyncapi() -> dict[str, Any]:
    """AsyncAPI 3.0, seen from edged: it sends and receives."""
    schemas = tolerant_schemas()
    channels: dict[str, Any] = {}
    operations: dict[str, Any] = {}
    messages: dict[str, Any] = {}
    for one in TOPICS:
        key = one.name.replace("/", "-")
        names = one.schema_names or [key]
        for name in names:
            payload = {"$ref": f"#/components/schemas/{name}"} if one.schema_names else TEXTS[one.name]
            messages[name] = {"name": name, "title": one.summary, "contentType": one.payload, "payload": payload}
        channels[key] = {
            "address": f"{{prefix}}/{{device}}/{one.name}",
            "description": one.summary,
            "parameters": {name: {"$ref": f"#/components/parameters/{name}"} for name in ("prefix", "device")},
            "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in names},
        }
        operations[key] = {
            "action": "send" if one.sent else "receive",
            "channel": {"$ref": f"#/channels/{key}"},
            "summary": one.summary,
            "messages": [{"$ref": f"#/channels/{key}/messages/{name}"} for name in names],
            "bindings": {"mqtt": {"qos": one.qos, "retain": one.retained, "bindingVersion": "0.2.0"}},
        }
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "edged",
            "version": SCHEMA.removeprefix("edged/"),
            "description": "What a camera sees, over MQTT. The page for people is mqtt.md.",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "servers": {
            "broker": {
                "host": "localhost:1883",
                "protocol": "mqtt",
                "description": "mqtt.host and mqtt.port of the config",
                "bindings": {
                    "mqtt": {
                        "lastWill": {"topic": "edged/{device}/status", "qos": 1, "message": "offline", "retain": True},
                        "bindingVersion": "0.2.0",
                    }
                },
            }
        },
        "channels": channels,
        "operations": operations,
        "components": {
            "schemas": {name: _within(name, schema) for name, schema in schemas.items()},
            "messages": messages,
            "parameters": {
                "prefix": {"description": "mqtt.prefix of the config", "default": "edged"},
                "device": {"description": "device of the config; without it the host name"},
            },
        },
    }


def _within(name: str, schema: Any) -> Any:
    """A schema as a part of a larger document: its references begin at the document's root."""
    if isinstance(schema, list):
        return [_within(name, one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    moved = {key: _within(name, one) for key, one in schema.items() if key not in ("$schema", "$id")}
    if isinstance(moved.get("$ref"), str):
        moved["$ref"] = moved["$ref"].replace("#/$defs/", f"#/components/schemas/{name}/$defs/")
    return moved


# the parts of mqtt.md


def table_of_topics() -> str:
    rows = ["| topic | direction | QoS | retained | how often | what |", "|---|---|---|---|---|---|"]
    for one in TOPICS:
        direction, retained = "from edged" if one.sent else "to edged", "yes" if one.retained else "no"
        rows.append(f"| [`{one.name}`](#{_anchor(one.name)}) | {direction} | {one.qos} | {retained} | {one.rate} | {one.summary} |")
    return "\n".join(rows) + "\n"


def _anchor(topic: str) -> str:
    return topic.replace("/", "")


def chapters() -> str:
    """One for each topic: what it is, its fields, an example of a real run."""
    schemas, examples = tolerant_schemas(), load_examples()
    parts = []
    for one in TOPICS:
        direction = "from edged" if one.sent else "to edged"
        retained = "retained" if one.retained else "not retained"
        parts.append(f"### {one.name}\n\n{one.summary} {direction.capitalize()}, QoS {one.qos}, {retained}; {one.rate}.\n")
        if one.name in TEXTS:
            parts.append(_text_chapter(one))
        for name in one.schema_names:
            title = f"`{name}`: " if len(one.schema_names) > 1 else ""
            parts.append(f"{title}[schemas/{name}.json](schemas/{name}.json)\n\n{_fields(schemas[name])}")
            example = examples.get(name) or next(iter(schemas[name].get("examples", [])), None)
            if example is not None:
                parts.append(f"```json\n{json.dumps(example, ensure_ascii=False, indent=1)}\n```\n")
    return "\n".join(parts)


def _text_chapter(one: Topic) -> str:
    what = {
        "status": "Plain text. The last will is `offline`, retained: the broker says it when the daemon is gone.",
        "label": "Plain text. Read it together with `status`: after a kill or a power cut the last label stays.",
        "model/set": "Plain text, UTF-8, at most 200 bytes; never a path. `info.wishes` lists what may be said.",
        "snapshot": "The bytes of a JPEG. With MQTT 5: content type `image/jpeg` and the user properties of [Pictures](#pictures).",
    }
    return f"{what[one.name]}\n"


def _fields(schema: Schema) -> str:
    rows = ["| field | type | what |", "|---|---|---|"]
    stamp = ("schema", "id", "boot", "seq", "time", "clock_synced")
    properties = schema["properties"]
    rows += [row for name in properties if name not in stamp for row in _rows(name, properties[name], schema.get("$defs", {}))]
    more = "\nand [the stamp](#the-stamp).\n" if "seq" in properties else ""
    return "\n".join(rows) + "\n" + more


def _rows(name: str, schema: Schema, defs: dict[str, Schema]) -> Iterator[str]:
    said = _type(schema, defs)
    yield f"| `{name}` | {said} | {schema.get('description', '')} |"
    for inner in (schema, schema.get("items", {}), *schema.get("anyOf", [])):
        whole = defs[inner["$ref"].rpartition("/")[2]] if "$ref" in inner else inner
        mark = "[]" if inner is schema.get("items") else ""
        for key, one in whole.get("properties", {}).items():
            yield from _rows(f"{name}{mark}.{key}", one, defs)


def _type(schema: Schema, defs: dict[str, Schema]) -> str:
    if "const" in schema:
        return f"`{json.dumps(schema['const'])}`"
    if "enum" in schema:
        return ", ".join(f"`{word}`" for word in schema["enum"] if word != "")
    if "$ref" in schema:
        return "object"
    if "anyOf" in schema:
        kinds = schema["anyOf"]
        known = [one for one in kinds if "enum" in one]
        return ", ".join(_type(one, defs) for one in known) if known else " or ".join(_type(one, defs) for one in kinds)
    if schema.get("type") == "array":
        return f"array of {_type(schema['items'], defs)}"
    if schema.get("type") == "object" and isinstance(schema.get("additionalProperties"), dict):
        return f"object: name → {_type(schema['additionalProperties'], defs)}"
    return str(schema.get("type", "any"))


def stamp_fields() -> str:
    """The fields that every JSON payload has."""
    schema = tolerant_schemas()["camera"]
    rows = ["| field | type | what |", "|---|---|---|"]
    for name in ("schema", "id", "boot", "seq", "time", "clock_synced"):
        rows += _rows(name, schema["properties"][name], {})
    return "\n".join(rows) + "\n"
