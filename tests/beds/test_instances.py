"""Two cameras on a machine that boots: edged@front and edged@back beside edged.service, killed, stopped, booted anew, upgraded.

Needs the bed that systemd/build makes, and the package that `make deb ARCH=amd64 SUITE=trixie` makes.
"""

import contextlib
import json
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import pytest
import tomlkit

from edged.delivery.audit import Account
from tests.beds.machine import Machine
from tests.beds.test_systemd import CHECKOUT, MODEL, folder, installed, package, pytestmark, renumbered  # noqa: F401  # fixtures
from tests.contract.vision.test_cameras import card
from tests.e2e.running import wait_for

CAMERA = {"kind": "pictures", "source": "/opt/album", "fps": 5.0, "show_s": 0.4}
QUICK = {"ignore": [], "hold_s": 0.1, "enter": 0.3, "leave": 0.2, "margin": 0.05}
CONFIG = {"camera": CAMERA, "model": MODEL, "decision": QUICK}


class EveryTopic:
    """A subscriber inside the machine: (topic, payload) with the device in it; its session outlives a reboot of the broker."""

    def __init__(self, machine: Machine) -> None:
        self.messages: list[tuple[str, Any]] = []
        self._lock = threading.Lock()
        loop = "until mosquitto_sub -q 1 -t 'edged/#' -F '%t %p'; do sleep 0.2; done"
        self._process = subprocess.Popen(machine.command("sh", "-c", loop), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            with contextlib.suppress(ValueError, UnicodeDecodeError):
                topic, payload = line.decode().rstrip("\n").split(" ", 1)
                with self._lock:
                    self.messages.append((topic, json.loads(payload) if payload[:1] == "{" else payload))

    def of(self, device: str, topic: str) -> list[Any]:
        with self._lock:
            return [body for name, body in self.messages if name.split("/", 1)[1] == f"{device}/{topic}"]

    def report(self) -> list[dict[str, Any]]:
        """edged's own account of what arrived: boots with what is missing of each."""
        account = Account(from_start=True)
        with self._lock:
            for topic, body in self.messages:
                account.take(topic, body, None)
        return account.report()

    def close(self) -> None:
        self._process.kill()
        self._process.wait()


@pytest.fixture(scope="module")
def machine(installed: Machine, folder: Path) -> Iterator[Machine]:  # noqa: F811
    machine = Machine(folder / "instances", installed.changed)
    configs = machine.changed / "etc/edged"
    configs.mkdir(parents=True)
    for name in ("edged", "front", "back"):
        (configs / f"{name}.toml").write_text(tomlkit.dumps(CONFIG | ({"device": "first"} if name == "edged" else {})))
    machine.on()
    yield machine
    machine.off()


@pytest.fixture(scope="module")
def heard(machine: Machine) -> Iterator[EveryTopic]:
    heard = EveryTopic(machine)
    yield heard
    heard.close()


def test_from_the_package_to_an_event_in_three_commands(folder):  # noqa: F811
    """The README's own lines, in a machine that has a broker and a camera, and never had edged."""
    machine = Machine(folder / "quick")
    shown = cv2.resize(card(), (640, 480), interpolation=cv2.INTER_AREA)
    frames, drop_in = machine.changed / "opt/frames", machine.changed / "etc/systemd/system/edged.service.d/bed.conf"
    for path in (frames, drop_in.parent, machine.changed / "root"):
        path.mkdir(parents=True)
    for number in range(8):
        cv2.imwrite(str(frames / f"{number}.jpg"), cv2.convertScaleAbs(shown, alpha=1 - number / 100))
    drop_in.write_text('[Service]\nEnvironment=LD_PRELOAD=/opt/shims/dmaheap.so "LIBCAMERA_LOG_LEVELS=*:ERROR"\n')
    shutil.copy(package(), machine.changed / "root/edged.deb")
    text = (CHECKOUT / "README.md").read_text()
    lines = [line.partition(" #")[0].strip() for line in text.split("## On a Pi")[1].split("```")[1].splitlines()[1:]]
    assert lines[0].startswith("make deb") and lines[1].startswith("sudo apt install")
    assert lines[2:4] == ["systemctl status edged", "edged watch -h localhost"]
    machine.on()
    try:
        machine.run("systemctl", "start", "mosquitto")
        machine.run("sh", "-c", re.sub(r"\./edged_\S+", "/root/edged.deb", lines[1].removeprefix("sudo ")) + " -y")
        wait_for(lambda: "Active: active (running)" in machine.says("systemctl", "status", "edged"), 60, "it runs")
        said = machine.says(*lines[3].split(), "--seconds", "10")
        events = [line for line in said.splitlines() if "/event " in line]
        if not events:  # it was decided, and acknowledged, before anybody listened
            machine.run("sh", "-c", "(sleep 1; systemctl restart edged) >/dev/null 2>&1 &")
            said = machine.says(*lines[3].split(), "--seconds", "60")
            events = [line for line in said.splitlines() if "/event " in line]
        assert events and "/result " in said, said
        assert "label     " in machine.says("edged", "status")
        machine.run("edged", "snapshot", "-o", "/root/picture.jpg")
        assert machine.path("/root/picture.jpg").stat().st_mode & 0o777 == 0o600
        assert "edged_camera_up{" in machine.says("edged", "status", "--prometheus", "--all")
    finally:
        machine.off()


def pid_of(machine: Machine, name: str) -> int:
    return int(machine.show("MainPID", unit=f"edged@{name}")[0])


def host(machine: Machine) -> str:
    return re.sub(r"[^a-z0-9_-]", "-", machine.says("hostname").lower())


def pss_mb(machine: Machine, pid: int) -> float:
    """The share of memory that is this process's own, and of what it shares with others its part."""
    lines = machine.path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return round(sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024, 1)


def test_both_publish_beside_the_first_under_names_of_their_own(machine, heard):
    machine.run("systemctl", "enable", "--now", "edged@front", "edged@back")
    for name in ("front", "back"):
        wait_for(lambda: heard.of(f"{host(machine)}-{name}", "event"), 60, f"{name} publishes")  # noqa: B023
    wait_for(lambda: heard.of("first", "event"), 60, "the first publishes")
    infos = [heard.of(device, "info")[-1]["device_id"] for device in ("first", f"{host(machine)}-front", f"{host(machine)}-back")]
    assert len(set(infos)) == 3
    for name in ("front", "back"):
        assert machine.path(f"/var/lib/edged/instances/{name}/outbox.db").exists()
        assert machine.path(f"/run/edged/instances/{name}").is_dir()
    said = machine.says("edged", "status")
    assert "instances back, front (edged status -c /etc/edged/back.toml)" in said
    assert f"device    {host(machine)}-front (" in machine.says("edged", "status", "-c", "/etc/edged/front.toml")
    shares = {name: [pss_mb(machine, pid_of(machine, name))] for name in ("front", "back")}
    for line in machine.says("pgrep", "-a", "-f", r"edged\.vision [0-9]").splitlines():
        pid, parent = int(line.split()[0]), int(re.search(r"edged\.vision (\d+)", line)[1])
        for name in shares:
            if parent == pid_of(machine, name):
                shares[name].append(pss_mb(machine, pid))
    print("memory (PSS, MB; courier, vision):", shares, "together", round(sum(map(sum, shares.values())), 1))
    assert all(len(one) == 2 for one in shares.values())


@pytest.mark.parametrize(("killed", "other"), [("front", "back"), ("back", "front")])
def test_neither_loses_an_event_when_the_other_is_killed(machine, heard, killed, other):
    before, survivor = pid_of(machine, killed), pid_of(machine, other)
    boots = {event["boot"] for event in heard.of(f"{host(machine)}-{killed}", "event")}  # before it can be back
    machine.run("kill", "-KILL", str(before))
    count = len(heard.of(f"{host(machine)}-{other}", "event"))
    wait_for(lambda: len(heard.of(f"{host(machine)}-{other}", "event")) >= count + 5, 30, "the other goes on")
    wait_for(lambda: pid_of(machine, killed) not in (0, before), 40, "the killed one is back")
    wait_for(lambda: {e["boot"] for e in heard.of(f"{host(machine)}-{killed}", "event")} - boots, 40, "it publishes again")
    assert pid_of(machine, other) == survivor

    def complete() -> bool:
        report = heard.report()
        return len(report) >= 4 and not any(boot["missing"] for boot in report)

    wait_for(complete, 20, f"every event of every boot: {heard.report()}")
    print([(boot["device"], boot["received"], boot["missing"], boot["duplicates"]) for boot in heard.report()])


def test_each_stops_alone_and_the_first_too(machine, heard):
    machine.run("systemctl", "stop", "edged@front")
    assert machine.show("ActiveState", unit="edged@front") == ["inactive"]
    for name in ("edged@back", "edged"):  # one of them was killed a moment ago
        wait_for(lambda: machine.show("ActiveState", unit=name) == ["active"], 40, f"{name} is on")  # noqa: B023
    count = len(heard.of(f"{host(machine)}-back", "event"))
    wait_for(lambda: len(heard.of(f"{host(machine)}-back", "event")) >= count + 3, 30, "back goes on")
    machine.run("systemctl", "start", "edged@front")
    machine.run("systemctl", "stop", "edged")
    assert machine.path("/run/edged/instances/front").is_dir(), "what is the first one's is its own"
    for name in ("front", "back"):
        count = len(heard.of(f"{host(machine)}-{name}", "event"))
        wait_for(lambda: len(heard.of(f"{host(machine)}-{name}", "event")) >= count + 3, 40, f"{name} goes on")  # noqa: B023
    machine.run("systemctl", "start", "edged")


def test_an_instance_named_edged_is_refused_once(machine):
    machine.run("systemctl", "start", "edged@edged", check=False)
    wait_for(lambda: machine.show("ActiveState", "ExecMainStatus", unit="edged@edged") == ["failed", "78"], 20, "it has ended")
    assert 'an instance can not be named "edged"' in machine.journal("edged@edged")
    assert machine.show("NRestarts", unit="edged@edged") == ["0"]
    machine.run("systemctl", "reset-failed", "edged@edged")


def test_a_reload_is_for_one_of_them(machine):
    machine.write("/etc/edged/front.toml", tomlkit.dumps(CONFIG | {"camera": CAMERA | {"fps": "many"}}))
    assert machine.run("systemctl", "reload", "edged@front", check=False).returncode != 0
    assert "front.toml:" in machine.journal("edged@front")
    machine.run("systemctl", "reload", "edged@back")
    machine.write("/etc/edged/front.toml", tomlkit.dumps(CONFIG))
    machine.run("systemctl", "reload", "edged@front")


def test_an_upgrade_keeps_what_each_was_and_restarts_all(machine, heard):
    before = {unit: int(machine.show("MainPID", unit=unit)[0]) for unit in ("edged", "edged@front", "edged@back")}
    machine.run("chown", "-R", "root:root", "/var/lib/edged/instances")  # as a command that root ran may leave it
    machine.path("/root/newer.deb").write_bytes(renumbered(package().read_bytes(), "99.0~deb13"))
    machine.run("apt-get", "install", "-y", "--no-install-recommends", "/root/newer.deb")
    for unit, pid in before.items():
        wait_for(lambda: int(machine.show("MainPID", unit=unit)[0]) not in (0, pid), 30, f"{unit} is the new one")  # noqa: B023
        assert machine.show("ActiveState", unit=unit) == ["active"]
    owners = machine.says("stat", "-c", "%U:%G %a", "/var/lib/edged/instances", "/var/lib/edged/instances/front").split("\n")
    assert owners[0].startswith("edged:edged") and owners[1] == "edged:edged 750", owners
    for device in ("first", f"{host(machine)}-front", f"{host(machine)}-back"):
        count = len(heard.of(device, "event"))
        wait_for(lambda: len(heard.of(device, "event")) >= count + 3, 40, f"{device} goes on")  # noqa: B023
    wait_for(lambda: not any(boot["missing"] for boot in heard.report()), 20, "nothing is missing")
