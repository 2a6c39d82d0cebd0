"""The wall clock jumps by years while events wait and profiles have hours: no event expires or is lost, each is told with an
age that is true, and the profile of the new hour runs.
"""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.campaigns.size import SEED, count, report
from tests.campaigns.test_chaos import _LOSSLESS
from tests.e2e.conftest import album  # noqa: F401
from tests.e2e.fault_proxy import FaultProxy
from tests.e2e.running import Broker, Heard, edged_with, wait_for
from tests.e2e.source import Arrivals, Source

_STEPS_S = (-20 * 365 * 86400, -3 * 86400, -3600, 3600, 3 * 86400, 20 * 365 * 86400)


_DAY_S = 86400
DAY, NIGHT = "home_0.25_96", "home_0.25_128"
# what nobody has set means nothing to a profile: here a time source has, as systemd-timesyncd tells it
_SYNCED = "mount -t tmpfs none /run/systemd && mkdir /run/systemd/timesync && : > /run/systemd/timesync/synchronized"


def faked_by(now: Path) -> dict[str, str]:
    """The environment in which the wall clock is what the file says, or skip.

    FORCE_MONOTONIC_FIX of libfaketime 0.9.10 lets every wait with a deadline end at once: each thread that waits for Python's
    lock then spins while it holds the lock's mutex, and the others stand still for seconds. It is not for Python.
    """
    if not shutil.which("faketime"):
        pytest.skip("needs faketime")
    found = subprocess.run(["faketime", "-f", "+0", "env"], capture_output=True, text=True, check=True).stdout
    preload = next(line.partition("=")[2] for line in found.splitlines() if line.startswith("LD_PRELOAD="))
    return {
        "LD_PRELOAD": preload, "FAKETIME_TIMESTAMP_FILE": str(now), "FAKETIME_NO_CACHE": "1", "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "FAKETIME_FORCE_MONOTONIC_FIX": "0",
    }  # fmt: skip


def test_steps_of_the_wall_clock_cost_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = tmp_path / "now"
    faked = faked_by(now)
    steps = count(3, 60)
    rng = random.Random(SEED)
    (tmp_path / "broker").mkdir()
    broker = Broker(tmp_path, *_LOSSLESS, f"persistence_location {tmp_path}/broker/")
    proxy = FaultProxy(broker.port, SEED).start()
    arrivals = Arrivals(broker.port)
    now.write_text("+0")
    for name, value in faked.items():
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
        source.goes_on(rng.randrange(8, 40))
        now.write_text(f"{rng.choice(_STEPS_S):+d}")
    proxy.become("")
    now.write_text("+0")
    done = source.wait_done(events / 40 + 120)
    wait_for(lambda: len(arrivals.labels()) == events, 30, "everything arrived")
    late = sum(topic == "backlog" for topic, body in arrivals.messages if body["event_type"] != "gap")
    report("clock_steps", {"steps": steps, "seed": SEED, "events": events, "late": late, "counters": json.dumps(done)})
    assert done["dropped"] == {}
    assert arrivals.reordered() == 0
    assert late == 0, "nothing waited for 60 s, whatever the wall clock said"
    assert source.end() == 0
    arrivals.close()
    proxy.close()
    broker.end(signal.SIGKILL)


@pytest.mark.skipif(
    os.geteuid() != 0 or subprocess.run(["unshare", "-m", "true"], check=False, capture_output=True).returncode != 0,
    reason="needs root, for a mount namespace",
)
def test_the_profile_of_the_new_hour_runs_after_each_step(tmp_path: Path, album: Path) -> None:  # noqa: F811
    now = tmp_path / "now"
    steps, rng = count(2, 40), random.Random(SEED)
    broker = Broker(tmp_path)
    heard = Heard(broker.port)
    config: dict[str, Any] = {
        "device": "test",
        "state_folder": str(tmp_path / "state"),
        "camera": {"kind": "pictures", "source": str(album), "fps": 10.0},
        "model": {"name": DAY},
        "decision": {"ignore": [], "hold_s": 0.1, "enter": 0.4, "leave": 0.3, "margin": 0.05},
        "mqtt": {"host": "127.0.0.1", "port": broker.port, "result_fps": 0.0},
        "profile": {"night": {"from": "22:00", "until": "06:30", "model": {"name": NIGHT}}},
    }

    def step_to(day: int, hour: float) -> None:
        """Hour of the day, UTC, so many days from now."""
        today_s = time.time() // _DAY_S * _DAY_S
        now.write_text(f"{today_s + day * _DAY_S + hour * 3600 - time.time():+.0f}")

    def runs() -> str:
        told = heard.of("model")
        return str(told[-1]["card"]) if told else ""

    # a model is tried before it may run, in a sandbox where libfaketime finds no memory to share: here it is known already
    plain = {key: part for key, part in config.items() if key != "profile"} | {"model": {"name": NIGHT}}
    with edged_with(tmp_path, plain) as edged:
        wait_for(lambda: runs() == NIGHT, 90, "the model of the night, by the true clock")
        assert edged.end(10) == 0
    step_to(0, 12.0)
    python = ["unshare", "-m", "sh", "-c", f'{_SYNCED} && exec "$@"', "sh", sys.executable]
    with edged_with(tmp_path, config, python=python, environment={**faked_by(now), "TZ": "UTC"}) as edged:
        wait_for(lambda: runs() == DAY, 90, "the model of the day")
        slowest_s = 0.0
        for _ in range(steps):
            is_night = runs() == DAY
            hour = rng.choice((rng.uniform(22.1, 23.9), rng.uniform(0.1, 6.3))) if is_night else rng.uniform(6.6, 21.9)
            step_to(rng.choice((-7000, -30, -1, 0, 1, 30, 7000)), hour)
            began_s = time.monotonic()
            wanted = NIGHT if is_night else DAY
            wait_for(lambda wanted=wanted: runs() == wanted, 150, f"the profile of {hour:.1f} h")
            slowest_s = max(slowest_s, time.monotonic() - began_s)
        health = wait_for(lambda: heard.of("health"), 40, "health")[-1]
        assert edged.process.poll() is None
        assert edged.end(10) == 0
    events = health["events"]
    report("clock_steps_profiles", {"steps": steps, "seed": SEED, "slowest_s": round(slowest_s, 1), "events": events})
    assert events["dropped"] == {}
    assert not [one for one in heard.of("backlog") if one["event_type"] != "gap"], "nothing waited for 60 s"
    assert "Traceback" not in edged.said.read_text()
    heard.close()
    broker.end()
