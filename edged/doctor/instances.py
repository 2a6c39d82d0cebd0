"""Several cameras on one board: the configs of all of them beside each other, for what two of them must not share."""

import shlex
from collections import defaultdict
from pathlib import Path

from edged.config.instance import SYSTEM_FILE, instance_of
from edged.config.reading import Settings, to_settings
from edged.config.source import load_source
from edged.doctor.finding import Finding, fail, ok, warn, worst
from edged.doctor.site import Site
from edged.errors import ConfigError
from edged.system.text import printable, shown_address

_CHECK = "instances"
_MOST = 100


def check_instances(site: Site) -> Finding:
    """What is no sound config is told by a doctor of its own: edged doctor -c /etc/edged/NAME.toml."""
    files = [Path(name) for name in site.glob(f"{SYSTEM_FILE.parent}/*.toml")[:_MOST]]
    named = [path for path in files if path == SYSTEM_FILE or instance_of(path)]
    found = [_check_name(path) for path in files if path not in named]
    found += _check_units(site)
    if len(named) > 1:
        found += _check_shared({path: settings for path in named if (settings := _read(site, path)) is not None})
    names = ", ".join(filter(None, map(instance_of, named)))
    return worst(found, ok(_CHECK, names or "none: one camera"))


def _read(site: Site, path: Path) -> Settings | None:
    try:
        source = load_source(site.path(str(path)))
    except ConfigError:
        return None
    reading = to_settings(type(source)(str(path), source.values, source.lines, source.data))
    return None if reading.faults else reading.settings


def _check_name(path: Path) -> Finding:
    name = printable(path.name)
    cure = (
        f"# a-z, 0-9, _ and -; or, where it is no config for edged:\nsudo mv {shlex.quote(str(path))} {SYSTEM_FILE.parent}/unused"
    )
    return warn(_CHECK, f"{name} can be no instance's config by its name", cure)


def _check_units(site: Site) -> list[Finding]:
    """edged@edged would be the first daemon once more; it ends with a sentence, and somebody may wonder."""
    if not site.glob(f"/etc/systemd/system/*.wants/edged@{SYSTEM_FILE.stem}.service"):
        return []
    cure = f"sudo systemctl disable --now edged@{SYSTEM_FILE.stem}.service"
    return [fail(_CHECK, f"edged@{SYSTEM_FILE.stem}.service can not run: {SYSTEM_FILE} belongs to edged.service", cure)]


def _check_shared(configs: dict[Path, Settings]) -> list[Finding]:
    """A topic, a camera or a state folder that two of them have."""
    shared = defaultdict[tuple[str, str], list[Path]](list)
    for path, settings in configs.items():
        mqtt, camera = settings.mqtt, settings.camera
        shared["device", f"{settings.device} at {mqtt.host}:{mqtt.port}, below {mqtt.prefix}"].append(path)
        shared["state_folder", str(settings.state_folder)].append(path)
        if camera.kind in ("picamera2", "v4l2"):
            shared["camera.source", f"{camera.kind} {shown_address(camera.source)}"].append(path)
    found = []
    for (key, value), paths in shared.items():
        if len(paths) > 1:
            names = " and ".join(path.name for path in paths)
            cure = f"sudo ${{EDITOR:-nano}} {shlex.quote(str(paths[-1]))}  # another {key}, or disable one of the two"
            found.append(fail(_CHECK, f"{names} have the same {key}: {printable(value)}", cure))
    return found
