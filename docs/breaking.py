"""What in a change of the contract would break a subscriber that was written before it. Pure.

Within edged/1 fields, words and topics may be added. Nothing that was told may be missing, be of another type, leave its
limits, come less surely (QoS), or stop or begin to be retained. What edged receives is the mirror: nothing that was accepted
may be refused.
"""

from typing import Any

Schema = dict[str, Any]

_LOWER = ("minimum", "exclusiveMinimum", "minLength", "minItems")
_UPPER = ("maximum", "exclusiveMaximum", "maxLength", "maxItems")


def breaks(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """One sentence for each breaking difference. Both: file name → content of a folder like docs/schemas/edged-1."""
    topics, topics_now = before.get("topics.json", {}), now.get("topics.json", {})
    received = {f"{name}.json" for topic in topics.values() if not topic["sent"] for name in topic["schemas"]}
    found = [sentence for name, topic in topics.items() for sentence in _topic(name, topic, topics_now.get(name))]
    for name, schema in before.items():
        if name == "topics.json":
            continue
        if name not in now:
            found.append(f"{name} is gone")
        elif name in received:
            found += _received(name, schema, now[name])
        else:
            found += _Sent(schema, now[name]).breaks(name.removesuffix(".json"), schema, now[name])
    return found


def _topic(name: str, before: dict[str, Any], now: dict[str, Any] | None) -> list[str]:
    if now is None:
        return [f"the topic {name} is gone"]
    found = [
        f"{name}: {key} was {before[key]}, and is {now[key]}" for key in ("sent", "retained", "payload") if before[key] != now[key]
    ]
    if now["qos"] < before["qos"]:
        found.append(f"{name}: QoS was {before['qos']}, and is {now['qos']}")
    return found


def _received(name: str, before: Schema, now: Schema) -> list[str]:
    """A command: what was accepted must be."""
    found = [f"{name}: {key} must be there now" for key in set(now.get("required", ())) - set(before.get("required", ()))]
    for key, one in before["properties"].items():
        if key not in now["properties"]:
            found.append(f"{name}: {key} is refused now")
            continue
        known = now["properties"][key].get("enum")
        found += [f"{name}: {key} {word} is refused now" for word in one.get("enum", ()) if known is not None and word not in known]
    return found


class _Sent:
    """Compares two schemas of what edged sends; each knows its own definitions."""

    def __init__(self, before: Schema, now: Schema) -> None:
        self._before, self._now = before.get("$defs", {}), now.get("$defs", {})

    def breaks(self, path: str, before: Schema, now: Schema) -> list[str]:
        before, now = _resolved(before, self._before), _resolved(now, self._now)
        if "anyOf" in before or "anyOf" in now:
            return self._alternatives(path, before.get("anyOf", [before]), now.get("anyOf", [now]))
        if not _types(now) <= _widened(_types(before)):
            return [f"{path}: was {_named(before)}, and is {_named(now)}"]
        return [*_values(path, before, now), *self._inside(path, before, now)]

    def _alternatives(self, path: str, before: list[Schema], now: list[Schema]) -> list[str]:
        found = []
        for one in now:
            found_here = [self.breaks(path, was, one) for was in before]
            if all(found_here):
                found += min(found_here, key=len)
        return found

    def _inside(self, path: str, before: Schema, now: Schema) -> list[str]:
        found = []
        for key, was in before.get("properties", {}).items():
            if key not in now.get("properties", {}):
                found.append(f"{path}.{key} is gone")
            else:
                found += self.breaks(f"{path}.{key}", was, now["properties"][key])
        always = set(before.get("required", ())) & set(now.get("properties", {}))
        found += [f"{path}.{key} may be missing now" for key in sorted(always - set(now.get("required", ())))]
        for key in ("items", "additionalProperties"):
            if isinstance(before.get(key), dict):
                found += self.breaks(f"{path}[]", before[key], now.get(key) or {})
        return found


def _resolved(schema: Schema, defs: dict[str, Schema]) -> Schema:
    ref = schema.get("$ref")
    return defs[ref.rpartition("/")[2]] if ref else schema


def _types(schema: Schema) -> set[str]:
    if "type" in schema:
        return {schema["type"]}
    values = schema.get("enum") or ([schema["const"]] if "const" in schema else [])
    names = {str: "string", bool: "boolean", int: "integer", float: "number", type(None): "null"}
    return {names[type(value)] for value in values} or {"string", "boolean", "integer", "number", "null", "array", "object"}


def _widened(types: set[str]) -> set[str]:
    return types | {"integer"} if "number" in types else types


def _named(schema: Schema) -> str:
    return " or ".join(sorted(_types(schema)))


def _values(path: str, before: Schema, now: Schema) -> list[str]:
    found = []
    if "const" in before and now.get("const") != before["const"]:
        found.append(f"{path}: was always {before['const']}")
    if "enum" in before:
        words = now.get("enum") or ([now["const"]] if "const" in now else None)
        gone = [word for word in before["enum"] if words is None or word not in words]
        found += [f"{path}: the word {word!r} is gone" for word in gone]
    for key in _LOWER:
        if key in before and now.get(key, float("-inf")) < before[key]:
            found.append(f"{path}: {key} was {before[key]}")
    for key in _UPPER:
        if key in before and now.get(key, float("inf")) > before[key]:
            found.append(f"{path}: {key} was {before[key]}")
    if "pattern" in before and now.get("pattern") != before["pattern"]:
        found.append(f"{path}: pattern was {before['pattern']}")
    return found
