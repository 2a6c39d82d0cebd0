"""A million frames, faster than any camera gives them: no process grows, and nothing stays open."""

import os
import threading
import time
from pathlib import Path
from typing import Any

from edged.process.control import ask
from tests.campaigns.size import count, report
from tests.e2e.conftest import album, broker, config, heard  # noqa: F401
from tests.e2e.running import Edged, edged_with, wait_for
from tests.stand_in import PYTHONPATH

FRAMES_A_SECOND = 900  # below what the courier believes of a vision process, 1000 words a second
# half of all at most; a minute after the start the last good pair is kept, by a thread that stays
WARM_FRAMES, WARM_S, SHORT_S = 100_000, 75.0, 50.0
MOST_GROWTH_KB = 1024
STILL_S = 60.0
EVERY_S, FEW = 2.0, 3


def kept(pid: int) -> dict[str, int]:
    """What a process has now: resident memory in kB, open files, threads."""
    process = Path(f"/proc/{pid}")
    lines = dict(line.split(":", 1) for line in (process / "status").read_text().splitlines())
    return {
        "rss_kb": int(lines["VmRSS"].split()[0]),
        "files": len(list((process / "fd").iterdir())),
        "threads": int(lines["Threads"]),
    }


def inferred(state: Path) -> int:
    return int(ask(state, {"verb": "status"})["health"]["frames"]["inferred"])


def test_nothing_grows_over_many_frames(tmp_path: Path, config: dict[str, Any], heard: Any) -> None:  # noqa: F811
    wanted = count(20_000, 1_000_000)
    stand_in = {
        "EDGED_TESTS_CAMERA": "tests.quick_camera:QuickCamera",
        "EDGED_FRAMES_A_SECOND": str(FRAMES_A_SECOND),
        "PYTHONPATH": PYTHONPATH,
    }
    config |= {"camera": {"kind": "v4l2", "source": "/dev/video0", "fps": 30.0}, "model": {"name": "home_0.25_96", "threads": 1}}
    config["mqtt"]["result_fps"] = 1.0
    state = Path(config["state_folder"])
    with edged_with(tmp_path, config, environment=os.environ | stand_in) as edged:
        wait_for(lambda: heard.of("result"), 60, "a result")
        began_s, series = time.monotonic(), watch(edged, state, wanted)
        seconds = time.monotonic() - began_s
        status = ask(state, {"verb": "status"})["health"]
        assert edged.end() == 0
    is_long = series[-1]["s"] > SHORT_S
    warm = [one for one in series if one["frames"] >= min(WARM_FRAMES, wanted // 2) and (not is_long or one["s"] >= WARM_S)]
    grown = {process: growth([one[process] for one in warm]) for process in ("courier", "vision")}
    frames = status["frames"]
    figures = {
        "frames": frames,
        "events": status["events"],
        "seconds": round(seconds, 1),
        "frames_a_second": round(frames["inferred"] / seconds, 1),
        "grown_since_warm": grown,
        "series": thinned(series),
    }
    report("soak", figures)
    assert frames["captured"] == sum(frames[fate] for fate in ("inferred", "stale", "busy", "gated", "paused"))
    for process, what in grown.items():
        assert what["rss_kb"] <= MOST_GROWTH_KB, (process, what)
        assert what["files"] <= 0 and what["threads"] <= 0, (process, what)


def growth(kept: list[dict[str, int]]) -> dict[str, int]:
    """From the first few to the last few; of files and threads the fewest, for one may be there just for the question."""
    first, last = kept[:FEW], kept[-FEW:]
    fewest = {what: min(one[what] for one in last) - min(one[what] for one in first) for what in ("files", "threads")}
    return {"rss_kb": max(one["rss_kb"] for one in last) - first[0]["rss_kb"]} | fewest


def watch(edged: Edged, state: Path, wanted: int) -> list[dict[str, Any]]:
    """What both processes have, every few seconds, until so many frames were classified."""
    vision, series, began_s = edged.vision_pid(), list[dict[str, Any]](), time.monotonic()
    moved_s = began_s
    assert vision is not None
    while True:
        now = {
            "s": round(time.monotonic() - began_s, 1),
            "frames": inferred(state),
            "courier": kept(edged.process.pid),
            "vision": kept(vision),
        }
        if series and now["frames"] > series[-1]["frames"]:
            moved_s = time.monotonic()
        assert time.monotonic() - moved_s < STILL_S, "no more frames are classified"
        series.append(now)
        is_warm = sum(one["s"] >= WARM_S for one in series) >= 2 * FEW or now["s"] <= SHORT_S
        if now["frames"] >= wanted and is_warm:  # on a slow machine the pair is kept meanwhile: then so long that it was before
            return series
        threading.Event().wait(EVERY_S)  # a sample; nothing depends on its length


def thinned(series: list[dict[str, Any]], most: int = 100) -> list[dict[str, Any]]:
    step = max(1, len(series) // most)
    return [*series[:-1:step], series[-1]]
