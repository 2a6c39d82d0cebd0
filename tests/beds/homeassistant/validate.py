"""Holds discovery messages against Home Assistant's own schemas, and renders their templates; run by its Python.

VENV/bin/python validate.py < LIST > LIST      [{"topic": …, "payload": {…}, "states": {topic: text}}] → [[what is wrong]]
"""

import asyncio
import importlib
import json
import sys
import tempfile
from typing import Any

import voluptuous as vol
from homeassistant.components.mqtt import discovery
from homeassistant.core import HomeAssistant
from homeassistant.exceptions import HomeAssistantError
from homeassistant.helpers import frame
from homeassistant.helpers.template import Template

_FAILED = "it failed"
_TEMPLATES = {"value_template": "state_topic", "json_attributes_template": "json_attributes_topic"}


def faults_of(hass: HomeAssistant, topic: str, payload: dict[str, Any], states: dict[str, str]) -> list[str]:
    """As `discovery.async_start` does it, one step after the other."""
    prefix, _, below = topic.partition("/")
    if not (match := discovery.TOPIC_MATCHER.fullmatch(below)) or match[1] != "device" or not prefix:
        return [f"{topic}: no device-discovery topic"]
    discovery._replace_all_abbreviations(payload)
    try:
        discovery.DEVICE_DISCOVERY_SCHEMA(payload)
    except vol.Invalid as error:
        return [f"the whole message: {error}"]
    found = []
    for key, component in payload["components"].items():
        platform = component.pop("platform")
        if not component:
            continue  # a tombstone
        component |= {"device": payload["device"], "origin": payload["origin"]}
        discovery._merge_common_device_options(component, payload)
        module = importlib.import_module(f"homeassistant.components.mqtt.{platform}")
        try:
            valid = module.DISCOVERY_SCHEMA(component)
        except vol.Invalid as error:
            found.append(f"{key}: {error}")
            continue
        found += [f"{key}: {fault}" for fault in render(hass, valid, states)]
    return found


def render(hass: HomeAssistant, valid: dict[str, Any], states: dict[str, str]) -> list[str]:
    """Every template with a real message of its topic; an option that is none of its list is what Home Assistant warns of."""
    pairs = [(valid[key], valid[topic]) for key, topic in _TEMPLATES.items() if key in valid]
    pairs += [(one["value_template"], one["topic"]) for one in valid.get("availability", ()) if "value_template" in one]
    found = []
    for template, topic in pairs:
        if topic not in states:
            found.append(f"{topic} is no topic of ours")
            continue
        try:
            said = Template(template.template, hass).async_render_with_possible_json_value(
                states[topic], _FAILED, parse_result=False
            )
        except HomeAssistantError as error:
            found.append(f"{template.template}: {error}")
            continue
        options = valid.get("options")
        if template is valid.get("value_template") and options and said not in (*options, "None"):
            found.append(f"{said!r} is no option")
        if not said or said == _FAILED:
            found.append(f"{template.template} says nothing")
    return found


async def main() -> None:
    hass = HomeAssistant(tempfile.mkdtemp())
    frame.async_setup(hass)
    print(json.dumps([faults_of(hass, **one) for one in json.load(sys.stdin)]))


asyncio.run(main())
