"""Whose rights count: the service's user, where there is a service, else whoever asks."""

import os
import stat
from dataclasses import dataclass, field

from edged.doctor.site import Site

_UNITS = ("/etc/systemd/system", "/run/systemd/system", "/usr/local/lib/systemd/system", "/usr/lib/systemd/system")


@dataclass(frozen=True, slots=True)
class Person:
    """A user by number, with all groups. dynamic: systemd makes the user up when the service starts (DynamicUser=)."""

    name: str
    uid: int
    gids: frozenset[int] = field(default_factory=frozenset)
    dynamic: bool = False
    has_unit: bool = False

    def may(self, found: os.stat_result, wanted: int) -> bool:
        """Whether the mode grants all of `wanted` (4 read, 2 write, 1 execute), as the kernel decides it without ACLs."""
        if self.uid == 0:
            return True
        mode = found.st_mode
        if found.st_uid == self.uid:
            granted = mode >> 6
        elif found.st_gid in self.gids:
            granted = mode >> 3
        else:
            granted = mode
        return granted & wanted == wanted


def unit_files(site: Site, unit: str = "edged.service") -> list[str]:
    """The unit and its drop-ins, in the order in which systemd reads them; [] when there is none."""
    main = next((f"{folder}/{unit}" for folder in _UNITS if site.has(f"{folder}/{unit}")), "")
    named = {path.rsplit("/", 1)[-1]: path for folder in reversed(_UNITS) for path in site.glob(f"{folder}/{unit}.d/*.conf")}
    return [main, *(named[name] for name in sorted(named))] if main else []


def unit_values(site: Site, files: list[str], key: str) -> list[str]:
    """Every word that a key is set to; an empty assignment forgets those before it (systemd.exec(5))."""
    words: list[str] = []
    for file in files:
        for line in site.text(file).splitlines():
            name, equals, text = line.partition("=")
            if equals and name.strip() == key:
                words = words + text.split() if text.strip() else []
    return words


def find_person(site: Site, uid: int | None = None, sudo_user: str | None = None) -> Person:
    """The user of edged.service, else the user `edged` or who called sudo when root asks, else who asks."""
    uid = os.getuid() if uid is None else uid
    sudo_user = os.environ.get("SUDO_USER", "") if sudo_user is None else sudo_user
    files = unit_files(site)
    if files:
        name = (unit_values(site, files, "User") or ["root"])[-1]
        more = unit_values(site, files, "SupplementaryGroups") + unit_values(site, files, "Group")
        if (unit_values(site, files, "DynamicUser") or ["no"])[-1] in ("yes", "true", "1", "on") and not _entry(site, name):
            return Person("edged", -1, frozenset(_gids(site, more)), dynamic=True, has_unit=True)
        return _person(site, name, more, has_unit=True)
    if uid == 0:
        name = next((one for one in ("edged", sudo_user) if one and _entry(site, one)), "root")
        return _person(site, name, [])
    asked = next((row for row in _rows(site, "/etc/passwd", 4) if row[2] == str(uid)), None)
    if asked is None:
        return Person(f"user {uid}", uid, frozenset(os.getgroups()))
    return _person(site, asked[0], [])


def group_name(site: Site, gid: int) -> str:
    return next((row[0] for row in _rows(site, "/etc/group", 3) if row[2] == str(gid)), str(gid))


def group_number(site: Site, name: str) -> int | None:
    return next((int(row[2]) for row in _rows(site, "/etc/group", 3) if row[0] == name and row[2].isdecimal()), None)


def describe_mode(found: os.stat_result, site: Site) -> str:
    """As ls says it: `crw-rw---- root:video`."""
    owner = next((row[0] for row in _rows(site, "/etc/passwd", 4) if row[2] == str(found.st_uid)), str(found.st_uid))
    return f"{stat.filemode(found.st_mode)} {owner}:{group_name(site, found.st_gid)}"


def _person(site: Site, name: str, more_groups: list[str], has_unit: bool = False) -> Person:
    entry = _entry(site, name)
    if entry is None or not (entry[2].isdecimal() and entry[3].isdecimal()):
        return Person(name, 0 if name == "root" else -1, frozenset(_gids(site, more_groups)), has_unit=has_unit)
    member_of = [row[0] for row in _rows(site, "/etc/group", 4) if name in row[3].split(",")]
    return Person(name, int(entry[2]), frozenset({int(entry[3]), *_gids(site, member_of + more_groups)}), has_unit=has_unit)


def _entry(site: Site, name: str) -> list[str] | None:
    return next((row for row in _rows(site, "/etc/passwd", 4) if name in (row[0], row[2])), None)


def _gids(site: Site, names: list[str]) -> set[int]:
    return {gid for name in names if (gid := group_number(site, name)) is not None}


def _rows(site: Site, file: str, fewest: int) -> list[list[str]]:
    return [row for line in site.text(file).splitlines() if len(row := line.split(":")) >= fewest]
