"""Instances: a second camera has its config at /etc/edged/NAME.toml, and by its name a state folder, a device and an identity.

Daemon and commands alike follow from the file's place, so that `-c` is all that a person needs. Pure but for the host's name.
"""

import os
import re
import socket
from pathlib import Path

from edged.errors import ConfigError

STATE_FOLDER = "/var/lib/edged"
SYSTEM_FILE = Path("/etc/edged/edged.toml")
_FOLDER = "instances"
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,47}")


def instance_of(config: Path | None) -> str:
    """The instance whose config this is; empty for every other file, and for the first daemon's own."""
    if config is None:
        return ""
    path = Path(os.path.abspath(config))  # noqa: PTH100  # a link is named by its own place, and not by what it leads to
    is_systems = path.parent == SYSTEM_FILE.parent and path.suffix == ".toml" and path != SYSTEM_FILE
    return path.stem if is_systems and _NAME.fullmatch(path.stem) else ""


def to_config(name: str) -> Path:
    """Where the config of an instance lies. Raises ConfigError for what can be none."""
    if name == SYSTEM_FILE.stem:
        raise ConfigError([f'an instance can not be named "{name}": {SYSTEM_FILE} belongs to edged.service; choose another name'])
    if not _NAME.fullmatch(name):
        raise ConfigError([f'"{name}" is no name for an instance: a-z, 0-9, _ and -, at most 48 of them'])
    return SYSTEM_FILE.parent / f"{name}.toml"


def to_state_folder(config: Path | None) -> Path:
    """Where the daemon of this config keeps its things, unless the config says otherwise."""
    name = instance_of(config)
    return Path(STATE_FOLDER, _FOLDER, name) if name else Path(STATE_FOLDER)


def to_instance_device(name: str) -> str:
    """Its name in the topics, unless the config says otherwise: that of the host, and its own."""
    from edged.config.settings import to_device  # late: where a folder is known before the settings are, nothing else is imported

    return f"{to_device(socket.gethostname())[: 63 - len(name)]}-{name}"


def list_instances() -> list[str]:
    """Those that have a config, by name. Never raises."""
    try:
        return sorted(name for path in SYSTEM_FILE.parent.glob("*.toml") if (name := instance_of(path)))
    except OSError:
        return []
