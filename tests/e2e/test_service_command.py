"""`edged service`, by systemd's own tools, on a system in a folder."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import edged as package
from edged.commands.service import to_obstacle, to_unit
from edged.system.files import shipped
from tests.e2e.running import HANG_S

TOOLS = ("systemctl", "systemd-sysusers", "systemd-analyze")
needs_systemd = pytest.mark.skipif(
    os.geteuid() != 0 or any(shutil.which(tool) is None for tool in TOOLS), reason="needs root and systemd's tools"
)


def edged(*words: str, python: str = sys.executable) -> subprocess.CompletedProcess[str]:
    return subprocess.run([python, "-P", "-m", "edged", *words], capture_output=True, text=True, check=False, timeout=HANG_S)


@pytest.fixture
def elsewhere() -> object:
    """A Python that the service's user may reach, as a user installs it: a virtual environment outside of any home."""
    folder = Path("/opt", f"edged-test-{os.getpid()}")
    python = Path("/usr/bin/python3")
    subprocess.run([python, "-m", "venv", "--without-pip", folder], check=True)
    yield folder
    shutil.rmtree(folder)


def test_the_unit_starts_this_python_and_nothing_else_changes():
    shipped_unit = shipped("systemd", "edged.service").read_text()
    unit = to_unit(shipped_unit, "/opt/my %h/bin/python")
    changed = [(a, b) for a, b in zip(shipped_unit.splitlines(), unit.splitlines(), strict=True) if a != b]
    assert changed == [
        ("ExecStart=/usr/bin/edged run", 'ExecStart="/opt/my %%h/bin/python" -m edged run'),
        ("ExecReload=/usr/bin/edged reload", 'ExecReload="/opt/my %%h/bin/python" -m edged reload'),
    ]


def test_what_the_service_could_not_reach_is_named(tmp_path):
    assert to_obstacle((Path("/usr/bin/python3"),)) == ""
    assert "/home" in to_obstacle((Path("/usr/bin/python3"), Path("/home/pi/.local/bin/python")))
    assert "/tmp" in to_obstacle((Path("/tmp/venv/bin/python"),))
    closed = Path("/opt", f"edged-closed-{os.getpid()}")
    if os.geteuid() == 0:
        closed.mkdir(mode=0o700)
        assert "closed to other users" in to_obstacle((closed / "python",))
        closed.rmdir()


@needs_systemd
def test_installed_twice_and_removed(elsewhere, tmp_path):
    """Edged lies in a virtual environment of its own; its dependencies are borrowed from here."""
    system = tmp_path / "system"
    (system / "etc").mkdir(parents=True)
    site = next(elsewhere.glob("lib/python3*/site-packages"))
    if site.parent.name != f"python{sys.version_info.major}.{sys.version_info.minor}":
        pytest.skip("the system's Python is of another version than the packages here")
    shutil.copytree(Path(package.__file__).parent, site / "edged")
    for folder in ("config", "models", "systemd"):
        if not (site / "edged" / "share" / folder).exists():
            shutil.copytree(shipped(folder), site / "edged" / "share" / folder, ignore=shutil.ignore_patterns("training"))
    (site / "here.pth").write_text("\n".join(path for path in sys.path if path.endswith("site-packages")) + "\n")
    python = str(elsewhere / "bin/python")
    for _ in range(2):
        done = edged("service", "install", "--root", str(system), python=python)
        assert done.returncode == 0, done.stderr
    assert (system / "etc/systemd/system/multi-user.target.wants/edged.service").is_symlink()
    assert "edged:" in (system / "etc/passwd").read_text()
    unit = system / "etc/systemd/system/edged.service"
    checked = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True, check=False)
    assert not [
        line for line in checked.stderr.splitlines() if "edged.service" in line and "man" not in line and "Unknown key" not in line
    ]
    (system / "etc/edged/edged.toml").write_text("# mine\n")
    assert edged("service", "install", "--root", str(system), python=python).returncode == 0
    assert (system / "etc/edged/edged.toml").read_text() == "# mine\n"
    done = edged("service", "remove", "--root", str(system), python=python)
    assert done.returncode == 0, done.stderr
    assert not unit.exists() and not (system / "etc/systemd/system/multi-user.target.wants/edged.service").is_symlink()
    assert edged("service", "remove", "--root", str(system), python=python).returncode == 1
    assert (system / "etc/edged/edged.toml").exists()


@needs_systemd
def test_the_packages_own_unit_is_left_alone(tmp_path):
    packaged = tmp_path / "usr/lib/systemd/system/edged.service"
    packaged.parent.mkdir(parents=True)
    packaged.touch()
    done = edged("service", "install", "--root", str(tmp_path))
    assert done.returncode == 1 and "Debian package" in done.stderr


def test_a_link_in_the_other_system_does_not_lead_into_this_one(tmp_path, monkeypatch):
    """As /etc/systemd of an image may be: absolute, and meant for the system that boots from it."""
    system, here, tools = tmp_path / "card", tmp_path / "here", tmp_path / "tools"
    for folder in (system / "etc", here / "systemd/system", tools):
        folder.mkdir(parents=True)
    (here / "systemd/system/edged.service").write_text("of this system")
    (system / "etc/systemd").symlink_to(here / "systemd")
    for tool in ("systemctl", "systemd-sysusers"):
        (tools / tool).symlink_to("/bin/true")
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    for verb in ("install", "remove"):
        done = edged("service", verb, "--root", str(system))
        assert done.returncode == 1 and "leads out of" in done.stderr, done.stderr
    assert [path.name for path in here.rglob("*") if path.is_file()] == ["edged.service"]
    assert (here / "systemd/system/edged.service").read_text() == "of this system"
