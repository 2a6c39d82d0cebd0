"""Mosquitto on this machine: its configuration (mosquitto.conf(5)), what it keeps on disk, and whether that is whole."""

import shlex
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

from edged.doctor.finding import Finding, fail, ok, skipped, warn
from edged.doctor.site import Site

MAIN = "/etc/mosquitto/mosquitto.conf"
DROP_INS = "/etc/mosquitto/conf.d"
RESTART = "sudo systemctl restart mosquitto"
RELOAD = "sudo systemctl reload mosquitto"
_MOST_FILES = 100
_LONG_S, _DEFAULT_AUTOSAVE_S = 300, 1800
_MAGIC, _OLDEST, _NEWEST, _CHUNKS = b"\0\xb5\0mosquitto db", 5, 6, range(1, 7)
_MOST_BYTES = 64 << 20


@dataclass(frozen=True)
class Mosquitto:
    """Options with the last value and its file; listeners as (port, address). `installed`: the broker's program is here."""

    installed: bool = False
    options: dict[str, tuple[str, str]] = field(default_factory=dict)
    listeners: tuple[tuple[int, str], ...] = ()

    def value(self, key: str, default: str = "") -> str:
        return self.options.get(key, (default, ""))[0]

    def file_of(self, key: str) -> str:
        return self.options.get(key, ("", ""))[1]


def load_mosquitto(site: Site) -> Mosquitto:
    """Never raises; what can't be read is not there."""
    options: dict[str, tuple[str, str]] = {}
    listeners: list[tuple[int, str]] = []
    files, seen = [MAIN], set[str]()
    while files and len(seen) < _MOST_FILES:
        file = files.pop(0)
        seen.add(file)
        for line in site.text(file).splitlines():
            key, _, value = line.strip().partition(" ")
            value = value.strip()
            if not key or key.startswith("#"):
                continue
            if key == "include_dir":
                files += [name for name in site.glob(f"{value}/*.conf") if name not in seen]
            elif key in ("listener", "port") and value.split() and value.split()[0].isdecimal():
                port, *address = value.split()
                listeners.append((int(port), address[0] if address else ""))
            options[key] = (value, file)
    installed = any(site.has(name) for name in ("/usr/sbin/mosquitto", "/usr/bin/mosquitto", "/usr/local/sbin/mosquitto"))
    return Mosquitto(installed, options, tuple(listeners))


def listener_lines(port: int, here: Mosquitto | None = None) -> str:
    """Without a listener of its own, Mosquitto 2 answers only its own machine; with one, nobody without a password.

    here: what is configured already; who may log in was decided there, and is not undone.
    """
    decided = here is not None and bool(here.file_of("password_file") or here.file_of("allow_anonymous"))
    open_it = "" if decided else r"allow_anonymous true\n"
    text = rf"printf 'listener {port}\n{open_it}' | sudo tee {DROP_INS}/edged-listener.conf && {RESTART}"
    return text if decided else f"{text}\n# better than allow_anonymous: password_file, see mosquitto_passwd(1)"


def check_mosquitto(site: Site, here: Mosquitto) -> Iterator[Finding]:
    if not here.installed:
        yield skipped("mosquitto-persistence", "no Mosquitto on this machine")
        yield skipped("mosquitto-database", "no Mosquitto on this machine")
        return
    yield check_persistence(here)
    yield check_database(site, here)


def check_persistence(here: Mosquitto) -> Finding:
    """What Mosquitto has acknowledged is on disk only after the next save: a power cut takes the rest with it."""
    if here.value("persistence", "false") != "true":
        file = here.file_of("persistence")
        if file:
            cure = rf"sudo sed -i 's/^\s*persistence\s.*/persistence true/' {shlex.quote(file)} && {RESTART}"
        else:
            lines = r"persistence true\npersistence_location /var/lib/mosquitto/\nautosave_interval 60\n"
            cure = f"printf '{lines}' | sudo tee {DROP_INS}/persistence.conf && {RESTART}"
        return warn(
            "mosquitto-persistence", "off: retained labels and waiting messages are lost with each restart of the broker", cure
        )
    every, text = here.value("autosave_interval"), str(_DEFAULT_AUTOSAVE_S)
    seconds = int(every) if every.isdecimal() else _DEFAULT_AUTOSAVE_S
    if seconds == 0 or seconds > _LONG_S:
        text = "only when it ends" if seconds == 0 else f"every {seconds} s{'' if every else ' (the default)'}"
        file = here.file_of("autosave_interval")
        change = (
            rf"sudo sed -i 's/^\s*autosave_interval\s.*/autosave_interval 60/' {shlex.quote(file)}"
            if file
            else f"echo 'autosave_interval 60' | sudo tee {DROP_INS}/autosave.conf"
        )
        said = f"saved {text}: what it acknowledged since is lost with the power"
        return warn("mosquitto-persistence", said, f"{change} && {RESTART}")
    return ok("mosquitto-persistence", f"on, saved every {seconds} s")


def check_database(site: Site, here: Mosquitto) -> Finding:
    """A damaged one keeps Mosquitto from starting. Read as Mosquitto reads it: the mark, the version, the chunks one by one."""
    folder = here.value("persistence_location", "/var/lib/mosquitto/").rstrip("/")
    name = f"{folder}/{here.value('persistence_file', 'mosquitto.db')}"
    found = site.stat(name)
    if found is None:
        return ok("mosquitto-database", "none yet")
    data = site.data(name, _MOST_BYTES)
    if data is None:
        return skipped("mosquitto-database", f"{name} can be read by root only: sudo edged doctor")
    fault = to_fault(data, whole=found.st_size <= _MOST_BYTES)
    if fault:
        quoted = shlex.quote(name)
        aside = f"sudo systemctl stop mosquitto; sudo mv {quoted} {quoted}.damaged"
        cure = f"{aside} && sudo systemctl reset-failed mosquitto; sudo systemctl start mosquitto"
        return fail(
            "mosquitto-database",
            f"{name} {fault}: Mosquitto does not start with it, or loses what is in it",
            f"{cure}\n# then: edged replay --since 12h",
        )
    return ok("mosquitto-database", f"{name}, {found.st_size / 1e6:.1f} MB, whole")


def to_fault(data: bytes, *, whole: bool = True) -> str:
    """What is wrong with a database, or "". Pure. Mosquitto takes an empty one. Layout: persist.h of Mosquitto 1.6 and 2."""
    if not data:
        return ""
    if data[: len(_MAGIC)] != _MAGIC:
        return "is not a database: its mark is missing"
    at = len(_MAGIC)
    if len(data) < at + 8:
        return "is cut off"
    _crc, version = struct.unpack_from("!2I", data, at)
    if version < _OLDEST:
        return ""  # of before 1.6, and laid out otherwise
    if version > _NEWEST:
        return f"has the version {version}, which no known Mosquitto writes"
    at += 8
    while at < len(data):
        if len(data) < at + 8:
            return "is cut off" if whole else ""
        chunk, length = struct.unpack_from("!2I", data, at)
        if chunk not in _CHUNKS:
            return f"is damaged at byte {at}"
        at += 8 + length
    return "is cut off" if at > len(data) and whole else ""
