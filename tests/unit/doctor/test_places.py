"""The doctor's rooms on planted folders: what a fault looks like, and that nothing there can make a room fall over."""

import os
import struct
import subprocess
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edged.config.reading import read_settings
from edged.doctor.camera import check_camera, nodes_of
from edged.doctor.clock import check_clock
from edged.doctor.finding import Finding, fail, ok, warn, worst
from edged.doctor.mosquitto import check_mosquitto, load_mosquitto, to_fault
from edged.doctor.person import Person, find_person
from edged.doctor.power import check_heat, check_power
from edged.doctor.settings import check_camera_password, check_password_file
from edged.doctor.site import Site
from edged.doctor.storage import check_free, check_journal, check_read_only, check_state_folder, check_writes, mount_of
from edged.doctor.system import check_cgroup, check_os, check_python
from edged.doctor.watchdog import check_watchdog, to_seconds

EDGED = Person("edged", 999, frozenset({999, 44}))
PI = {"/proc/device-tree/model": "Raspberry Pi 4 Model B Rev 1.5\0"}
PASSWD = {"/etc/passwd": "root:x:0:0::/:/bin/sh\nedged:x:999:999::/:/bin/false\npi:x:1000:1000::/:/bin/sh\n"}
GROUP = {"/etc/group": "root:x:0:\nvideo:x:44:edged\nrender:x:105:\nedged:x:999:\n"}
NOW_S = 1_790_000_000.0


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def plant(site: Site, files: dict[str, str | bytes]) -> Site:
    for name, content in files.items():
        path = site.path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return site


def test_the_worst_of_several_with_each_cure_once() -> None:
    one = worst([warn("c", "a", "x"), fail("c", "b", "y"), fail("c", "d", "y")], ok("c", "fine"))
    assert one == Finding("c", "fail", "a; b; d", "x\ny")
    assert worst([], ok("c", "fine")).found == "fine"


# the system


def test_a_32_bit_system_under_a_64_bit_kernel(site: Site) -> None:
    plant(site, {"/bin/sh": b"\x7fELF\x01\x01\x01", "/etc/os-release": 'PRETTY_NAME="Raspbian"\n'})
    found = check_os(site, 64)
    assert found.state == "fail" and "Raspbian, 32-bit" in found.found and "64-bit" in found.cure
    plant(site, {"/bin/sh": b"\x7fELF\x02\x01\x01"})
    assert check_os(site, 32).state == "ok"
    assert check_os(Site(site.root / "nothing"), 32).state == "fail"


def test_pythons() -> None:
    assert [check_python(v).state for v in ((3, 9, 2), (3, 11, 0), (3, 13, 9), (3, 14, 0))] == ["fail", "ok", "ok", "warn"]


def test_the_memory_cgroup(site: Site) -> None:
    assert check_cgroup(site).state == "skipped"
    plant(site, PI | {"/sys/fs/cgroup/cgroup.controllers": "cpu io\n", "/boot/firmware/cmdline.txt": "root=/dev/mmcblk0p2\n"})
    found = check_cgroup(site)
    assert found.state == "warn" and "cgroup_enable=memory" in found.cure
    order = found.cure.split("sudo ", 1)[1].split(" && ")[0].replace("/boot/firmware", str(site.path("/boot/firmware")))
    subprocess.run(order, shell=True, check=True)
    assert site.text("/boot/firmware/cmdline.txt") == "root=/dev/mmcblk0p2 cgroup_enable=memory cgroup_memory=1"
    assert check_cgroup(site).cure == "sudo reboot"
    plant(site, {"/sys/fs/cgroup/cgroup.controllers": "cpu io memory\n"})
    assert check_cgroup(site).state == "ok"


@pytest.mark.parametrize(
    ("value", "state"),
    [
        ("60", "fail"),
        ("1min", "fail"),
        ("15s", "ok"),
        ("off", "ok"),
        ("default", "ok"),
        ("", "ok"),
        ("16 s", "fail"),
        ("\x1b[2J", "ok"),
    ],
)
def test_the_watchdog(site: Site, value: str, state: str) -> None:
    plant(site, {"/etc/systemd/system.conf": f"[Manager]\n#RuntimeWatchdogSec=90\nRuntimeWatchdogSec={value}\n"})
    assert check_watchdog(site).state == "skipped"
    plant(site, PI)
    assert check_watchdog(site).state == state


def test_later_drop_ins_win(site: Site) -> None:
    plant(site, PI | {"/usr/lib/systemd/system.conf.d/20-x.conf": "RuntimeWatchdogSec=60\n"})
    assert check_watchdog(site).state == "fail"
    plant(site, {"/etc/systemd/system.conf.d/99-watchdog.conf": "RuntimeWatchdogSec=15\n"})
    assert check_watchdog(site).state == "ok"
    plant(site, {"/etc/systemd/system.conf.d/99-watchdog.conf": "", "/etc/systemd/system.conf.d/20-x.conf": "# masks the other\n"})
    assert check_watchdog(site).state == "ok"


def test_time_spans() -> None:
    told = {"15": 15.0, "1min 30s": 90.0, "2h": 7200.0, "500ms": 0.5, "soon": None, "-5": None, "1 fortnight": None}
    assert {text: to_seconds(text) for text in told} == told


# clock, power, heat


def test_clocks(site: Site) -> None:
    def look(wall_s: float, synced: bool = True) -> Finding:
        return check_clock(site, lambda: wall_s, lambda: synced)

    assert look(0.0).state == "fail" and "never set" in look(0.0).found
    assert look(NOW_S, synced=False).state == "warn" and "timedatectl set-ntp true" in look(NOW_S, synced=False).cure
    assert look(NOW_S).state == "warn" and "no battery" in look(NOW_S).found
    plant(site, {"/var/lib/systemd/timesync/clock": ""})
    os.utime(site.path("/var/lib/systemd/timesync/clock"), (NOW_S, NOW_S))
    assert look(NOW_S + 10).state == "ok"
    assert look(NOW_S - 365 * 86400).state == "fail"
    plant(site, {"/sys/class/rtc/rtc0/name": "x", "/run/systemd/timesync/synchronized": ""})
    assert look(NOW_S, synced=False).state == "ok"
    assert look(1e12).state == "fail" and look(-1e18).state == "fail"


FLAGS = "/sys/devices/platform/soc/soc:firmware/get_throttled"


@pytest.mark.parametrize(
    ("flags", "power", "heat"),
    [
        ("0", "ok", "ok"),
        ("50005", "fail", "fail"),
        ("50000", "warn", "warn"),
        ("0x1", "fail", "ok"),
        ("80008", "ok", "fail"),
        ("x", "skipped", "ok"),
    ],
)
def test_power_and_heat(site: Site, flags: str, power: str, heat: str) -> None:
    assert check_power(site).state == "skipped" and check_heat(site).state == "skipped"
    plant(site, PI | {FLAGS: f"{flags}\n", "/sys/class/thermal/thermal_zone0/temp": "45000\n"})
    assert (check_power(site).state, check_heat(site).state) == (power, heat)


def test_the_under_voltage_alarm_of_hwmon(site: Site) -> None:
    plant(site, {"/sys/class/hwmon/hwmon1/in0_lcrit_alarm": "1\n"})
    assert check_power(site).state == "fail"
    plant(site, {"/sys/class/hwmon/hwmon1/in0_lcrit_alarm": "0\n", "/dev/vcio": "no device\n"})
    assert check_power(site).state == "ok"


# storage


def test_mounts(site: Site, tmp_path: Path) -> None:
    mounts = "/dev/root / ext4 rw,noatime 0 0\ntmpfs /var/lib/edg tmpfs rw 0 0\n/dev/sda1 /mnt/my\\040disk ext4 ro 0 0\nodd\n"
    plant(site, {"/proc/self/mounts": mounts})
    assert mount_of(site, Path("/var/lib/edged"))[:2] == ("/", "ext4")
    assert check_read_only(site, Path("/var/lib/edged")).state == "ok"
    found = check_read_only(site, Path("/mnt/my disk/edged"))
    assert found.state == "fail" and "remount,rw '/mnt/my disk'" in found.cure
    assert check_read_only(site, Path("/var/lib/edg")).state == "warn"
    plant(site, {"/proc/cmdline": "console=tty1 overlayroot=tmpfs rootwait"})
    assert "disable_overlayfs" in check_read_only(site, Path("/var/lib/edged")).cure


def test_room(site: Site) -> None:
    assert check_free(site, Path("/var/lib/edged"), 0.0).state in ("ok", "warn")
    found = check_free(site, Path("/var/lib/edged"), 1e12)
    assert found.state == "fail" and "apt-get clean" in found.cure


def test_what_is_written_to_the_card(site: Site) -> None:
    def look(sectors: int, uptime_s: float) -> Finding:
        plant(site, {"/sys/block/mmcblk0/stat": f"1 2 3 4 5 6 {sectors} 8 9\n", "/proc/uptime": f"{uptime_s} 1\n"})
        return check_writes(site)

    assert check_writes(site).state == "skipped"
    assert look(2_000_000, 86400).state == "ok" and "1.0 GB a day" in look(2_000_000, 86400).found
    assert look(60_000_000, 86400).state == "warn"
    assert look(2_000_000, 60).state == "ok"


def test_journals(site: Site) -> None:
    assert check_journal(site).state == "skipped"
    plant(site, {"/etc/systemd/journald.conf": "[Journal]\n#Storage=auto\n"})
    assert check_journal(site).state == "warn" and "/var/log/journal" in check_journal(site).found
    plant(site, {"/var/log/journal/x": ""})
    assert check_journal(site).state == "ok"
    plant(site, {"/usr/lib/systemd/journald.conf.d/40-rpi-volatile-storage.conf": "[Journal]\nStorage=volatile\n"})
    assert check_journal(site).state == "warn"
    plant(site, {"/etc/systemd/journald.conf.d/99-edged.conf": "[Journal]\nStorage=persistent\n"})
    assert check_journal(site).state == "ok"


def test_state_folders(site: Site) -> None:
    folder, me = Path("/var/lib/edged"), Person("me", os.getuid() or 12345, frozenset())
    nobody = Person("nobody", 54321, frozenset())
    assert check_state_folder(site, folder, nobody).state == "fail"
    assert check_state_folder(site, folder, Person("edged", -1, dynamic=True)).state == "ok"
    site.path("/var/lib/edged").mkdir(parents=True, mode=0o700)
    assert check_state_folder(site, folder, nobody).state == "fail"
    site.path("/var/lib/edged").chmod(0o777)
    open_to_all = check_state_folder(site, folder, me)
    assert open_to_all.state == "warn" and "chmod o-rwx" in open_to_all.cure
    site.path("/var/lib/edged").chmod(0o770)
    assert check_state_folder(site, folder, Person("me", os.getuid() or 12345, frozenset({os.getgid()}))).state == "ok"
    plant(site, {"/var/lib/edged/outbox.db": ""}).path("/var/lib/edged/outbox.db").chmod(0o600)
    assert check_state_folder(site, folder, nobody).state == "fail"
    site.path("/var/lib/edged/outbox.db").unlink()
    site.path("/var/lib/edged").rmdir()
    plant(site, {"/var/lib/edged": ""})
    assert "not a folder" in check_state_folder(site, folder, me).found


def test_password_files(site: Site) -> None:
    me = Person("me", os.getuid() or 12345, frozenset())
    assert check_password_file(site, "", me).state == "ok"
    assert check_password_file(site, "/p", me).state == "fail"
    path = plant(site, {"/p": "secret"}).path("/p")
    path.chmod(0o604)
    assert "everybody" in check_password_file(site, "/p", me).found
    path.chmod(0o600)
    assert check_password_file(site, "/p", Person("x", 54321)).state == "fail"


@pytest.mark.parametrize("source", ["rtsp://u:SECRET@cam/1", "http://cam/v?pwd=SECRET", "rtsp://u:a/SECRET@cam"])
def test_a_password_in_the_config(site: Site, tmp_path: Path, source: str) -> None:
    path = tmp_path / "edged.toml"
    path.write_text(f"[camera]\nkind = 'stream'\nsource = '{source}'\n")
    reading, here = read_settings(path), Site(Path("/"))
    path.chmod(0o644)
    found = check_camera_password(here, reading, EDGED)
    assert found.state == "fail" and "everybody" in found.found and "chmod 640" in found.cure
    path.chmod(0o640)
    found = check_camera_password(here, reading, EDGED)
    assert found.state == "warn" and "camera_password" in found.cure
    assert "SECRET" not in found.found + found.cure
    path.write_text("[camera]\nkind = 'stream'\nsource = 'rtsp://cam/1'\nuser = 'u'\n")
    assert check_camera_password(here, read_settings(path), EDGED).state == "ok"


# the camera


def test_who_counts(site: Site) -> None:
    assert find_person(site, 1000, "") == Person("user 1000", 1000, frozenset(os.getgroups()))
    plant(site, PASSWD | GROUP)
    assert find_person(site, 0, "pi") == EDGED
    assert find_person(site, 1000, "").name == "pi"
    plant(site, {"/usr/lib/systemd/system/edged.service": "[Service]\nUser=pi\nSupplementaryGroups=video render\n"})
    assert find_person(site, 0, "").gids == {1000, 44, 105} and find_person(site, 0, "").has_unit
    plant(site, {"/etc/systemd/system/edged.service.d/a.conf": "SupplementaryGroups=\nUser=absent\nDynamicUser=yes\n"})
    assert find_person(site, 0, "") == Person("edged", -1, frozenset(), dynamic=True, has_unit=True)


def found_of(site: Site, kind: str, source: str, person: Person) -> dict[str, Finding]:
    return {one.check: one for one in check_camera(site, kind, source, person)}


def test_nodes(site: Site) -> None:
    plant(site, PASSWD | GROUP)
    stranger = Person("pi", 54321, frozenset({54321}))
    assert found_of(site, "pictures", "/x", stranger)["camera-device"].state == "skipped"
    assert "ribbon cable" in found_of(site, "picamera2", "0", stranger)["camera-device"].cure
    plant(site, {"/boot/firmware/config.txt": "dtparam=audio=on\ncamera_auto_detect=0\nstart_x = 1\n"})
    cure = found_of(site, "picamera2", "0", stranger)["camera-device"].cure
    subprocess.run(cure.split(" && ")[0].removeprefix("sudo ").replace("/boot", str(site.path("/boot"))), shell=True, check=True)
    assert site.text("/boot/firmware/config.txt") == "dtparam=audio=on\ncamera_auto_detect=1"
    plant(site, {"/dev/media0": "", "/dev/video0": "", "/dev/dma_heap/linux,cma": ""})
    assert len(nodes_of(site, "picamera2", "0")) == 3
    for node in nodes_of(site, "picamera2", "0"):
        site.path(node).chmod(0o660)
    closed = found_of(site, "picamera2", "0", stranger)["camera-device"]
    assert closed.state == "fail" and closed.found.count("may not open it") == 3
    assert found_of(site, "picamera2", "0", Person("root", 0))["camera-device"].state == "ok"
    absent = found_of(site, "v4l2", "/dev/video7", stranger)["camera-device"]
    assert absent.state == "fail" and "/dev/video0" in absent.found


def test_holders(site: Site) -> None:
    plant(site, {"/dev/video0": "", "/proc/77/comm": "motion\x1b[2J\n", "/proc/77/cgroup": "0::/system.slice/motion.service\n"})
    site.path("/proc/77/fd").mkdir()
    assert found_of(site, "v4l2", "0", EDGED)["camera-holder"].state == "ok"
    site.path("/proc/77/fd/3").symlink_to(site.path("/dev/video0"))
    held = found_of(site, "v4l2", "0", EDGED)["camera-holder"]
    assert held.state == "fail" and "process 77" in held.found and held.found.isprintable()
    assert held.cure == "sudo systemctl disable --now motion.service"
    plant(site, {"/proc/77/cgroup": "0::/user.slice\n"})
    assert found_of(site, "v4l2", "0", EDGED)["camera-holder"].cure == "sudo kill 77"
    plant(site, {"/proc/77/comm": "wireplumber\n"})
    assert found_of(site, "v4l2", "0", EDGED)["camera-holder"].state == "warn"
    plant(site, {"/proc/77/cmdline": b"python\0-m\0edged.vision\x005\x006\0"})
    assert found_of(site, "v4l2", "0", EDGED)["camera-holder"].found == "edged itself"


# Mosquitto's own files


def test_mosquittos_configuration(site: Site) -> None:
    assert [one.state for one in check_mosquitto(site, load_mosquitto(site))] == ["skipped", "skipped"]
    plant(
        site,
        {
            "/usr/sbin/mosquitto": "",
            "/etc/mosquitto/mosquitto.conf": "# x\npersistence true\nautosave_interval 900\ninclude_dir /etc/mosquitto/conf.d\n",
            "/etc/mosquitto/conf.d/a.conf": "listener 1883 127.0.0.1\nlistener 8883\ninclude_dir /etc/mosquitto/conf.d\n",
            "/etc/mosquitto/conf.d/b.conf": "autosave_interval 60\n",
        },
    )
    here = load_mosquitto(site)
    assert here.listeners == ((1883, "127.0.0.1"), (8883, "")) and here.value("autosave_interval") == "60"
    assert [one.state for one in check_mosquitto(site, here)] == ["ok", "ok"]
    plant(site, {"/etc/mosquitto/conf.d/b.conf": "autosave_interval 0\npersistence false\n"})
    assert [one.state for one in check_mosquitto(site, load_mosquitto(site))] == ["warn", "ok"]


def a_database(*lengths: int, version: int = 6) -> bytes:
    chunks = b"".join(struct.pack("!2I", 1 + n % 6, length) + bytes(length) for n, length in enumerate(lengths))
    return b"\0\xb5\0mosquitto db" + struct.pack("!2I", 0, version) + chunks


def test_databases() -> None:
    whole = a_database(16, 0, 70)
    assert to_fault(whole) == "" and to_fault(a_database(version=3)) == ""
    assert "version" in to_fault(a_database(version=99))
    assert to_fault(whole[:-1]) == "is cut off" and to_fault(whole[:20]) == "is cut off"
    assert "byte 39" in to_fault(a_database(8) + bytes(20)) and "mark" in to_fault(bytes(100))
    assert to_fault(whole[:-30], whole=False) == ""


@given(st.binary(max_size=300))
@settings(max_examples=200)
def test_no_bytes_are_too_odd_for_the_database(data: bytes) -> None:
    assert isinstance(to_fault(b"\0\xb5\0mosquitto db" + data), str)


# whatever lies there

FILES = [
    "/etc/os-release", "/bin/sh", "/proc/cmdline", "/proc/uptime", "/proc/self/mounts", "/proc/cgroups", "/proc/device-tree/model",
    "/etc/passwd", "/etc/group", "/etc/systemd/system.conf", "/etc/systemd/journald.conf", "/etc/mosquitto/mosquitto.conf",
    "/usr/lib/systemd/system/edged.service", "/boot/firmware/config.txt", "/boot/firmware/cmdline.txt", "/dev/media0",
    "/dev/video0",
    "/dev/vcio", "/proc/5/fd", "/proc/5/comm", "/proc/5/cgroup", "/proc/5/cmdline", FLAGS, "/sys/block/mmcblk0/stat",
    "/sys/class/hwmon/hwmon0/in0_lcrit_alarm", "/sys/class/thermal/thermal_zone0/temp", "/sys/fs/cgroup/cgroup.controllers",
    "/var/lib/mosquitto/mosquitto.db", "/usr/sbin/mosquitto", "/var/lib/edged", "/var/lib/systemd/timesync/clock", "/p",
]  # fmt: skip
ODD: dict[str, Callable[[Path], Any]] = {
    "nothing in it": lambda path: path.touch(),
    "bytes": lambda path: path.write_bytes(bytes(range(256)) * 8),
    "very long": lambda path: path.write_bytes(b"9" * 2_000_000),
    "lines": lambda path: path.write_text(":\n=\n \n:::::\nlistener\nlistener x\ninclude_dir /\nUser=\nStorage=\n1 2\n" * 50),
    "numbers": lambda path: path.write_text("-1 99999999999999999999 nan inf 1e999 0 -7 8\n"),
    "a pipe": os.mkfifo,
    "a folder": Path.mkdir,
    "a link to itself": lambda path: path.symlink_to(path.name),
    "a link to nowhere": lambda path: path.symlink_to("/nowhere/at/all"),
    "closed": lambda path: (path.write_text("x"), path.chmod(0)),
}  # fmt: skip


def every_room(site: Site) -> Iterable[Finding]:
    person, folder = find_person(site, 0, "pi"), Path("/var/lib/edged")
    yield from (
        check_os(site, 64),
        check_cgroup(site),
        check_watchdog(site),
        check_clock(site),
        check_power(site),
        check_heat(site),
    )
    yield from (check_read_only(site, folder), check_free(site, folder, 1), check_writes(site), check_journal(site))
    yield from (check_state_folder(site, folder, person), check_password_file(site, "/p", person))
    for kind, source in (("picamera2", "0"), ("v4l2", "0"), ("v4l2", "\0"), ("v4l2", "/dev/video0")):
        yield from check_camera(site, kind, source, person)
    yield from check_mosquitto(site, load_mosquitto(site))


@pytest.mark.parametrize("what", ODD)
def test_nothing_that_lies_there_makes_a_room_fall_over(site: Site, what: str) -> None:
    for name in FILES:
        path = site.path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        ODD[what](path)
    found = list[Finding]()
    looking = threading.Thread(target=lambda: found.extend(every_room(site)), daemon=True)
    looking.start()
    looking.join(10)
    assert not looking.is_alive(), "it waits for something"
    assert len(found) >= 20 and all(one.cure for one in found if one.state in ("warn", "fail"))


def test_an_empty_root(site: Site) -> None:
    assert all(one.cure for one in every_room(site) if one.state in ("warn", "fail"))
