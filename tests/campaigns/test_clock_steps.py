"""The wall clock jumps by years while events wait: none expires, none is lost, and each is told with an age that is true."""

import json
import os
import random
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from tests.campaigns.size import SEED, count, report
from tests.campaigns.test_chaos import _LOSSLESS, time_passes
from tests.e2e.fault_proxy import FaultProxy
from tests.e2e.running import Broker, wait_for
from tests.e2e.source import Arrivals, Source

_STEPS_S = (-20 * 365 * 86400, -3 * 86400, -3600, 3600, 3 * 86400, 20 * 365 * 86400)


def library() -> str:
    """libfaketime, or skip."""
    if not shutil.which("faketime"):
        pytest.skip("needs faketime")
    found = subprocess.run(["faketime", "-f", "+0", "env"], capture_output=True, text=True, check=True).stdout
    return next(line.partition("=")[2] for line in found.splitlines() if line.startswith("LD_PRELOAD="))


def test_steps_of_the_wall_clock_cost_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    preload = library()
    steps = count(3, 60)
    rng = random.Random(SEED)
    (tmp_path / "broker").mkdir()
    broker = Broker(tmp_path, *_LOSSLESS, f"persistence_location {tmp_path}/broker/")
    proxy = FaultProxy(broker.port, SEED).start()
    arrivals = Arrivals(broker.port)
    now = tmp_path / "now"
    now.write_text("+0")
    for name, value in {
        "LD_PRELOAD": preload, "FAKETIME_TIMESTAMP_FILE": str(now), "FAKETIME_NO_CACHE": "1", "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    events = 60 * steps
    source = Source(
        port=proxy.port, state_folder=str(tmp_path / "state"), events=events, per_s=40.0,
        outbox={"min_free_mb": 0.0, "backlog_per_s": 400.0, "ttl_s": 3600.0},
    )  # fmt: skip
    for name in ("LD_PRELOAD", "FAKETIME_TIMESTAMP_FILE"):
        monkeypatch.delenv(name)
    assert os.environ.get("LD_PRELOAD") is None
    wait_for(lambda: source.said.get("connected"), 60, "connected")
    for number in range(steps):
        proxy.become("refuse" if number % 2 == 0 else "")
        time_passes(rng.uniform(0.2, 1.0))
        now.write_text(f"{rng.choice(_STEPS_S):+d}")
    proxy.become("")
    now.write_text("+0")
    done = source.wait_done(events / 40 + 120)
    wait_for(lambda: len(arrivals.labels()) == events, 30, "everything arrived")
    late = sum(topic == "backlog" for topic, body in arrivals.messages if body["event_type"] != "gap")
    report("clock_steps", {"steps": steps, "seed": SEED, "events": events, "late": late, "counters": json.dumps(done)})
    assert done["dropped"] == {}
    assert arrivals.reordered() == 0
    if steps < 30:
        assert late == 0, "nothing waited for 60 s, whatever the wall clock said"
    assert source.end() == 0
    arrivals.close()
    proxy.close()
    broker.end(signal.SIGKILL)
