"""Whoever sends commands too fast is told so, and makes neither events nor lines in the log."""

from pathlib import Path
from typing import Any

from tests.e2e.running import Heard, edged_with, wait_for


def test_commands_are_limited_counted_and_answered(tmp_path: Path, config: dict[str, Any], heard: Heard) -> None:
    """Before: 14,500 in 15 s made 2,750 durable events and 480 kB of log."""
    with edged_with(tmp_path, config | {"model": {"name": "home_0.25_96"}}) as edged:
        wait_for(lambda: heard.of("camera") and heard.of("camera")[-1]["state"] == "ok", 40, "camera ok")
        before = sum(event["reason"] == "paused" for event in heard.of("event"))
        log_bytes = edged.said.stat().st_size
        for number in range(1000):
            action = ("pause", "resume")[number % 2]
            heard._client.publish("edged/test/control", b'{"action": "%s"}' % action.encode(), qos=1)
        heard.publish("edged/test/control", b"nonsense")
        wait_for(lambda: heard.of("control/error"), 10, "an answer")
        wait_for(lambda: sum(error["refused"] for error in heard.of("control/error")) > 900, 20, "most are refused")
        assert sum(event["reason"] == "paused" for event in heard.of("event")) - before <= 60
        assert edged.said.stat().st_size - log_bytes < 20_000
        reasons = {error["reason"].split(";")[0] for error in heard.of("control/error")}
        assert "more than 5 commands a second" in reasons
        assert edged.end() == 0
    wait_for(lambda: heard.of("health")[-1]["commands_refused"] > 900, 5, "and counted")
