"""The disk: room, whether it can be written, how much is, and what of it outlives a power cut."""

import os
import shlex
import stat
from collections.abc import Iterator
from pathlib import Path

from edged.doctor.finding import Finding, fail, ok, skipped, warn
from edged.doctor.person import Person
from edged.doctor.site import Site

_LITTLE_MB = 512.0
_SECTOR_BYTES = 512  # whatever the disk's own is (Documentation/block/stat.rst)
_MUCH_GB_A_DAY = 10.0  # a common 32 GB card is said to stand some ten terabytes
_LONG_ENOUGH_S = 600.0
_VOLATILE = ("tmpfs", "ramfs")


def check_storage(site: Site, folder: Path, min_free_mb: float) -> Iterator[Finding]:
    """`folder`: the state folder; it need not be there yet."""
    yield check_read_only(site, folder)
    yield check_free(site, folder, min_free_mb)
    yield check_writes(site)
    yield check_journal(site)


def nearest(site: Site, folder: Path) -> Path:
    """The folder itself below the site's root, or the nearest above it that is there."""
    there = site.path(str(folder))
    return next((one for one in (there, *there.parents) if os.access(one, os.F_OK)), site.root)


def mount_of(site: Site, folder: Path) -> tuple[str, str, str]:
    """(mount point, type, options) of the file system that holds a folder; the last of those that fit best."""
    best = ("/", "", "")
    for line in site.text("/proc/self/mounts").splitlines():
        parts = line.split()
        if len(parts) < 4:
            continue
        point = parts[1].encode().decode("unicode_escape", errors="replace")  # \040 is a space
        if Path(folder).is_relative_to(point) and len(point) >= len(best[0]):
            best = (point, parts[2], parts[3])
    return best


def check_read_only(site: Site, folder: Path) -> Finding:
    point, kind, options = mount_of(site, folder)
    words = site.text("/proc/cmdline").split()
    if any(word.startswith("overlayroot=tmpfs") or word == "boot=overlay" for word in words):
        cure = "sudo raspi-config nonint disable_overlayfs && sudo reboot"
        return fail("disk-writable", f"{folder} is on an overlay in memory: waiting events are lost with the power", cure)
    try:
        frozen = bool(os.statvfs(nearest(site, folder)).f_flag & os.ST_RDONLY)
    except OSError as error:
        return fail(
            "disk-writable",
            f"{folder}: {error.strerror}",
            "sudo fsck -n /dev/mmcblk0p2\nsudo dmesg | grep -iE 'ext4|mmc|i/o error' | tail",
        )
    if frozen or "ro" in options.split(","):
        worn = "# if that fails or it comes again, the card is worn: sudo dmesg | grep -iE 'ext4|mmc'"
        cure = f"sudo mount -o remount,rw {shlex.quote(point)}\n{worn}"
        return fail("disk-writable", f"{folder} is on a file system that is mounted read-only ({point})", cure)
    if kind in _VOLATILE:
        return warn(
            "disk-writable",
            f"{folder} is in memory ({kind} at {point}): waiting events are lost with the power",
            f"sudo umount {shlex.quote(point)}",
        )
    return ok("disk-writable", f"{folder} on {kind or 'a file system'} at {point}")


def check_free(site: Site, folder: Path, min_free_mb: float) -> Finding:
    where = nearest(site, folder)
    try:
        room = os.statvfs(where)
    except OSError as error:
        return skipped("disk-free", f"{folder}: {error.strerror}")
    free_mb, nodes = room.f_bavail * room.f_frsize / 1e6, room.f_favail
    cure = "sudo apt-get clean && sudo journalctl --vacuum-size=50M\n# what is large: sudo du -xh / | sort -h | tail"
    said = f"{free_mb:.0f} MB free for {folder}"
    if free_mb < min_free_mb:
        return fail("disk-free", f"{said}; below {min_free_mb:g} MB (outbox.min_free_mb) events wait in memory only", cure)
    if room.f_files and nodes < 1000:
        return fail("disk-free", f"{said}, but only {nodes} files can be made", cure)
    return warn("disk-free", said, cure) if free_mb < _LITTLE_MB else ok("disk-free", said)


def check_writes(site: Site) -> Finding:
    """What was written to SD cards and eMMC since the start, as a rate: the only honest figure that needs no waiting."""
    uptime_s = _first_number(site.text("/proc/uptime"))
    busiest, busiest_gb = "", 0.0
    for name in site.glob("/sys/block/mmcblk*/stat"):
        fields = site.text(name).split()
        if len(fields) > 6 and fields[6].isdecimal() and "boot" not in name and int(fields[6]) * _SECTOR_BYTES / 1e9 >= busiest_gb:
            busiest, busiest_gb = name.split("/")[3], int(fields[6]) * _SECTOR_BYTES / 1e9
    if not busiest:
        return skipped("disk-writes", "no SD card")
    a_day = busiest_gb / max(uptime_s, 1.0) * 86400
    said = f"{busiest}: {busiest_gb:.1f} GB written since the start, {a_day:.1f} GB a day"
    if uptime_s < _LONG_ENOUGH_S:
        return ok("disk-writes", f"{said} (started too lately to judge)")
    if a_day > _MUCH_GB_A_DAY:
        return warn(
            "disk-writes",
            f"{said}: a card wears out within a few years",
            "sudo apt install iotop-c && sudo iotop -aoP  # who writes",
        )
    return ok("disk-writes", said)


def check_journal(site: Site) -> Finding:
    """Raspberry Pi OS keeps the journal in memory, to spare the card."""
    value, where = site.setting(site.drop_ins("journald.conf"), "Storage")
    drop_in = r"printf '[Journal]\nStorage=persistent\nSystemMaxUse=50M\n' | sudo tee /etc/systemd/journald.conf.d/99-edged.conf"
    cure = f"sudo mkdir -p /etc/systemd/journald.conf.d && {drop_in} && sudo systemctl restart systemd-journald"
    if not site.drop_ins("journald.conf") and not site.has("/run/log/journal") and not site.has("/var/log/journal"):
        return skipped("journal", "there is no systemd-journald")
    if value == "none":
        return warn("journal", f"nothing is kept (Storage=none in {where})", cure)
    if value == "volatile" or (value != "persistent" and not site.has("/var/log/journal")):
        why = f"Storage=volatile in {where}" if value == "volatile" else "there is no /var/log/journal"
        return warn("journal", f"in memory only ({why}): after a power cut nobody can read why", cure)
    return ok("journal", "kept on disk")


def check_state_folder(site: Site, folder: Path, person: Person) -> Finding:
    """Whether the service's user may write there; what systemd makes at the start need not be there yet."""
    if person.dynamic:
        return ok("state-folder", f"{folder}: systemd makes it for the service")
    found = site.stat(str(folder))
    group = shlex.quote(person.name)
    make = f"sudo install -d -o {group} -g $(id -gn {group}) -m 750 {shlex.quote(str(folder))}"
    if found is None:
        above = nearest(site, folder)
        try:
            may = person.may(above.stat(), 3)
        except OSError:
            may = False
        if may or person.has_unit:
            return ok("state-folder", f"{folder} is made at the first start")
        return fail("state-folder", f"{folder} is not there, and {person.name} may not make it", make)
    if not _is_folder(found):
        aside = shlex.quote(f"{folder}.aside")
        return fail("state-folder", f"{folder} is not a folder", f"sudo mv {shlex.quote(str(folder))} {aside} && {make}")
    own = f"sudo chown -R {group}:$(id -gn {group}) {shlex.quote(str(folder))} && sudo chmod -R u+rwX {shlex.quote(str(folder))}"
    if not person.may(found, 7):
        return fail("state-folder", f"{folder}: {person.name} may not write there", own)
    if found.st_mode & 0o005 and person.uid != -1:
        close = f"sudo chmod o-rwx {shlex.quote(str(folder))}"
        return warn("state-folder", f"{folder}: everybody on this machine may look into it", close)
    # a JSON file is replaced by another one, so it is enough that it can be read
    inside = dict.fromkeys((*site.glob(f"{folder}/*.db"), *site.glob(f"{folder}/*.db-*")), 6)
    inside |= dict.fromkeys(site.glob(f"{folder}/*.json"), 4)
    for name, wanted in inside.items():
        if (file := site.stat(name)) is not None and not person.may(file, wanted):
            return fail("state-folder", f"{name}: {person.name} may not {'write' if wanted == 6 else 'read'} it", own)
    return ok("state-folder", f"{folder}, writable by {person.name}")


def _is_folder(found: os.stat_result) -> bool:
    return stat.S_ISDIR(found.st_mode)


def _first_number(text: str) -> float:
    try:
        return float(text.split()[0])
    except (ValueError, IndexError):
        return 0.0
