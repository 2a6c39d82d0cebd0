"""The unit as systemd itself reads and rates it; the same holds inside the bed with a newer systemd."""

import shutil
import subprocess
from pathlib import Path

import pytest

UNITS = Path(__file__).parents[2] / "systemd"
NEWER = ("RestartSteps", "RestartMaxDelaySec")  # than Bookworm's 252, which says so and goes on

pytestmark = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd-analyze here")


@pytest.mark.parametrize(("name", "most"), [("edged", 19), ("edged@", 19), ("edged-page", 15)])
def test_its_exposure_is_small(name: str, most: int) -> None:
    """most: tenths of what systemd-analyze says."""
    command = ["systemd-analyze", "security", "--offline=true", f"--threshold={most}", str(UNITS / f"{name}.service")]
    rated = subprocess.run(command, capture_output=True, text=True, check=False)
    assert rated.returncode == 0, rated.stdout[-200:] + rated.stderr


@pytest.mark.parametrize("name", ["edged", "edged@", "edged-page"])
def test_systemd_understands_every_line(name: str) -> None:
    unit = UNITS / f"{name}.service"
    said = subprocess.run(["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, check=False).stderr
    wrong = [line for line in said.splitlines() if str(unit) in line and not any(key in line for key in NEWER)]
    assert wrong == []


def test_an_instances_unit_is_the_first_one_but_for_its_places():
    one, other = (UNITS / "edged.service").read_text().splitlines(), (UNITS / "edged@.service").read_text().splitlines()
    differ = [(a, b) for a, b in zip(one, other, strict=True) if a != b and not a.startswith("#")]
    secret = "LoadCredential=camera_password:/etc/edged/"
    what = "Description=Sees on the edge: camera to MobileNet to MQTT"
    assert differ == [
        (what, f"{what} (%i)"),
        ("ExecStart=/usr/bin/edged run", "ExecStart=/usr/bin/edged run --instance %i"),
        ("ExecReload=/usr/bin/edged reload", "ExecReload=/usr/bin/edged reload -c /etc/edged/%i.toml"),
        ("StateDirectory=edged", "StateDirectory=edged/instances/%i"),
        ("RuntimeDirectory=edged", "RuntimeDirectory=edged/instances/%i"),
        (f"{secret}camera_password", f"{secret}%i.camera_password"),
    ]
