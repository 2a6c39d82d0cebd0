"""What subscribers may ask for over MQTT. Whatever is not exactly one of these changes nothing. Pure."""

import json

LARGEST_BYTES = 4096
_ACTIONS = ("pause", "resume", "snapshot")


def to_action(payload: bytes) -> str | None:
    """The action of a `control` message, or None for anything that is not exactly {"action": one of the known}."""
    if len(payload) > LARGEST_BYTES:
        return None
    try:
        command = json.loads(payload)
    except (ValueError, RecursionError):
        return None
    if not isinstance(command, dict) or set(command) != {"action"} or command["action"] not in _ACTIONS:
        return None
    return str(command["action"])


def to_wish(payload: bytes) -> str | None:
    """What a `model/set` message asks for, a name, `auto` or `@profile`; None for what can't be one: a path never is."""
    if not 0 < len(payload) <= 200:
        return None
    try:
        text = payload.decode("utf-8").strip()
    except UnicodeDecodeError:
        return None
    is_path = "/" in text or text.endswith(".tflite") or text.startswith((".", "~"))
    return text if text and text.isprintable() and not is_path else None
