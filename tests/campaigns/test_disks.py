"""Disks that take nothing, in a mount namespace: read-only and full. edged starts, looks, and says what it can't keep."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.campaigns.size import count, report
from tests.e2e.conftest import album, broker, config, heard  # noqa: F401
from tests.e2e.running import edged_with, wait_for

SYSTEM = 'mount -t tmpfs -o size={size} none {state} && {before} && {after} && exec "$@"'
# name → what is in the folder before, and what is done to the disk then
KINDS = {
    "read-only, empty": ("true", "mount -o remount,ro {state}"),
    "read-only, with damage": ("printf '[[[' > {state}/starts.json; mkdir {state}/models; echo x > {state}/models/x.toml", None),
    "full, empty": ("dd if=/dev/zero of={state}/filler bs=64k 2>/dev/null; true", "true"),
    "full of files": ("n=0; while (: > {state}/$n) 2>/dev/null && [ $n -lt 4000 ]; do n=$((n+1)); done; true", "true"),
    "full, with damage": (
        "mkfifo {state}/override.json; ln -s /dev/zero {state}/measurements.json; "
        "dd if=/dev/zero of={state}/f bs=64k 2>/dev/null; true",
        "true",
    ),
    "no folder can be made": ("true", "mount -o remount,ro {state}"),
    "no file may grow, anywhere": ("true", "true"),  # also none for what is only temporary
}

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or subprocess.run(["unshare", "-m", "true"], check=False, capture_output=True).returncode != 0,
    reason="needs root, for a mount namespace",
)


@pytest.mark.parametrize("kind", list(KINDS)[: count(2, len(KINDS))])
def test_a_disk_that_takes_nothing(tmp_path: Path, config: dict[str, Any], heard: Any, kind: str) -> None:  # noqa: F811
    state = tmp_path / "state"
    state.mkdir()
    before, after = KINDS[kind]
    folder = state / "deep/er" if kind.startswith("no folder") else state
    script = SYSTEM.format(
        size="2m,nr_inodes=300" if "files" in kind else "2m",
        state=state,
        before=f"{{ {before.format(state=state)}; }}",
        after=(after or "mount -o remount,ro {state}").format(state=state),
    )
    if "grow" in kind:
        script = script.replace("exec ", "ulimit -f 0 && exec ")
    python = ["unshare", "-m", "sh", "-c", script, "sh", sys.executable]
    whole = config | {"state_folder": str(folder), "model": {"name": "home_0.25_96"}}
    with edged_with(tmp_path, whole, python=python) as edged:
        wait_for(lambda: heard.of("camera") and heard.of("camera")[-1]["state"] == "ok", 60, "camera ok")
        wait_for(lambda: heard.of("health") and heard.of("health")[-1]["degraded"], 40, "it is told")
        assert edged.process.poll() is None
        degraded = " | ".join(heard.of("health")[-1]["degraded"])
        assert "outbox is in memory" in degraded, degraded
        assert edged.end() == 0
    assert "Traceback" not in edged.said.read_text()
    report(f"disks_{kind.replace(',', '').replace(' ', '_')}", {"started": 1, "degraded": degraded[:200]})
