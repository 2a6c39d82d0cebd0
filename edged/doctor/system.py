"""The operating system and the Python that runs edged."""

import sys
from collections.abc import Iterator

from edged.doctor.finding import Finding, fail, ok, skipped, warn
from edged.doctor.site import Site
from edged.system.text import printable

_ELF, _64_BIT = b"\x7fELF", 2
_OLDEST, _NEWEST = (3, 11), (3, 13)


def check_system(
    site: Site, bits: int = 64 if sys.maxsize > 2**32 else 32, python: tuple[int, ...] = sys.version_info[:3]
) -> Iterator[Finding]:
    yield check_os(site, bits)
    yield check_python(python)


def check_os(site: Site, bits: int) -> Finding:
    """A Pi's 32-bit system has a 64-bit kernel since 2023, so the kernel is not asked: programs are looked at."""
    name = _release(site) or "Linux"
    shell = site.data("/bin/sh", 5) or site.data("/usr/bin/env", 5) or b""
    if shell[:4] == _ELF and len(shell) == 5:
        bits = 64 if shell[4] == _64_BIT else 32
    said = f"{name}, {bits}-bit{f', on {site.model}' if site.model else ''}"
    if bits != 64:
        return fail("os", f"{said}: the runtime has no wheel for it", '# flash "Raspberry Pi OS (64-bit)" with Raspberry Pi Imager')
    return ok("os", said)


def check_python(version: tuple[int, ...]) -> Finding:
    said = ".".join(map(str, version))
    if version[:2] < _OLDEST:
        return fail("python", f"{said}: edged needs 3.11 or newer", "# Raspberry Pi OS Bookworm (3.11) or Trixie (3.13) has it")
    if version[:2] > _NEWEST:
        return warn(
            "python",
            f"{said}: newer than what edged is tested with (3.11 to 3.13)",
            "python3.13 -m venv --system-site-packages ~/edged",
        )
    return ok("python", said)


def check_cgroup(site: Site) -> Finding:
    """Without the memory cgroup, systemd takes MemoryMax= and does nothing with it."""
    controllers = site.text("/sys/fs/cgroup/cgroup.controllers").split()
    if "memory" in controllers:
        return ok("memory-cgroup", "on")
    rows = [line.split() for line in site.text("/proc/cgroups").splitlines()]
    if not controllers and any(row[:1] == ["memory"] and row[-1] == "1" for row in rows):
        return ok("memory-cgroup", "on")  # the first version of cgroups
    said = "off: systemd's MemoryMax= does nothing; edged guards its memory itself"
    if not site.is_pi:
        return skipped("memory-cgroup", said)
    file = next(
        (name for name in ("/boot/firmware/cmdline.txt", "/boot/cmdline.txt") if site.has(name)), "/boot/firmware/cmdline.txt"
    )
    if "cgroup_enable=memory" in site.text(file).split():
        return warn("memory-cgroup", f"off until the next start ({file} has it)", "sudo reboot")
    # the firmware puts cgroup_disable=memory before our words, and the last one wins
    cure = f"sudo sed -i '1s/$/ cgroup_enable=memory cgroup_memory=1/' {file} && sudo reboot"
    return warn("memory-cgroup", said, cure)


def _release(site: Site) -> str:
    for line in site.text("/etc/os-release").splitlines():
        key, _, value = line.partition("=")
        if key == "PRETTY_NAME":
            return printable(value.strip("\"' "), lambda _: "")[:80]
    return ""
