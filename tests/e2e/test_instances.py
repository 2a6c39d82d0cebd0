"""Two cameras on one board, in the real places: each follows from the name of its config, and no command mixes them up."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.running import HANG_S, Broker, Heard, wait_for
from tests.models import a_picture
from tests.system_folders import SystemFolders, needs_own_folders

pytestmark = needs_own_folders
EDGED = (sys.executable, "-m", "edged")


@pytest.fixture
def folders(tmp_path: Path) -> SystemFolders:
    return SystemFolders(tmp_path / "system")


def text(port: int, source: Path) -> str:
    camera = f"[camera]\nkind = 'pictures'\nsource = '{source}'\n[model]\nname = 'home_0.25_96'\n"
    return f"{camera}[mqtt]\nhost = '127.0.0.1'\nport = {port}\n"


def test_two_instances_and_the_first_daemon_run_beside_each_other(tmp_path, folders):
    broker = Broker(tmp_path)
    heard = Heard(broker.port)
    a_picture(tmp_path)
    names = ("edged", "front", "back")
    for name in names:
        folders.config(f"{name}.toml", text(broker.port, tmp_path))
    options = {"edged": [], "front": ["--instance", "front"], "back": ["--instance", "back"]}
    running = {name: subprocess.Popen(folders.command(*EDGED, "run", *options[name]), stderr=-3) for name in names}
    host = json.loads(folders.run(*EDGED, "check", "--json").stdout)["settings"]["device"]

    def status(name: str) -> dict:
        return json.loads(folders.run(*EDGED, "status", "--json", "-c", f"/etc/edged/{name}.toml").stdout)

    try:
        topics = {f"edged/{host}/result", f"edged/{host}-front/result", f"edged/{host}-back/result"}
        wait_for(lambda: topics <= {topic for topic, _, _ in list(heard.messages)}, 60, "all three see")
        infos = [json.loads(payload) for topic, payload, _ in heard.messages if topic.endswith("/info")]
        assert len({info["device_id"] for info in infos}) == 3, "each is a device of its own"
        said = status("front")
        assert said["device"] == f"{host}-front" and said["config"] == "/etc/edged/front.toml"
        first = folders.run(*EDGED, "status").stdout
        assert f"device    {host} (" in first
        assert "instances back, front (edged status -c /etc/edged/back.toml)" in first
        used = folders.run(*EDGED, "use", "home_0.25_128", "-c", "/etc/edged/back.toml")
        assert used.returncode == 0, used.stderr
        models = {name: status(name)["model"] for name in names}
        assert models == {"edged": "home_0.25_96", "front": "home_0.25_96", "back": "home_0.25_128"}
        running["edged"].terminate()
        assert running["edged"].wait(HANG_S) == 0
        lost = folders.run(*EDGED, "status")
        assert lost.returncode == 69
        assert lost.stderr.endswith("of the instances: back, front (edged status -c /etc/edged/back.toml)\n")
        assert status("front")["device"] == f"{host}-front"
    finally:
        for one in running.values():
            one.terminate()
        for one in running.values():
            one.wait(HANG_S)
        heard.close()
        broker.end()
    lib = tmp_path / "system/lib/edged"
    assert all((folder / "outbox.db").exists() for folder in (lib, lib / "instances/front", lib / "instances/back"))


@pytest.mark.parametrize(("name", "what"), [("edged", "belongs to edged.service"), ("Front", "is no name for an instance")])
def test_what_can_be_no_instance_ends_with_a_sentence_that_systemd_does_not_repeat(folders, name, what):
    done = folders.run(*EDGED, "run", "--instance", name)
    assert (done.returncode, len(done.stderr.splitlines())) == (78, 1) and what in done.stderr


def test_the_doctor_looks_at_what_two_of_them_must_not_share(folders):
    def finding() -> tuple[str, str]:
        found = json.loads(folders.run(*EDGED, "doctor", "--json").stdout)
        return next((one["state"], one["found"]) for one in found if one["check"] == "instances")

    assert finding() == ("ok", "none: one camera")
    folders.config("front.toml", "[camera]\nkind = 'v4l2'\nsource = '/dev/video0'\n")
    assert finding() == ("ok", "front")
    folders.config("back.toml", "device = 'x'\n[camera]\nkind = 'v4l2'\nsource = '/dev/video0'\n")
    assert finding() == ("fail", "back.toml and front.toml have the same camera.source: v4l2 /dev/video0")
    folders.config("back.toml", "device = 'x'\n")
    folders.config("front.toml", "device = 'x'\n[camera]\nsource = '1'\n")
    assert finding() == ("fail", "back.toml and front.toml have the same device: x at localhost:1883, below edged")
    folders.config("back.toml", "broken = \n")
    assert finding() == ("ok", "back, front"), "that is for a doctor of its own"
    folders.config("Front Door.toml", "")
    assert finding()[0] == "warn" and "Front Door.toml can be no instance's config by its name" in finding()[1]


def test_the_first_config_of_an_instance_is_its_own(tmp_path, folders):
    """Before, it had the first daemon's name, and what came next was to put it in the place of the first one's config."""
    a_picture(tmp_path)
    host = json.loads(folders.run(*EDGED, "check", "--json").stdout)["settings"]["device"]
    folders.config("edged.toml", "device = 'first'\n")
    done = folders.run(*EDGED, "init", "-c", "/etc/edged/front.toml", "--camera", tmp_path, "--no-look")
    assert done.returncode == 0, done.stderr
    assert f'device = "{host}-front"' in (folders.folder / "etc/edged/front.toml").read_text()
    service = next(line for line in done.stdout.splitlines() if "as a service" in line)
    assert service.endswith("sudo systemctl enable --now edged@front") and "edged.toml" not in service
