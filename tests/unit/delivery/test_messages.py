"""The public contract: payloads fit their schemas. What is made of the schemas is tested in test_promise.py."""

import json

import jsonschema

from edged.delivery.messages import Event, Stamp, to_payload, to_rfc3339, to_schema


def test_a_payload_fits_its_schema_and_nothing_else_does():
    stamp = Stamp(id="0a1b2c3d-1", boot="0a1b2c3d", seq=1, time=to_rfc3339(1e9), clock_synced=True)
    body = Event(event_type="entered", label="Katze über é", score=0.9, since=to_rfc3339(1e9), duration_s=0, reason="", model="m")
    payload = json.loads(to_payload(body, stamp))
    schema = jsonschema.Draft202012Validator(to_schema(Event))
    schema.validate(payload)
    assert payload["time"] == "2001-09-09T01:46:40.000Z"
    for missing in payload:
        if missing != "schema":
            assert not schema.is_valid({k: v for k, v in payload.items() if k != missing}), missing
    assert not schema.is_valid(payload | {"more": 1})
    assert not schema.is_valid(payload | {"schema": "edged/2"})
