"""The doctor's round: every room once, in the order in which one thing rests on another."""

import json
import os
import shlex
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from edged.config.instance import to_state_folder
from edged.config.parts import to_access
from edged.config.reading import Reading, Settings
from edged.delivery.broker.access import CREDENTIAL, Access
from edged.doctor.broker import CHECKS, RunningDaemon, Settable, check_broker, to_fault_kinds
from edged.doctor.camera import check_camera
from edged.doctor.clock import check_clock
from edged.doctor.finding import Finding, skipped
from edged.doctor.instances import check_instances
from edged.doctor.libraries import check_libraries, load_libraries
from edged.doctor.models import check_models
from edged.doctor.mosquitto import check_mosquitto, load_mosquitto
from edged.doctor.person import Person, find_person, unit_files, unit_values
from edged.doctor.power import check_heat, check_power
from edged.doctor.settings import check_camera_password, check_config, check_password_file, read_config, source_of
from edged.doctor.site import Site
from edged.doctor.storage import check_state_folder, check_storage
from edged.doctor.system import check_cgroup, check_system
from edged.doctor.toml_cure import to_set
from edged.doctor.watchdog import check_watchdog
from edged.errors import EdgedError
from edged.process.control import ask
from edged.system.lock import holder_pid

_PATIENCE_S = 3.0  # for a daemon that may hang


def examine(site: Site, config: Path | None) -> Iterator[Finding]:
    """Every finding as it is made. Thread: the main one. A few seconds; each probe has its own deadline."""
    person = find_person(site)
    reading, faults = read_config(config)
    settings = reading.settings if reading is not None else Settings()
    broken = (
        {fault.keys[0] for fault in reading.faults if fault.keys} if reading is not None else {"camera", "mqtt", "model", "outbox"}
    )
    yield from _room(lambda: check_system(site), "os", "python")
    yield from _room(lambda: [check_config(site, config, reading, faults)], "config")
    yield from _room(lambda: [check_instances(site)], "instances")
    yield from _room(lambda: _camera(site, settings, reading, person, broken), "camera")
    yield from _room(lambda: _models(settings, config, broken), "model-files", "model-runs")
    yield from _room(lambda: _broker(site, settings, config, reading, person, broken), *CHECKS)
    yield from _room(lambda: check_storage(site, settings.state_folder, settings.outbox.min_free_mb), "disk")
    yield from _room(lambda: [check_state_folder(site, settings.state_folder, person)], "state-folder")
    yield from _room(lambda: [check_clock(site)], "clock")
    yield from _room(lambda: [check_power(site), check_heat(site)], "power", "heat")
    yield from _room(lambda: [check_watchdog(site), check_cgroup(site)], "watchdog", "memory-cgroup")


def _room(look: Callable[[], Iterable[Finding]], *checks: str) -> Iterator[Finding]:
    """What a room found, up to where it could not go on: an odd system is no reason for the others not to be looked at."""
    told = set[str]()
    try:
        for finding in look():
            told.add(finding.check)
            yield finding
    except (OSError, ValueError, ArithmeticError, LookupError) as error:
        yield from (skipped(check, f"could not be looked at: {error!r}") for check in checks if check not in told)


def _camera(site: Site, settings: Settings, reading: Reading | None, person: Person, broken: set[str]) -> Iterator[Finding]:
    kind = settings.camera.kind if "camera" not in broken else ""
    yield from check_libraries(load_libraries(kind), kind)
    yield from check_camera(site, kind, settings.camera.source, person)
    yield check_camera_password(site, reading, person)


def _models(settings: Settings, config: Path | None, broken: set[str]) -> Iterator[Finding]:
    if "model" in broken:
        yield from (skipped(check, "see config") for check in ("model-files", "model-runs"))
        return
    model = settings.model
    yield from check_models(
        settings.state_folder, model.name, model.labels, model.family, f" -c {shlex.quote(str(config))}" if config else ""
    )


def _broker(
    site: Site, settings: Settings, config: Path | None, reading: Reading | None, person: Person, broken: set[str]
) -> Iterator[Finding]:
    here = load_mosquitto(site)
    access = _with_credential(site, to_access(settings.mqtt, settings.device))
    if broken & {"mqtt", "device"}:
        yield from (skipped(check, "see config") for check in ("password-file", *CHECKS))
    else:
        source = source_of(reading)
        # a credential is read by systemd, and not by the service's user
        own = access.password_file == settings.mqtt.password_file
        yield check_password_file(site, access.password_file, person if own else Person("root", 0))
        folders = {settings.state_folder, to_state_folder(config)}
        own_id, certificate = f'"{access.client_id[:56]}-{os.urandom(2).hex()}"', '"/etc/edged/ca.crt"'
        set_ca = to_set(site, source, "mqtt", "tls_ca", certificate)
        settable = Settable(
            version=to_set(site, source, "mqtt", "version", "4" if access.version == 5 else "5"),
            client_id=to_set(site, source, "mqtt", "client_id", own_id),
            tls_ca=f"# copy the certificate that the broker's is signed with here, then:\n{set_ca}",
        )
        yield from check_broker(
            access,
            f"{settings.mqtt.prefix}/{settings.device}",
            here,
            settable,
            next((running for folder in folders if (running := find_running(folder)).pid), RunningDaemon()),
            snapshot_bytes=settings.snapshot.max_kb * 1024 if settings.snapshot.on_control or settings.snapshot.on_event else 0,
        )
    yield from check_mosquitto(site, here)


def find_running(state_folder: Path) -> RunningDaemon:
    """The daemon of this state folder, and how it is where it tells."""
    pid = holder_pid(state_folder)
    if not pid:
        return RunningDaemon()
    try:
        status = ask(state_folder, {"verb": "status"}, silence_s=_PATIENCE_S, longest_s=_PATIENCE_S)
    except EdgedError:
        return RunningDaemon(pid)
    return RunningDaemon(pid, tuple(to_fault_kinds(json.dumps(status.get("health")).encode())))


def _with_credential(site: Site, access: Access) -> Access:
    """The service gets its password from systemd: where the unit says, it is looked for."""
    if not access.user or access.password_file or "CREDENTIALS_DIRECTORY" in os.environ:
        return access
    for word in unit_values(site, unit_files(site), "LoadCredential"):
        name, _, path = word.partition(":")
        if name == CREDENTIAL and path.startswith("/"):
            return replace(access, password_file=path)
    return access
