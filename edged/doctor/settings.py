"""The config file, as `edged check` sees it."""

import shlex
from pathlib import Path

from edged.config.machine import surroundings
from edged.config.reading import SYSTEM_FILE, Reading, read_settings
from edged.config.source import Source
from edged.doctor.finding import Finding, fail, ok, warn
from edged.doctor.person import Person
from edged.doctor.site import Site
from edged.doctor.toml_cure import to_comment_out
from edged.errors import ConfigError, ModelError
from edged.system.text import shown_address

CAMERA_PASSWORD = "/etc/edged/camera_password"  # what the unit hands over as a credential


def read_config(path: Path | None) -> tuple[Reading | None, ConfigError | None]:
    """The reading, or None for what is no TOML at all, and every fault. Opens no device."""
    try:
        reading = read_settings(path)
    except ConfigError as error:
        return None, error
    try:
        found = reading.to_error(surroundings(reading))
    except ModelError:  # a damaged card in the state folder, which the models' room tells
        found = reading.to_error()
    return reading, found


def check_config(site: Site, path: Path | None, reading: Reading | None, error: ConfigError | None) -> Finding:
    file = str(path or SYSTEM_FILE)
    option = f" -c {shlex.quote(file)}" if path else ""
    if error is not None:
        cure = to_comment_out(site, file, error.lines if all(error.lines) else [])
        if site.data(file, 1) is None:
            cure = f"ls -ld {shlex.quote(file)}"
        return fail("config", "; ".join(error.faults), f"{cure}\nedged check{option}")
    from_file = reading.source.file if reading is not None else ""
    return ok("config", from_file or f"no {SYSTEM_FILE}: the defaults")


def check_camera_password(site: Site, reading: Reading | None, person: Person) -> Finding:
    """Whether the config itself holds the camera's password, and who may read it there."""
    source = reading.settings.camera.source if reading is not None else ""
    file = reading.source.file if reading is not None else ""
    found = site.stat(file) if file else None
    is_open = found is not None and bool(found.st_mode & 0o004)
    if "://" not in source or shown_address(source) == source:
        return ok("camera-password", f"none stands in the config{', which everybody on this machine may read' if is_open else ''}")
    quoted = shlex.quote(file)
    move = f"# put it into the first line of {CAMERA_PASSWORD}, and the user at camera.user; take both out of camera.source:"
    make = f"sudo install -m 600 /dev/null {CAMERA_PASSWORD} && sudo ${{EDITOR:-nano}} {CAMERA_PASSWORD}"
    cure = f"{move}\n{make} && sudo ${{EDITOR:-nano}} {quoted}"
    said = f"camera.source in {file} holds more than an address: a user, a password or a query"
    if is_open:
        close = f"sudo chgrp {shlex.quote(person.name)} {quoted} && sudo chmod 640 {quoted}"
        return fail("camera-password", f"{said}; everybody on this machine may read it", f"{close}\n{cure}")
    return warn("camera-password", said, cure)


def source_of(reading: Reading | None) -> Source:
    return reading.source if reading is not None else Source()


def check_password_file(site: Site, file: str, person: Person) -> Finding:
    """The file that mqtt.password_file names; what is in it is not read here."""
    if not file:
        return ok("password-file", "none is set")
    found = site.stat(file)
    quoted, group = shlex.quote(file), shlex.quote(person.name)
    if found is None:
        return fail(
            "password-file",
            f"{file} can not be found",
            f"sudo install -m 600 -o {group} /dev/null {quoted} && sudo ${{EDITOR:-nano}} {quoted}",
        )
    if not person.dynamic and not person.may(found, 4):
        return fail(
            "password-file", f"{file}: {person.name} may not read it", f"sudo chown {group} {quoted} && sudo chmod 600 {quoted}"
        )
    if found.st_mode & 0o004:
        return fail("password-file", f"{file}: everybody on this machine may read it", f"sudo chmod o-rwx {quoted}")
    return ok("password-file", f"{file}, readable by {person.name}")
