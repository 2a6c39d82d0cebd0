"""What Home Assistant is told so that everything appears there by itself: one retained device-discovery message. Pure.

https://www.home-assistant.io/integrations/mqtt/#device-discovery-payload
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

from edged.delivery.messages import CameraState

Component = dict[str, Any]

MOST_OPTIONS = 200  # more labels than this, and the label is plain text there: the list would be larger than all the rest
_STATE_S, _HEALTH_S = 30, 90  # without news for so long a value is unknown there
# what Home Assistant itself means by these words is not what we mean
_RESERVED = {"unknown": "unclear", "unavailable": "label unavailable", "None": "label None"}
_CAMERA_STATES = get_args(CameraState.model_fields["state"].annotation)


@dataclass(frozen=True, slots=True)
class Announced:
    """What the entities are made of. labels: of the running model; own: those with a binary sensor of their own;
    ignored: those that never become the label.

    base: `<prefix>/<device>`; wishes: what `model/set` takes; snapshots: "control", "event"; page: an http(s) address or nothing.
    """

    device_id: str
    base: str
    name: str
    board: str
    version: str
    labels: Sequence[str]
    groups: Sequence[str]
    own: Sequence[str]
    wishes: Sequence[str]
    snapshots: Sequence[str] = ()
    page: str = ""
    ignored: Sequence[str] = ()


def to_topic(discovery_prefix: str, device_id: str) -> str:
    """Where the message belongs. It holds nothing that a person may rename."""
    return f"{discovery_prefix}/device/edged_{device_id}/config"


def to_discovery(what: Announced, gone: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The message. gone: components of earlier messages and their platforms; those that are no more are taken away there."""
    components = _presence(what) | _controls(what) | _diagnostics(what)
    for key, component in components.items():
        component["uniq_id"] = f"edged_{what.device_id}_{key}"
    device = {"ids": [f"edged_{what.device_id}"], "name": what.name, "mf": "edged", "mdl": what.board, "sw": what.version}
    if what.page:
        device["cu"] = what.page
    tombstones = {key: {"p": platform} for key, platform in (gone or {}).items() if key not in components}
    return {
        "dev": device,
        "o": {"name": "edged", "sw": what.version},
        "avty": [{"t": f"{what.base}/status"}],
        "cmps": components | tombstones,
    }


def to_platforms(message: Mapping[str, Any]) -> dict[str, str]:
    """The components of a message and their platforms, those that are to go included: what a later message must know."""
    return {key: component["p"] for key, component in message["cmps"].items()}


def to_bytes(message: Mapping[str, Any]) -> bytes:
    return json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode()


def to_option(label: str) -> str:
    """A label in Home Assistant's words: `unknown` is its own word for "no value"."""
    return _RESERVED.get(label, label)


def _presence(what: Announced) -> dict[str, Component]:
    """What is seen. Only while the camera works: a blind camera that says "nobody is here" would be a lie."""
    state = f"{what.base}/state"
    seeing = {
        "avty": [
            {"t": f"{what.base}/status"},
            {"t": f"{what.base}/camera", "val_tpl": "{{ 'online' if value_json.state == 'ok' else 'offline' }}"},
        ],
        "avty_mode": "all",
    }
    shown = ("none", "unknown", *(label for label in what.labels if label not in what.ignored))
    options = list(dict.fromkeys(map(to_option, shown)))
    reserved = ", ".join(f"{_quoted(word)}: {_quoted(option)}" for word, option in _RESERVED.items())
    label: Component = {
        "p": "sensor",
        "name": "Label",
        "stat_t": state,
        "val_tpl": f"{{{{ {{{reserved}}}.get(value_json.label, value_json.label) }}}}",
        "exp_aft": _STATE_S,
        "ic": "mdi:eye",
    }
    if len(options) <= MOST_OPTIONS:
        label |= {"dev_cla": "enum", "ops": options}
    found: dict[str, Component] = {
        "label": label | seeing,
        "score": {
            "p": "sensor",
            "name": "Score",
            "stat_t": state,
            "val_tpl": "{{ (value_json.score * 100) | round(0) }}",
            "unit_of_meas": "%",
            "stat_cla": "measurement",
            "exp_aft": _STATE_S,
            "ent_cat": "diagnostic",
            "en": False,  # a row of the recorder every few seconds: whoever wants it switches it on
            "ic": "mdi:percent",
        }
        | seeing,
        "event": {
            "p": "event",
            "name": "Entered or left",
            "stat_t": f"{what.base}/event",
            "evt_typ": ["entered", "left"],
            "qos": 1,
            "ic": "mdi:swap-horizontal",
        },
    }
    for name in what.groups:
        on = f"value_json.groups.get({_quoted(name)}, false)"
        found[_to_key("group", name)] = _presence_of(name, state, on) | seeing
    for name in what.own:
        found[_to_key("label", name)] = _presence_of(name, state, f"value_json.label == {_quoted(name)}") | seeing
    return found


def _presence_of(name: str, topic: str, condition: str) -> Component:
    return {
        "p": "binary_sensor",
        "name": name,
        "stat_t": topic,
        "val_tpl": f"{{{{ 'ON' if {condition} else 'OFF' }}}}",
        "dev_cla": "occupancy",
        "exp_aft": _STATE_S,
    }


def _controls(what: Announced) -> dict[str, Component]:
    control = f"{what.base}/control"
    wishes = f"[{', '.join(map(_quoted, what.wishes))}]"
    found: dict[str, Component] = {
        "model": {
            "p": "select",
            "name": "Model",
            "stat_t": f"{what.base}/model",
            # a word that is no option is an error there, and the old one stays; None is "no value"
            "val_tpl": f"{{{{ value_json.wish if value_json.wish in {wishes} else None }}}}",
            "cmd_t": f"{what.base}/model/set",
            "ops": list(what.wishes),
            "qos": 1,
            "ent_cat": "config",
            "ic": "mdi:brain",
        },
        "looking": {
            "p": "switch",
            "name": "Looking",
            "stat_t": f"{what.base}/state",
            "val_tpl": "{{ 'OFF' if value_json.paused else 'ON' }}",
            "stat_on": "ON",
            "stat_off": "OFF",
            "cmd_t": control,
            "pl_on": '{"action": "resume"}',
            "pl_off": '{"action": "pause"}',
            "qos": 1,
            "ent_cat": "config",
            "ic": "mdi:cctv",
        },
    }
    if what.snapshots:
        found["snapshot"] = {
            "p": "image",
            "name": "Snapshot",
            "img_t": f"{what.base}/snapshot",
            "cont_type": "image/jpeg",
        }
    if "control" in what.snapshots:
        found["take_snapshot"] = {
            "p": "button",
            "name": "Take a snapshot",
            "cmd_t": control,
            "pl_prs": '{"action": "snapshot"}',
            "qos": 1,
            "ent_cat": "config",
            "ic": "mdi:camera",
        }
    return found


def _diagnostics(what: Announced) -> dict[str, Component]:
    """How it goes. They stay readable while the camera is lost: that is when somebody looks at them."""
    health = f"{what.base}/health"

    def figure(name: str, template: str, unit: str = "", **more: Any) -> Component:
        measured: Component = {"unit_of_meas": unit} if unit else {}
        return {
            "p": "sensor",
            "name": name,
            "stat_t": health,
            "val_tpl": f"{{{{ {template} }}}}",
            **measured,
            "stat_cla": "measurement",
            "exp_aft": _HEALTH_S,
            "ent_cat": "diagnostic",
            **more,
        }

    rising = {"stat_cla": "total_increasing"}
    return {
        "camera": {
            "p": "sensor",
            "name": "Camera",
            "stat_t": f"{what.base}/camera",
            "val_tpl": "{{ value_json.state }}",
            "dev_cla": "enum",
            "ops": list(_CAMERA_STATES),
            "json_attr_t": f"{what.base}/camera",
            "json_attr_tpl": "{{ {'fault': value_json.fault, 'reason': value_json.reason} | tojson }}",
            "ent_cat": "diagnostic",
            "ic": "mdi:webcam",
        },
        "fps": figure("Speed", "value_json.fps", "Hz", dev_cla="frequency", ic="mdi:speedometer"),
        "latency_p95": figure("Latency p95", "value_json.latency_p95_ms", "ms", dev_cla="duration", ic="mdi:timer"),
        "temperature": figure("Temperature", "value_json.temperature_c", "°C", dev_cla="temperature"),
        "memory": figure("Memory", "value_json.memory_mb + value_json.vision_memory_mb", "MB", dev_cla="data_size"),
        "waiting": figure("Waiting events", "value_json.events.queued", ic="mdi:tray-full"),
        "waiting_age": figure("Oldest waiting event", "value_json.waiting_oldest_s", "s", dev_cla="duration"),
        "dropped": figure("Dropped events", "value_json.events.dropped.values() | sum", ic="mdi:tray-remove", **rising),
        "restarts": figure("Vision restarts", "value_json.vision_restarts", ic="mdi:restart", **rising),
        "faults": figure(
            "Faults",
            "value_json.degraded | count",
            ic="mdi:alert",
            json_attr_t=health,
            json_attr_tpl="{{ {'faults': value_json.degraded} | tojson }}",
        ),
        "throttled": {
            "p": "binary_sensor",
            "name": "Throttled",
            "stat_t": health,
            "val_tpl": "{{ 'ON' if value_json.throttled else 'OFF' }}",
            "dev_cla": "problem",
            "exp_aft": _HEALTH_S,
            "ent_cat": "diagnostic",
        },
    }


def _to_key(kind: str, name: str) -> str:
    """A name as a part of an identity: `[a-z0-9_]` only, and never the same for two names."""
    plain = re.sub(r"[^a-z0-9]", "_", name.lower())
    return f"{kind}_{plain}" if plain == name else f"{kind}_{plain}_{hashlib.sha256(name.encode()).hexdigest()[:6]}"


def _quoted(text: str) -> str:
    """A string of a template."""
    return json.dumps(text, ensure_ascii=False)
