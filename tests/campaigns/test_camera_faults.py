"""Fault after fault on one daemon: each is told and healed in time, and nothing piles up. Full size: 100 faults, about 20 min."""

import json
import os
import random
import statistics
import time
from pathlib import Path

from tests.e2e.conftest import album, broker, config, heard  # noqa: F401  # the same fixtures
from tests.e2e.running import children, promised, wait_for
from tests.e2e.test_camera_faults import BACK_WITHIN_S, SAID_WITHIN_S, kind, rig  # noqa: F401
from tests.fault_camera import FAULTS

FULL, CI, SETTLING = 100, 6, 3
COUNT = int(os.environ.get("EDGED_CAMPAIGN_COUNT", FULL if os.environ.get("EDGED_CAMPAIGN") == "full" else CI))
SEED = int(os.environ.get("EDGED_CAMPAIGN_SEED", "1"))


def used(pid: int) -> dict[str, int]:
    process = Path(f"/proc/{pid}")
    lines = dict(line.split(":", 1) for line in (process / "status").read_text().splitlines())
    return {
        "fds": len(list((process / "fd").iterdir())),
        "threads": int(lines["Threads"]),
        "rss_kb": int(lines["VmRSS"].split()[0]),
        "children": len(children(pid)),  # a zombie is one too
    }


def test_many_faults_leave_nothing_behind(rig):  # noqa: F811
    chance, daemon = random.Random(SEED), rig.edged.process.pid
    kinds = sorted(set(FAULTS) - {"block_open"})  # which needs another fault before it
    rows, before, vision_before = [], {}, {}
    for number in range(COUNT + SETTLING):
        fault = kinds[number % len(kinds)] if number < len(kinds) else chance.choice(kinds)
        began = time.monotonic()
        rig.fail(fault)
        wait_for(lambda: rig.camera()["fault"] == FAULTS[fault], 30, f"{fault} is named")  # noqa: B023
        told = time.monotonic()
        rig.fail("")
        rig.wait_ok(60)
        rows.append({"fault": fault, "told_s": told - began, "back_s": time.monotonic() - told})
        if number == SETTLING - 1:
            before, vision_before = used(daemon), used(rig.edged.vision_pid())
    after, vision_after = used(daemon), used(rig.edged.vision_pid())
    figures = {"count": COUNT, "seed": SEED, "before": before, "after": after}
    figures |= {"vision_before": vision_before, "vision_after": vision_after}
    for name in ("told_s", "back_s"):
        values = sorted(row[name] for row in rows)
        figures[name] = {"median": round(statistics.median(values), 2), "worst": round(values[-1], 2)}
    figures["worst_by_fault"] = {
        fault: {name: round(max(row[name] for row in rows if row["fault"] == fault), 2) for name in ("told_s", "back_s")}
        for fault in kinds
        if any(row["fault"] == fault for row in rows)
    }
    print(json.dumps(figures, indent=1))
    path = Path("build/figures/camera_faults.json")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(figures, indent=1))
    assert rig.heard.of("status") == ["online"]
    promised("the slowest fault is told", figures["told_s"]["worst"], SAID_WITHIN_S)
    promised("the slowest camera is back", figures["back_s"]["worst"], BACK_WITHIN_S)
    assert (after["fds"], after["threads"], after["children"]) == (before["fds"], before["threads"], before["children"])
    assert vision_after["fds"] == vision_before["fds"]
    assert after["rss_kb"] - before["rss_kb"] < 4096
