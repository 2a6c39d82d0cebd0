"""edged service: systemd's files for an edged that pip or pipx installed. The Debian package brings its own."""

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import click

from edged.errors import EdgedError, UnavailableError

_UNIT = "etc/systemd/system/edged.service"
_FILES = {
    "edged.service": _UNIT,
    "edged@.service": "etc/systemd/system/edged@.service",
    "edged-metrics.service": "etc/systemd/system/edged-metrics.service",
    "edged-metrics.timer": "etc/systemd/system/edged-metrics.timer",
    "edged-page.service": "etc/systemd/system/edged-page.service",
    "edged.sysusers": "etc/sysusers.d/edged.conf",
    "edged.tmpfiles": "etc/tmpfiles.d/edged.conf",
}
_TOKEN = "etc/edged/page_token"
_CONFIG = "etc/edged/edged.toml"
_PACKAGED = ("usr/lib/systemd/system/edged.service", "lib/systemd/system/edged.service")
_HIDDEN = ("/home", "/root", "/run/user", "/tmp", "/var/tmp")  # by ProtectHome= and PrivateTmp=
_root = click.option(
    "--root",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    default="/",
    help="The system in this folder, e.g. a card's, instead of the running one.",
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def command() -> None:
    """Let systemd run edged, where pip or pipx installed it."""


@command.command()
@click.option("--start/--no-start", default=True, help="Also start it now; else with the next boot.")
@_root
def install(root: Path, start: bool) -> None:
    """Write the unit, its user, its folders and, if there is none, its config; enable and start it. Needs root."""
    from edged.page.tokens import new_tokens
    from edged.system.files import PUBLIC, SHARED, shipped, write_file

    _check_inside(root)
    for packaged in _PACKAGED:
        if (root / packaged).exists():
            raise EdgedError(f"{root / packaged}: the Debian package has brought it; start it: systemctl enable --now edged")
    _need("systemctl", "systemd-sysusers")
    if why := to_obstacle((Path(sys.executable), Path(sys.prefix), Path(sys.base_prefix), Path(__file__))):
        raise EdgedError(f"{why}: install edged for all, e.g. python3 -m venv --system-site-packages /opt/edged")
    for source, target in _FILES.items():
        text = shipped("systemd", source).read_text()
        write_file(root / target, (to_unit(text, sys.executable) if target.endswith(".service") else text).encode(), PUBLIC)
    is_new = False
    if not os.path.lexists(root / _CONFIG):
        (root / _CONFIG).parent.mkdir(parents=True, exist_ok=True)
        write_file(root / _CONFIG, shipped("config", "edged.toml").read_bytes(), SHARED)
        is_new = True
    if not os.path.lexists(root / _TOKEN):
        new_tokens(root / _TOKEN)
    _run("systemd-sysusers", f"--root={root}", "edged.conf")
    if is_new:  # it may come to hold an address with a password
        _give_to_group(root, root / _CONFIG)
    if not _is_running(root):
        _run("systemctl", f"--root={root}", "enable", "edged.service")
        click.echo(f"edged starts with the next boot; its config is {root / _CONFIG}")
        return
    _run("systemd-tmpfiles", "--create", "edged.conf")
    _run("systemctl", "daemon-reload")
    _run("systemctl", "enable", "edged.service")
    if start:
        _run("systemctl", "restart", "edged.service", *_enabled_instances(root))
    click.echo(f"edged {'runs' if start else 'starts with the next boot'}; its config is /{_CONFIG}; systemctl status edged")


@command.command()
@_root
def remove(root: Path) -> None:
    """Stop it, and take away what install wrote; the config and what edged stored stay. Needs root."""
    _need("systemctl")
    _check_inside(root)
    if not (root / _UNIT).exists():
        raise EdgedError(f"{root / _UNIT} is not there: edged service install did not write it, or remove was here before")
    units = ["edged-page.service", "edged.service", *_enabled_instances(root)]
    if _is_running(root):
        _run("systemctl", "disable", "--now", *units)
    else:
        _run("systemctl", f"--root={root}", "disable", *units)
    for target in _FILES.values():
        try:
            (root / target).unlink(missing_ok=True)
        except OSError as error:
            raise EdgedError(f"{root / target} cannot be removed: {error.strerror}") from None
    if _is_running(root):
        _run("systemctl", "daemon-reload")
    click.echo("removed; /etc/edged and /var/lib/edged are left, and so is the user edged")


def _check_inside(root: Path) -> None:
    """A link of the other system, absolute as most are, would lead into this one. Raises EdgedError."""
    for target in (*_FILES.values(), _CONFIG, _TOKEN, "etc/group"):
        found = (root / target).parent.resolve()
        if not found.is_relative_to(root.resolve()):
            raise EdgedError(f"{(root / target).parent} leads out of {root}, to {found}: nothing was changed")


def to_unit(text: str, python: str) -> str:
    """The shipped unit, with this Python's edged in place of /usr/bin/edged. Pure."""
    quoted = '"' + python.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$") + '"'
    return text.replace("=/usr/bin/edged ", f"={quoted} -m edged ")


def to_obstacle(paths: tuple[Path, ...]) -> str:
    """Why the service's user could not reach one of the paths, or nothing."""
    for path in paths:
        for folder in _HIDDEN:
            if path.is_relative_to(folder):
                return f"the service may not look into {folder}, where {path} is"
        for parent in path.parents:
            if not parent.stat().st_mode & stat.S_IXOTH:
                return f"{parent} is closed to other users, and {path} is in it"
    return ""


def _give_to_group(root: Path, path: Path) -> None:
    """The group edged of that system, whose number may be another one here."""
    rows = [line.split(":") for line in (root / "etc/group").read_text().splitlines()]
    number = next((row[2] for row in rows if len(row) > 2 and row[0] == "edged" and row[2].isdecimal()), "")
    if number:
        os.chown(path, -1, int(number))


def _enabled_instances(root: Path) -> list[str]:
    """The units of second cameras that start with the system."""
    return sorted(path.name for path in (root / "etc/systemd/system").glob("*.wants/edged@*.service"))


def _is_running(root: Path) -> bool:
    """Whether it is about the running system, and systemd runs it (sd_booted(3))."""
    return root == Path("/") and Path("/run/systemd/system").is_dir()


def _need(*tools: str) -> None:
    for tool in tools:
        if shutil.which(tool) is None:
            raise UnavailableError(f"{tool} is not there: edged service is for systems with systemd")


def _run(*words: str) -> None:
    done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        said = " ".join(done.stderr.split()) or f"exit code {done.returncode}"
        raise EdgedError(f"{' '.join(words)}: {said}")
