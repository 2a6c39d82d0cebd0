"""The camera's device nodes: there, open to the service's user, and held by nobody else. None is opened here."""

import os
import re
import shlex
from collections.abc import Iterator

from edged.doctor.finding import Finding, fail, ok, skipped, warn, worst
from edged.doctor.person import Person, describe_mode, group_name, group_number
from edged.doctor.site import Site
from edged.system.figures import holders
from edged.system.text import printable

_LIBCAMERA = ("/dev/media*", "/dev/video*", "/dev/v4l-subdev*", "/dev/dma_heap/linux,cma", "/dev/dma_heap/vidbuf_cached")
_READ_WRITE = 6
_HARMLESS = {"pipewire", "wireplumber"}  # they hold the nodes of every camera and film with none
_CONFIG_TXT = ("/boot/firmware/config.txt", "/boot/config.txt")


def check_camera(site: Site, kind: str, source: str, person: Person) -> Iterator[Finding]:
    """Two findings for cameras that are devices, none but "skipped" for the others."""
    if kind not in ("picamera2", "v4l2"):
        why = f"camera.kind = {kind} needs no device" if kind else "see config"
        yield from (skipped(check, why) for check in ("camera-device", "camera-holder"))
        return
    nodes = nodes_of(site, kind, source)
    yield check_nodes(site, kind, source, nodes, person)
    yield check_holder(site, nodes)


def nodes_of(site: Site, kind: str, source: str) -> list[str]:
    """The nodes that are there and that this camera needs."""
    if kind == "v4l2":
        name = f"/dev/video{source}" if source.isdecimal() else source
        return [name] if site.has(name) else []
    return [name for pattern in _LIBCAMERA for name in site.glob(pattern)]


def check_nodes(site: Site, kind: str, source: str, nodes: list[str], person: Person) -> Finding:
    if kind == "v4l2" and not nodes:
        there = ", ".join([*site.glob("/dev/v4l/by-id/*index0"), *site.glob("/dev/video*")]) or "none"
        cure = "# plug the camera in, or set camera.source to one of these:\nls -l /dev/v4l/by-id /dev/video*"
        return fail("camera-device", f"{source}: there is no such camera; there are: {there}", cure)
    if kind == "picamera2" and not any(name.startswith("/dev/media") for name in nodes):
        return _no_camera(site)
    closed = [name for name in nodes if (found := site.stat(name)) is not None and not person.may(found, _READ_WRITE)]
    good = ok("camera-device", f"{', '.join(nodes[:3])}{' …' if len(nodes) > 3 else ''}: open to {person.name}")
    return worst((_closed(site, name, person) for name in closed), good)


def _no_camera(site: Site) -> Finding:
    file = next((name for name in _CONFIG_TXT if site.has(name)), "")
    lines = [line.strip() for line in site.text(file).splitlines()] if file else []
    if any(re.fullmatch(r"start_x\s*=\s*1|gpu_camera\s*=\s*1|camera_auto_detect\s*=\s*0", line) for line in lines):
        orders = "/^start_x\\s*=/d;/^gpu_camera\\s*=/d;s/^camera_auto_detect\\s*=.*/camera_auto_detect=1/"
        cure = f"sudo sed -i {shlex.quote(orders)} {file} && sudo reboot"
        return fail("camera-device", f"no /dev/media*: {file} switches libcamera's cameras off", cure)
    cure = (
        "# switch off, seat the ribbon cable at both ends (contacts to the contacts), switch on; then:\nrpicam-hello --list-cameras"
    )
    return fail("camera-device", "no /dev/media*: the kernel sees no camera", cure)


def _closed(site: Site, name: str, person: Person) -> Finding:
    found = site.stat(name)
    assert found is not None
    said = f"{name} ({describe_mode(found, site)}): {person.name} may not open it"
    group = group_name(site, found.st_gid)
    group_may = found.st_mode >> 3 & _READ_WRITE == _READ_WRITE
    if group_may and found.st_gid != 0:
        if person.has_unit:
            folder = "/etc/systemd/system/edged.service.d"
            text = rf"printf '[Service]\nSupplementaryGroups={group}\n' | sudo tee {folder}/groups.conf"
            restart = "sudo systemctl daemon-reload && sudo systemctl restart edged"
            cure = f"sudo mkdir -p {folder} && {text} && {restart}"
        else:
            cure = f"sudo usermod -aG {shlex.quote(group)} {shlex.quote(person.name)}  # then log in again"
        return fail("camera-device", said, cure)
    wanted = "video" if group_number(site, "video") is not None else group
    rights = f"sudo chgrp {wanted} {shlex.quote(name)} && sudo chmod 660 {shlex.quote(name)}"
    member = group_number(site, "video") in person.gids
    more = "" if member or person.has_unit else f"\nsudo usermod -aG {wanted} {shlex.quote(person.name)}  # then log in again"
    return fail("camera-device", said, f"# udev's rules set this at each start; for now:\n{rights}{more}")


def check_holder(site: Site, nodes: list[str]) -> Finding:
    """Who has a camera's node open, as far as the one who asks may see (root sees all)."""
    wanted = {str(os.path.realpath(site.path(name))) for name in nodes if not name.startswith("/dev/dma_heap")}
    found = [_holder(site, f"/proc/{pid}") for pid in holders(wanted, site.path("/proc"))]
    strange = [one for one in found if one is not None]
    if strange:
        return worst(strange, strange[0])
    if not nodes:
        return skipped("camera-holder", "there is no camera")
    return ok("camera-holder", "edged itself" if found else "nobody" if os.geteuid() == 0 else "nobody that this user may see")


_STARTERS = frozenset({"cron.service", "crond.service", "atd.service", "rc-local.service", "ssh.service", "systemd-udevd.service"})


def _parent(site: Site, process: str) -> str:
    found = re.search(r"^PPid:\s*(\d+)", site.text(f"{process}/status"), re.MULTILINE)
    return found[1] if found else "1"


def _holder(site: Site, process: str) -> Finding | None:
    """None for edged's own vision process."""
    pid = process.rsplit("/", 1)[-1]
    command = (site.data(f"{process}/cmdline") or b"").split(b"\0")
    if b"edged.vision" in command or str(os.getpid()) == pid:
        return None
    name = printable(site.text(f"{process}/comm"))[:40] or "a program"
    said = f"held by {name} (process {pid})"
    unit = re.search(r"/system\.slice/([A-Za-z0-9_@.-]+\.service)(?:$|/)", site.text(f"{process}/cgroup"), re.MULTILINE)
    if name in _HARMLESS:
        return warn("camera-holder", f"{said}, which lets go when asked", "systemctl --user stop wireplumber pipewire")
    # a unit that starts others' programs is not the one to end for what it started
    is_its_own = unit is not None and unit[1] not in _STARTERS and _parent(site, process) == "1"
    cure = f"sudo systemctl disable --now {shlex.quote(unit[1])}" if unit and is_its_own else f"sudo kill {pid}"
    return fail("camera-holder", said, cure)
