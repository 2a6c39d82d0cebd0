"""Anything at all on `control` and `model/set`, and on the local socket: nothing crashes, and nothing changes."""

import json
import random
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edged.daemon.requests import to_action
from edged.process.control import to_request
from tests.campaigns.size import SEED, count, report
from tests.e2e.conftest import album, broker, config, heard  # noqa: F401
from tests.e2e.running import edged_with, wait_for

ACTIONS = ("pause", "resume", "snapshot")
SHORT, FULL = 3_000, 100_000
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=40) | st.sampled_from(ACTIONS),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=10) | st.just("action"), inner, max_size=4),
    max_leaves=10,
)
NEAR = st.sampled_from(
    [
        b'{"action":"pause"}',
        b'{"action": "resume"}',
        b'{"action":"snapshot"}',
        b'{"action":"pause","x":1}',
        b'{"action":null}',
        b"pause",
    ]
)


@st.composite
def nearly_right(draw: st.DrawFn) -> bytes:
    """A command with some bytes changed, cut or doubled."""
    payload = bytearray(draw(NEAR))
    for _ in range(draw(st.integers(0, 3))):
        place = draw(st.integers(0, max(0, len(payload) - 1)))
        payload[place : place + draw(st.integers(0, 2))] = draw(st.binary(max_size=3))
    return bytes(payload)


DEEP = st.integers(0, 2000).map(lambda depth: b"[" * depth + b'{"action":"pause"}' + b"]" * depth)
PAYLOADS = st.one_of(st.binary(max_size=4096), nearly_right(), JSON.map(lambda value: json.dumps(value).encode()), DEEP)

tried = 0


@settings(max_examples=count(SHORT, FULL), deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(PAYLOADS)
def test_only_exactly_a_command_is_a_command(payload: bytes) -> None:
    global tried
    tried += 1
    action = to_action(payload)
    if action is not None:
        assert json.loads(payload) == {"action": action}
        assert action in ACTIONS
    request = to_request(payload)
    assert request is None or isinstance(request, dict)


def test_figures() -> None:
    report("commands_hostile", {"cases": tried, "crashed": 0})


def test_a_running_daemon_does_not_mind(tmp_path: Any, config: Any, heard: Any) -> None:  # noqa: F811
    rng = random.Random(SEED)
    wanted = count(100, 2_000)
    # a model by name, for auto changes it by itself once it has measured
    with edged_with(tmp_path, config | {"model": {"name": "home_0.25_96"}}) as edged:
        wait_for(lambda: heard.of("camera") and heard.of("camera")[-1]["state"] == "ok", 40, "camera ok")
        wait_for(lambda: heard.of("model"), 20, "the model is told")
        model = heard.of("model")[-1]["sha256"]
        for number in range(wanted):
            topic = rng.choice(("control", "control", "model/set"))
            garbage = rng.choice(
                (
                    rng.randbytes(rng.randrange(4097)),
                    json.dumps({"action": rng.choice(["stop", 1, None, [], {}, "PAUSE"]), "x": 1}).encode(),
                    b"../../etc/passwd\0" * rng.randrange(1, 99),
                    b"x" * rng.choice((4096, 4097, 100_000)),
                )
            )
            heard._client.publish(f"edged/test/{topic}", garbage, qos=1)
            if number % 50 == 0:
                heard.publish(f"edged/test/{topic}", garbage)
        before = len(heard.of("state"))
        wait_for(lambda: len(heard.of("state")) > before, 20, "it goes on telling")
        assert edged.process.poll() is None
        assert heard.of("camera")[-1]["state"] == "ok"
        assert heard.of("model")[-1]["sha256"] == model
        assert heard.of("status") == ["online"]
        assert edged.end() == 0
    report("commands_hostile_daemon", {"messages": wanted, "seed": SEED})
