"""Faults planted one by one in a booted Debian: found, cured by the command that was printed, and then all is as before."""

import json
import os
import shutil
import subprocess
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.beds.machine import Machine

BEDS = Path(os.environ.get("EDGED_BEDS", "/var/tmp/edged-beds"))
CHECKOUT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or not (BEDS / "systemd" / "built").is_file() or not shutil.which("systemd-nspawn"),
    reason=f"no systemd bed in {BEDS} (tests/beds/systemd/build makes it), no systemd-nspawn, or not root",
)

ADDRESS = "10.99.0.7"
PACKAGES = "/opt/venv/lib/python3.13/site-packages"
EDGED = """#!/bin/sh
export PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=/opt/shims:/opt/edged
exec /opt/venv/bin/python -m edged "$@"
"""
CONFIG = """device = "door"
state_folder = "/var/lib/edged"

[camera]
kind = "picamera2"
fps = 5.0

[mqtt]
host = "localhost"
user = "edged"
password_file = "/etc/edged/password"
"""
MOSQUITTO = """listener 1883
allow_anonymous false
password_file /etc/mosquitto/passwd
acl_file /etc/mosquitto/acl
autosave_interval 60
"""
# a board as it should be: a user with a camera, a broker with passwords, an ACL and a database, and what tells that it is a Pi
WELL = rf"""
set -e
printf '#!/bin/sh\nexec "$@"\n' >/usr/bin/sudo
cp /bed-edged /usr/bin/edged
chmod 755 /usr/bin/sudo /usr/bin/edged
rm -rf {PACKAGES}/picamera2 {PACKAGES}/picamera2-*.dist-info
useradd --system edged && usermod -aG video edged
install -d -o edged -g edged -m 750 /var/lib/edged
install -d /etc/edged /wheels
mount -o remount,rw /sys
install -d /sys/firmware/devicetree/base
printf 'Raspberry Pi 4 Model B Rev 1.5\0' >/sys/firmware/devicetree/base/model
cp /bed-edged.toml /etc/edged/edged.toml
cp /bed-mosquitto.conf /etc/mosquitto/conf.d/bed.conf
echo secret-of-the-bed >/etc/edged/password
chown edged:edged /etc/edged/password && chmod 600 /etc/edged/password
install -m 640 -g mosquitto /dev/null /etc/mosquitto/passwd
mosquitto_passwd -b /etc/mosquitto/passwd edged secret-of-the-bed
printf 'user edged\ntopic readwrite edged/door/#\n' >/etc/mosquitto/acl
chgrp mosquitto /etc/mosquitto/acl && chmod 640 /etc/mosquitto/acl
for node in media0 video0; do mknod /dev/$node c 1 3; chgrp video /dev/$node; chmod 660 /dev/$node; done
printf '[global]\nno-index = true\nfind-links = /wheels\n' >/etc/pip.conf
mkdir -p /var/log/journal && systemctl restart systemd-journald
systemctl restart mosquitto
"""


@dataclass(frozen=True)
class Fault:
    """`check` must become other than ok. `along`: those that rest on it and may say so too."""

    check: str
    plant: str
    along: tuple[str, ...] = ()
    says: str = ""
    config: str = ""


LISTENERS_GONE = """
rm /etc/mosquitto/conf.d/bed.conf; printf 'autosave_interval 60\\n' >/etc/mosquitto/conf.d/saving.conf
systemctl restart mosquitto
"""
SMALL_DISK = """
mount -t tmpfs -o size=150m tmpfs /var/cache/apt/archives && mkdir /var/cache/apt/archives/partial /var/cache/apt/archives/edged
mount --bind /var/cache/apt/archives/edged /var/lib/edged && chown edged:edged /var/lib/edged && chmod 750 /var/lib/edged
head -c 120M /dev/zero >/var/cache/apt/archives/large_1.0_all.deb
"""
WORN = """
mknod /dev/loop-control c 10 237; for n in 0 1 2 3 4 5 6 7; do mknod /dev/loop$n b 7 $n; done
mount -o loop /card /var/lib/edged && chown edged:edged /var/lib/edged && chmod 750 /var/lib/edged
mount -o remount,ro /var/lib/edged
"""
MOTION = r"""
printf '[Service]\nExecStart=/bin/sh -c "exec sleep infinity 3<>/dev/video0"\n[Install]\nWantedBy=multi-user.target\n' \
  >/etc/systemd/system/motion.service
systemctl daemon-reload && systemctl start motion && until ls -l /proc/*/fd 2>/dev/null | grep -q /dev/video0; do :; done
"""
MODEL = """
cp /opt/edged/models/home_0.25_96.tflite /tmp/own.tflite
edged models add /tmp/own.tflite --as own >/dev/null
printf '\\377' | dd of=/var/lib/edged/models/own.tflite bs=1 seek=200000 conv=notrunc status=none
"""
CUT_OFF = """
systemctl stop mosquitto
truncate -s -7 /var/lib/mosquitto/mosquitto.db
"""
BROKER = ("broker-login", "broker-topics", "broker-limits", "client-id")

FAULTS = {
    "a typing error in the config": Fault(
        "config", "sed -i 's/^fps/fsp/' /etc/edged/edged.toml", ("camera-library", "camera-device", "camera-holder"), "fsp"
    ),
    "a numpy that a power cut left half written": Fault(
        "numpy",
        f"truncate -s 1000 {PACKAGES}/numpy/__init__.py",
        ("opencv", "runtime", "colour-order", "model-runs", "camera-library"),
    ),
    "a libcamera from pip": Fault(
        "camera-library", "/opt/venv/bin/python -m pip install -q --no-deps rpi-libcamera", says="comes from pip"
    ),
    "a camera whose node is root's alone": Fault(
        "camera-device", "chown root:root /dev/media0; chmod 600 /dev/media0", says="/dev/media0"
    ),
    "a user who is not in the group video": Fault("camera-device", "gpasswd -d edged video", says="edged may not open it"),
    "a camera that a service holds": Fault("camera-holder", MOTION, says="sleep"),
    "a camera that a program holds": Fault(
        "camera-holder",
        "setsid sleep 600 3<>/dev/media0 >/dev/null 2>&1 & until ls -l /proc/*/fd | grep -q media0; do :; done",
        says="sleep",
    ),
    "a flipped bit in a model": Fault("model-files", MODEL, says="own.tflite"),
    "a broker that does not run": Fault("broker-reach", "systemctl stop mosquitto", BROKER, "refused"),
    "a broker that answers localhost only": Fault("broker-reach", LISTENERS_GONE, BROKER, "no listener line", config=ADDRESS),
    "a wrong password": Fault(
        "broker-login", "mosquitto_passwd -b /etc/mosquitto/passwd edged another && systemctl reload mosquitto", BROKER, "edged"
    ),
    "an ACL that forbids": Fault(
        "broker-topics",
        "printf 'user edged\\ntopic readwrite somewhere/else\\n' >/etc/mosquitto/acl; systemctl reload mosquitto",
        ("broker-limits",),
        "edged/door",
    ),
    "a tiny limit of packets": Fault(
        "broker-limits", "echo 'max_packet_size 1000' >>/etc/mosquitto/conf.d/bed.conf; systemctl restart mosquitto", says="1000"
    ),
    "a broker that keeps nothing": Fault(
        "mosquitto-persistence", "sed -i 's/^persistence true/persistence false/' /etc/mosquitto/mosquitto.conf", says="off"
    ),
    "a damaged database": Fault("mosquitto-database", CUT_OFF, ("broker-reach", *BROKER), "cut off"),
    "a password that all may read": Fault("password-file", "chmod 644 /etc/edged/password", says="everybody"),
    "a password that edged may not read": Fault("password-file", "chown root:root /etc/edged/password", says="may not read"),
    "a state folder of root's": Fault("state-folder", "chown root:root /var/lib/edged", says="may not write"),
    "a disk mounted read-only": Fault("disk-writable", WORN, says="read-only"),
    "a full disk": Fault("disk-free", SMALL_DISK, ("disk-writable",), "MB free"),
    "a journal in memory": Fault(
        "journal",
        "mkdir -p /usr/lib/systemd/journald.conf.d; printf '[Journal]\\nStorage=volatile\\n'"
        " >/usr/lib/systemd/journald.conf.d/40-rpi-volatile-storage.conf; systemctl restart systemd-journald",
        says="volatile",
    ),
    "a watchdog beyond the chip's limit": Fault(
        "watchdog",
        "mkdir -p /etc/systemd/system.conf.d;"
        " printf '[Manager]\\nRuntimeWatchdogSec=1min\\n' >/etc/systemd/system.conf.d/10-w.conf",
        says="1min",
    ),
}
TIDY = {"a full disk": "umount /var/lib/edged /var/cache/apt/archives", "a disk mounted read-only": "umount /var/lib/edged"}


class Board(Machine):
    """A machine that remembers which fault it was left with, if one was."""

    left_ill_by = ""

    def sh(self, script: str, *, check: bool = True) -> subprocess.CompletedProcess[str]:
        return self.run("bash", "-c", script, check=check)


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Board]:
    folder = tmp_path_factory.mktemp("board")
    board = Board(folder)
    put = board.changed / "opt/edged"
    for part in ("edged", "models", "config"):
        shutil.copytree(CHECKOUT / part, put / part, ignore=shutil.ignore_patterns("__pycache__", "training"))
    units = board.changed / "etc/systemd/system"
    units.mkdir(parents=True)
    for unit in ("systemd-networkd-wait-online.service", "systemd-networkd.service", "systemd-networkd.socket"):
        (units / unit).symlink_to("/dev/null")
    often = units / "mosquitto.service.d/often.conf"  # the faults and their cures start it again and again
    often.parent.mkdir()
    often.write_text("[Unit]\nStartLimitIntervalSec=0\n")
    try:
        board.on()
        for name, text in {"edged": EDGED, "edged.toml": CONFIG, "mosquitto.conf": MOSQUITTO}.items():
            board.write(f"/bed-{name}", text)
        board.sh(WELL)
        # by this machine's `ip`, for there is none inside
        subprocess.run(["nsenter", "-t", str(board.init), "-n", "ip", "address", "add", f"{ADDRESS}/32", "dev", "lo"], check=True)
        subprocess.run(["mkfs.ext4", "-q", str(board.path("/card")), "1G"], check=True, stderr=subprocess.DEVNULL)
        repack(BEDS / "libcamera" / PACKAGES.lstrip("/"), "numpy", board.path("/wheels"))
        make_wheel(board.path("/wheels"), "rpi_libcamera", {"libcamera/__init__.py": "class CameraManager: ...\n"})
        yield board
    finally:
        board.off()
        board.remove()


@pytest.fixture(scope="module")
def well(board: Board) -> dict[str, Any]:
    """What the doctor says of the board before anything is wrong with it."""
    return look(board)


def look(board: Board, config: str = "") -> dict[str, Any]:
    done = board.sh(f"edged doctor --json {f'-c {config}' if config else ''}", check=False)
    assert done.returncode in (0, 1) and not done.stderr, done.stderr
    found = {finding["check"]: finding for finding in json.loads(done.stdout)}
    assert done.returncode == int(any(finding["state"] == "fail" for finding in found.values()))
    assert "secret-of-the-bed" not in done.stdout
    return found


def states(found: dict[str, Any]) -> dict[str, str]:
    return {check: finding["state"] for check, finding in found.items()}


def test_a_board_that_is_well(well: dict[str, Any]) -> None:
    failed = {check: finding for check, finding in well.items() if finding["state"] == "fail"}
    assert not failed
    # nobody sets this machine's clock, and it has no memory cgroup of a Pi
    assert {check for check, finding in well.items() if finding["state"] == "warn"} <= {"clock", "memory-cgroup"}


def test_who_is_not_root_sees_less_and_no_failure(board: Board) -> None:
    done = board.sh("cd / && runuser -u edged -- edged doctor --json", check=False)
    found = {finding["check"]: finding for finding in json.loads(done.stdout)}
    assert not done.stderr and not [one for one in found.values() if one["state"] == "fail"]
    assert found["broker-login"]["state"] == "ok" and found["camera-holder"]["found"] == "nobody that this user may see"
    stranger = board.sh("cd / && runuser -u nobody -- edged doctor --json", check=False)
    assert not stranger.stderr and "secret-of-the-bed" not in stranger.stdout
    assert {one["check"]: one["state"] for one in json.loads(stranger.stdout)}["broker-login"] == "skipped"


@pytest.mark.parametrize("name", FAULTS)
def test_a_planted_fault_is_found_and_its_cure_works(board: Board, well: dict[str, Any], name: str) -> None:
    assert not board.left_ill_by, f"the board still suffers from {board.left_ill_by}"
    board.left_ill_by = name
    fault = FAULTS[name]
    config, before = "", well
    if fault.config:
        config = "/srv/other.toml"  # a file in /etc/edged would be a second camera
        board.sh(f"sed 's/localhost/{fault.config}/;/^user/d;/^password_file/d' /etc/edged/edged.toml >{config}; {OPEN}")
        before = look(board, config)
    assert before[fault.check]["state"] == "ok", before[fault.check]
    board.sh(fault.plant)
    found = look(board, config)
    ill = found[fault.check]
    assert ill["state"] in ("fail", "warn") and fault.says in ill["found"], ill
    others = {check for check in found if check != fault.check and states(found)[check] != states(before)[check]}
    assert others <= set(fault.along), {check: found[check] for check in others}
    cured = board.sh(ill["cure"], check=False)
    after = look(board, config)
    print(f"{name}: {ill['check']} {ill['state']}: {ill['found']}\n{ill['cure']}\n{cured.stdout[-500:]}{cured.stderr[-500:]}")
    if fault.check != "disk-free":  # the small disk is in memory, and that is told too
        assert states(after) == states(before), (after[fault.check], cured.stdout, cured.stderr)
    assert after[fault.check]["state"] == ("warn" if fault.check == "disk-free" else "ok")
    board.sh(TIDY.get(name, "true"))
    if fault.config:
        board.sh(
            "rm -f /etc/mosquitto/conf.d/*; cp /bed-mosquitto.conf /etc/mosquitto/conf.d/bed.conf; systemctl restart mosquitto"
        )
    board.left_ill_by = ""


OPEN = (
    "printf 'listener 1883\\nallow_anonymous true\\nautosave_interval 60\\n' >/etc/mosquitto/conf.d/bed.conf;"
    " systemctl restart mosquitto"
)


def repack(packages: Path, name: str, target: Path) -> None:
    """The wheel that an installed distribution came from, made again from its own list of files."""
    (info,) = packages.glob(f"{name}-*.dist-info")
    tag = next(line.split(": ")[1] for line in (info / "WHEEL").read_text().splitlines() if line.startswith("Tag: "))
    with zipfile.ZipFile(target / f"{info.name.removesuffix('.dist-info')}-{tag}.whl", "w") as wheel:
        for line in (info / "RECORD").read_text().splitlines():
            file = line.split(",")[0]
            if not file.startswith("..") and (packages / file).is_file() and "__pycache__" not in file:
                wheel.write(packages / file, file)


def make_wheel(target: Path, name: str, files: dict[str, str]) -> None:
    with zipfile.ZipFile(target / f"{name}-0.1-py3-none-any.whl", "w") as wheel:
        info = f"{name}-0.1.dist-info"
        about = {
            f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name.replace('_', '-')}\nVersion: 0.1\n",
            f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: bed\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        }
        for file, text in (files | about).items():
            wheel.writestr(file, text)
        wheel.writestr(f"{info}/RECORD", "".join(f"{file},,\n" for file in (*files, *about)) + f"{info}/RECORD,,\n")
