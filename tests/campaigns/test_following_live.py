"""A running daemon under hundreds of good and bad configs, switches every few seconds, and a kill at any moment of a switch."""

import json
import random
import re
import time
from collections.abc import Callable
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import tomlkit

from edged.config.machine import read_checked
from edged.errors import ConfigError, EdgedError
from edged.models.install import Wish, add
from edged.models.store import Store
from edged.process.control import ask
from tests.campaigns.mutations import mutated
from tests.campaigns.size import SEED, count, report
from tests.campaigns.test_mutated_configs import rewritten
from tests.e2e.conftest import album, broker, config, heard  # noqa: F401  # the same fixtures
from tests.e2e.running import AT_REST, Edged, Heard, edged_with, promised, wait_for, works_on
from tests.shared import SHARED, needs_shared

SMALL, LARGE = "home_0.25_96", "home_0.25_128"
SIX = ("0.25_128", "0.25_160", "0.25_224", "0.5_128", "0.5_160", "0.75_128")
_MOST_S = 2.0


def fds(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def rss_mb(pid: int) -> float:
    return int(re.findall(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[0]) / 1024


def balanced(heard: Heard) -> dict[str, Any]:  # noqa: F811
    """The last health, whose accounts must balance; and the events, of which none may be missing."""
    health = heard.of("health")[-1]
    frames, events = health["frames"], health["events"]
    assert frames["captured"] == sum(frames[fate] for fate in ("inferred", "stale", "busy", "gated", "paused"))
    assert events["events"] == events["delivered"] + events["queued"] + sum(events["dropped"].values())
    seqs = {event["seq"] for event in heard.of("event") if event["boot"] == health["boot"]}
    assert seqs == set(range(1, events["events"] + 1))
    return dict(health)


def broken_configs(path: Path, text: str, wanted: int) -> list[tuple[bytes, str]]:
    """Mutations that this machine's edged refuses, with its first words."""
    rng, found = random.Random(SEED), []
    bytewise = mutated(text.encode(), seed=SEED, count=100_000)
    while len(found) < wanted:
        data = next(bytewise)[1] if len(found) % 2 else rewritten(rng, text).encode(errors="replace")
        if not data.strip():
            continue
        path.write_bytes(data)
        try:
            read_checked(path)
        except ConfigError as error:
            found.append((data, error.faults[0]))
    return found


def test_no_bad_config_changes_anything(tmp_path, config, heard):  # noqa: F811
    wanted = count(15, 200)
    text = tomlkit.dumps(config | {"model": {"name": SMALL}})
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    broken = broken_configs(elsewhere / "edged.toml", text, wanted)
    state, slowest_s = Path(config["state_folder"]), 0.0
    with edged_with(tmp_path, tomlkit.parse(text)) as edged:
        wait_for(lambda: heard.of("result"), 30, "a result")
        vision = edged.vision_pid()
        for data, first in broken:
            edged.config.write_bytes(data)
            began = time.monotonic()
            with pytest.raises(EdgedError) as refused:
                ask(state, {"verb": "reload"})
            slowest_s = max(slowest_s, time.monotonic() - began)
            assert refused.value.exit_code == 78, (refused.value, first)
            assert re.match(rf"{re.escape(str(edged.config))}(:\d+)?: ", str(refused.value)), refused.value
        assert edged.vision_pid() == vision and len(heard.of("model")) == 1
        seen = len(heard.of("result"))
        wait_for(lambda: len(heard.of("result")) > seen + 5, 10, "results go on")
        assert edged.end() == 0
    health = balanced(heard)
    assert health["broker_connects"] == 1 and health["vision_restarts"] == 0
    report("live_broken_configs", {"configs": wanted, "seed": SEED, "slowest_s": round(slowest_s, 2)})
    promised("a refusal", slowest_s, _MOST_S)


def test_hundreds_of_good_configs_in_a_row(tmp_path, config, heard):  # noqa: F811
    wanted = count(20, 500)
    rng, state = random.Random(SEED), Path(config["state_folder"])
    changes: list[Callable[[dict[str, Any]], None]] = [
        lambda c: c["decision"].update(enter=rng.choice((0.3, 0.5, 0.7)), leave=0.2),
        lambda c: c["decision"].update(groups={"pet": rng.sample(("cat", "dog", "bird"), 2)}),
        lambda c: c["mqtt"].update(result_fps=rng.choice((2.0, 10.0))),
        lambda c: c.update(model={"name": rng.choice((SMALL, LARGE))}),
        lambda c: c.update(gate={"enabled": rng.random() < 0.5}),
        lambda c: c["camera"].update(region=rng.choice(([0.0, 0.0, 1.0, 1.0], [0.1, 0.1, 0.8, 0.8]))),
        lambda c: c["mqtt"].update(keepalive_s=rng.choice((15, 20))),
    ]
    weights = (30, 30, 20, 14, 2, 2, 2)  # a new vision process or connection takes its second
    now = json.loads(json.dumps(config | {"model": {"name": SMALL}}))
    with edged_with(tmp_path, now) as edged:
        wait_for(lambda: heard.of("result"), 30, "a result")
        at_rest: list[tuple[float, int]] = []
        for n in range(wanted):
            rng.choices(changes, weights)[0](now)
            beside = edged.config.with_suffix(".new")
            beside.write_text(tomlkit.dumps(now))
            beside.replace(edged.config)
            ask(state, {"verb": "reload"})
            if n >= wanted // 5:
                at_rest.append((rss_mb(edged.process.pid), fds(edged.process.pid)))
        assert edged.end(10) == 0
    health = balanced(heard)
    tenth = max(1, len(at_rest) // 10)
    grown_mb = sum(mb for mb, _ in at_rest[-tenth:]) / tenth - sum(mb for mb, _ in at_rest[:tenth]) / tenth
    figures = {"changes": wanted, "seed": SEED, "grown_mb": round(grown_mb, 1), "fds": [at_rest[0][1], at_rest[-1][1]]}
    report("live_good_configs", figures | {"events": health["events"]["events"], "restarts": health["vision_restarts"]})
    assert grown_mb < 8 and at_rest[-1][1] <= at_rest[0][1] + 3 and health["vision_restarts"] == 0


@needs_shared
def test_switching_without_a_gap(tmp_path, config, heard):  # noqa: F811
    """Six official models in turn, every five seconds (two in CI), at ten frames a second."""
    assert SHARED is not None
    switches, every_s, fps = count(2 * len(SIX), 120), 5 if AT_REST else 2, 10.0
    state = Path(config["state_folder"])
    for name in SIX:
        add(Store(state), SHARED / f"models/mobilenet_v1_{name}_quant.tflite", Wish(name=f"six_{name}"), None)
    config["camera"]["fps"], config["mqtt"]["result_fps"] = fps, 240.0
    rss: list[float] = []
    with edged_with(tmp_path, config | {"model": {"name": f"six_{SIX[0]}", "threads": 1}}) as edged:
        wait_for(lambda: heard.of("result"), 30, "a result")
        for name in SIX:  # tried once, so that what follows is the switching and not the admission
            ask(state, {"verb": "use", "wish": f"six_{name}"})
        wait_for(lambda: heard.of("result")[-1]["model"] == f"six_{SIX[-1]}", 30, "a result of the last one")
        first = len(heard.of("result")) - 1
        vision = edged.vision_pid() or 0
        for n in range(switches):
            seen = len(heard.of("result"))
            ask(state, {"verb": "use", "wish": f"six_{SIX[n % len(SIX)]}"})
            wait_for(lambda at=seen: len(heard.of("result")) >= at + every_s * fps, 10, "results of some seconds")
            rss.append(rss_mb(vision) + rss_mb(edged.process.pid))
        assert edged.vision_pid() == vision
        assert edged.end() == 0
    results = heard.of("result")[first:]
    at_ms = [datetime.fromisoformat(result["time"]).timestamp() * 1000 for result in results]
    work_ms = [sum(result["timing_ms"][part] for part in ("preprocess", "invoke", "postprocess")) for result in results]
    over = [now - before - max(pair) for (before, now), pair in zip(pairwise(at_ms), pairwise(work_ms), strict=True)]
    health = balanced(heard)
    # the least of a round of all six: one takes 10 MB more than another, and the allocator keeps 7 MB now and then
    grown_mb = min(rss[-len(SIX) :]) - min(rss[: len(SIX)])
    figures = {
        "switches": switches,
        "results": len(results),
        "frames": health["frames"],
        "longest_gap_less_inference_ms": round(max(over), 1),
        "allowed_ms": 2000 / fps,
        "gaps_over": sum(gap > 2000 / fps for gap in over),
        "rss_mb": [round(min(rss[at : at + len(SIX)]), 1) for at in range(0, switches, len(SIX))],
        "grown_mb": round(grown_mb, 1),
        "refused": len(heard.of("model/error")),
    }
    report("switching", figures)
    frames = health["frames"]
    assert not figures["refused"] and grown_mb < 10
    # each model's results end where the next one's begin: the old one works until the new one is there
    assert sum(a["model"] != b["model"] for a, b in pairwise(results)) == switches
    indices = [result["frame"]["index"] for result in results]
    assert indices == sorted(set(indices))
    if AT_REST:  # how long a gap is, and whether a frame is too old, is the machine's too
        assert figures["gaps_over"] == 0 and frames["stale"] == 0


def test_a_kill_at_any_moment_of_a_switch(tmp_path, config, heard):  # noqa: F811
    """Each time another model is asked for through another door, and the courier killed soon after."""
    wanted, rng = count(4, 60), random.Random(SEED)
    state = Path(config["state_folder"])
    now = config | {"model": {"name": SMALL}}
    seen_models: set[str] = set()
    with edged_with(tmp_path, now) as edged:
        wait_for((state / "last_good/pair.json").exists, 90, "the pair is remembered")
        assert edged.end() == 0
    for n in range(wanted):
        with edged_with(tmp_path, now) as edged:
            seen = len(heard.of("result"))
            wait_for(lambda at=seen: len(heard.of("result")) > at, 30, f"results after kill {n}")
            seen_models.add(heard.of("result")[-1]["model"])
            wish = rng.choice((SMALL, LARGE))
            ask_for(edged, heard, now, rng.randrange(2), wish)
            works_on(edged.process.pid, rng.randrange(0, 60))
            edged.process.kill()
            edged.process.wait()
        starts = json.loads((state / "starts.json").read_text())
        assert starts["unfinished"] >= 1
        (state / "starts.json").unlink()  # safe mode has its own test
    with edged_with(tmp_path, now) as edged:
        seen = len(heard.of("result"))
        wait_for(lambda: len(heard.of("result")) > seen + 3, 30, "results at the end")
        assert edged.end() == 0
    assert seen_models <= {SMALL, LARGE}
    report("switch_kills", {"kills": wanted, "seed": SEED, "models": sorted(seen_models)})


def ask_for(edged: Edged, heard: Heard, now: dict[str, Any], door: int, wish: str) -> None:  # noqa: F811
    if door == 0:
        heard.publish("edged/test/model/set", wish.encode())
        return
    now["model"] = {"name": wish}
    beside = edged.config.with_suffix(".new")
    beside.write_text(tomlkit.dumps(now))
    beside.replace(edged.config)
