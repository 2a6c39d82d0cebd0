"""What Home Assistant's schemas let pass and we don't: unknown keys, an empty list of components, an enum without options."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

_ROOT = {"dev", "o", "avty", "cmps"}
_DEVICE = {"ids", "name", "mf", "mdl", "sw", "cu"}
_ALL = {"p", "name", "uniq_id", "avty", "avty_mode", "ent_cat", "en", "ic"}
_SHOWS = _ALL | {"stat_t", "val_tpl", "dev_cla"}
_KEYS = {
    "sensor": _SHOWS | {"ops", "unit_of_meas", "stat_cla", "exp_aft", "json_attr_t", "json_attr_tpl"},
    "binary_sensor": _SHOWS | {"exp_aft"},
    "event": _ALL | {"stat_t", "evt_typ", "qos"},
    "select": _ALL | {"stat_t", "val_tpl", "cmd_t", "ops", "qos"},
    "switch": _ALL | {"stat_t", "val_tpl", "stat_on", "stat_off", "cmd_t", "pl_on", "pl_off", "qos"},
    "image": _ALL | {"img_t", "cont_type"},
    "button": _ALL | {"cmd_t", "pl_prs", "qos"},
}
_NEEDS = {
    "sensor": {"stat_t", "val_tpl"},
    "binary_sensor": {"stat_t", "val_tpl"},
    "event": {"stat_t", "evt_typ"},
    "select": {"stat_t", "val_tpl", "cmd_t", "ops"},
    "switch": {"stat_t", "val_tpl", "cmd_t", "pl_on", "pl_off"},
    "image": {"img_t", "cont_type"},
    "button": {"cmd_t", "pl_prs"},
}
_DIAGNOSTIC_TOPICS = ("/health", "/camera")
_LEAST_S = {"/state": 30, "/health": 90}


def faults_of(payload: dict[str, Any]) -> list[str]:
    """Every fault of a discovery message by our own list; empty: none."""
    return [*_root(payload), *(fault for key, one in payload.get("cmps", {}).items() for fault in _component(key, one))]


def _root(payload: dict[str, Any]) -> Iterator[str]:
    yield from (f"{key}: no key of a message" for key in payload.keys() - _ROOT)
    yield from (f"{key} is missing" for key in _ROOT - payload.keys())
    device = payload.get("dev", {})
    yield from (f"dev.{key}: no key of ours" for key in device.keys() - _DEVICE)
    if not device.get("ids"):
        yield "dev.ids is empty"
    if not payload.get("cmps"):
        yield "there are no components"
    named = Counter(one["uniq_id"] for one in payload.get("cmps", {}).values() if "uniq_id" in one)
    yield from (f"{name} is the identity of {count} entities" for name, count in named.items() if count > 1)


def _component(key: str, one: dict[str, Any]) -> Iterator[str]:
    platform = one.get("p")
    if platform not in _KEYS:
        yield f"{key}: {platform} is no platform of ours"
        return
    if one.keys() == {"p"}:
        return  # a tombstone
    yield from (f"{key}: {name} is no key of a {platform}" for name in one.keys() - _KEYS[platform])
    yield from (f"{key}: {name} is missing" for name in (_NEEDS[platform] | {"uniq_id", "name"}) - one.keys())
    yield from (f"{key}: {name} is empty" for name in ("ops", "evt_typ") if name in one and not one[name])
    if one.get("dev_cla") == "enum" and not one.get("ops"):
        yield f"{key}: an enum without options"
    if "unknown" in one.get("ops", ()):
        yield f"{key}: unknown is Home Assistant's own word"
    topic = one.get("stat_t", "")
    if topic.endswith("/backlog"):
        yield f"{key}: a late event would look like now"
    if "json_attr_t" in one and "json_attr_tpl" not in one:
        yield f"{key}: every message would be a row of the recorder"
    for end, least_s in _LEAST_S.items():
        if topic.endswith(end) and "exp_aft" in one and one["exp_aft"] < least_s:
            yield f"{key}: it would expire between two messages"
    if platform in ("sensor", "binary_sensor") and topic.endswith(_DIAGNOSTIC_TOPICS) and "avty" in one:
        yield f"{key}: a diagnostic that hides while the camera is lost"
    if platform in ("select", "switch", "button") and one.get("qos") != 1:
        yield f"{key}: a command that may be lost"
