"""Whoever sends commands too fast is told so, and makes neither events nor lines in the log."""

import time
from pathlib import Path
from typing import Any

from tests.e2e.running import Heard, edged_with, wait_for

SENT, AT_ONCE, PER_S = 1000, 20, 5


def refused(heard: Heard) -> int:
    return sum(int(error["refused"]) for error in heard.of("control/error"))


def test_commands_are_limited_counted_and_answered(tmp_path: Path, config: dict[str, Any], heard: Heard) -> None:
    """Before: 14,500 in 15 s made 2,750 durable events and 480 kB of log."""
    with edged_with(tmp_path, config | {"model": {"name": "home_0.25_96"}}) as edged:
        wait_for(lambda: heard.of("camera") and heard.of("camera")[-1]["state"] == "ok", 40, "camera ok")
        before = sum(event["reason"] == "paused" for event in heard.of("event"))
        log_bytes, began_s = edged.said.stat().st_size, time.monotonic()

        def allowed() -> float:
            """How many may have been obeyed until now."""
            return AT_ONCE + PER_S * (time.monotonic() - began_s)

        for number in range(SENT):
            action = ("pause", "resume")[number % 2]
            heard._client.publish("edged/test/control", b'{"action": "%s"}' % action.encode(), qos=1)
        heard.publish("edged/test/control", b"nonsense")
        wait_for(lambda: heard.of("control/error"), 10, "an answer")
        wait_for(lambda: refused(heard) >= SENT - allowed(), 20, "all that are too many are refused")
        paused = sum(event["reason"] == "paused" for event in heard.of("event")) - before
        logged = edged.said.stat().st_size - log_bytes
        assert paused <= allowed() / 2 + 1 < SENT / 4, "every second one that is obeyed pauses"
        assert logged < 1000 + 400 * allowed(), "some lines for each one that is obeyed"
        reasons = {error["reason"].split(";")[0] for error in heard.of("control/error")}
        assert "more than 5 commands a second" in reasons
        assert edged.end() == 0
    wait_for(lambda: heard.of("health")[-1]["commands_refused"] >= refused(heard), 5, "and counted")
