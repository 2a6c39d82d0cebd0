"""The unit as systemd itself reads and rates it; the same holds inside the bed with a newer systemd."""

import shutil
import subprocess
from pathlib import Path

import pytest

UNIT = Path(__file__).parents[2] / "systemd" / "edged.service"
NEWER = ("RestartSteps", "RestartMaxDelaySec")  # than Bookworm's 252, which says so and goes on

pytestmark = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd-analyze here")


def test_its_exposure_is_small():
    rated = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--threshold=25", str(UNIT)], capture_output=True, text=True, check=False
    )
    assert rated.returncode == 0, rated.stdout[-200:] + rated.stderr


def test_systemd_understands_every_line():
    said = subprocess.run(["systemd-analyze", "verify", str(UNIT)], capture_output=True, text=True, check=False).stderr
    wrong = [line for line in said.splitlines() if str(UNIT) in line and not any(key in line for key in NEWER)]
    assert wrong == []
