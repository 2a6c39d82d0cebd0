"""One file for whoever helps: what the doctor found, the config, the daemon's state, its log; no secret, no picture, no event.

Plain text, so that it can be read before it is given away.
"""

import json
import platform
import re
import shutil
import subprocess
from collections.abc import Callable, Iterable, Iterator, Mapping

import edged
from edged.config.reading import Settings, leaves, to_name
from edged.doctor.finding import Finding
from edged.doctor.site import Site
from edged.errors import EdgedError
from edged.process.control import ask
from edged.system.text import printable_lines, shown_address, to_json, without_secrets

_LOG_LINES, _LOG_S = 2000, 10.0
_LONGEST_LINE = 2000
_PATIENCE_S = 3.0
_LEAST_SECRET = 4  # characters; a shorter one would take away half of the words
_WHO = re.compile(r"\b(?:[0-9a-f]{2}:){5}[0-9a-f]{2}\b|\b[0-9a-f]{16,64}\b", re.IGNORECASE)  # MAC addresses, ids, serial numbers
_PASSWORDS = "/etc/edged/*password"
_NAMES = ("user", "client_id")  # keys whose value is only told as set


def to_bundle(site: Site, settings: Settings | None, file: str, found: Iterable[Finding]) -> str:
    """The text. Seconds, for the log. Never raises for what can not be looked at: it says so. Thread: the main one."""
    secrets = find_secrets(site, settings)
    parts: Mapping[str, Callable[[], str]] = {
        "edged": lambda: f"edged {edged.__version__}, Python {platform.python_version()}, {platform.platform()}",
        "system": lambda: _system(site),
        "doctor": lambda: "\n".join(_finding(one) for one in found),
        f"config: {file or 'none, the defaults'}": lambda: _config(settings),
        "status": lambda: _status(settings),
        "state folder": lambda: _state_folder(settings),
        "log": _log,
    }
    text = []
    for name, look in parts.items():
        try:
            said = look()
        except (EdgedError, OSError, ValueError, ArithmeticError, LookupError, subprocess.SubprocessError) as error:
            said = f"could not be looked at: {error}"
        text.append(f"== {name}\n{said}\n")
    return "\n".join(redacted(line, secrets) for line in "\n".join(text).split("\n"))


def redacted(line: str, secrets: Iterable[str]) -> str:
    """Without passwords, secrets of addresses, and numbers that name a machine. Pure."""
    line = without_secrets(line)[:_LONGEST_LINE]  # first, while an address is whole: half of one looks like another
    for secret in secrets:
        line = line.replace(secret, "…")
    return _WHO.sub("…", printable_lines(line))


def find_secrets(site: Site, settings: Settings | None) -> list[str]:
    """The passwords that this user may read, so that none of them is in what is given away, wherever somebody wrote it."""
    named = [settings.mqtt.password_file, settings.camera.password_file] if settings is not None else []
    found = {site.text(name).split("\n")[0].strip() for name in (*filter(None, named), *site.glob(_PASSWORDS))}
    if settings is not None:
        login = settings.camera.source.partition("://")[2].partition("/")[0].rpartition("@")[0]
        found |= {settings.mqtt.user, settings.camera.user, *login.split(":", 1)}
    return sorted((one for one in found if len(one) >= _LEAST_SECRET), key=len, reverse=True)


def _system(site: Site) -> str:
    names = ("/etc/os-release", "/proc/meminfo", "/proc/loadavg", "/proc/uptime", "/proc/device-tree/model")
    lines = [f"{name}: {' | '.join(site.text(name).splitlines()[:8])}" for name in names if site.text(name)]
    return "\n".join(lines)


def _finding(one: Finding) -> str:
    cure = "".join(f"\n    {line}" for line in one.cure.splitlines())
    return f"{one.state:<8} {one.check}: {one.found}{cure}"


def _config(settings: Settings | None) -> str:
    """Every key that is set. Of comments in the file, and of names of people and accounts, nothing."""
    if settings is None:
        return "could not be read"
    return "\n".join(_rows(settings)) or "nothing is set"


def _rows(settings: Settings) -> Iterator[str]:
    for keys, value in leaves(settings):
        name = to_name(keys)
        if settings.origins.get(name, "default") == "default":
            continue
        shown = shown_address(str(value)) if keys == ("camera", "source") else value
        yield f"{name} = {'(set)' if keys[-1] in _NAMES else json.dumps(shown, default=str)}"


def _status(settings: Settings | None) -> str:
    if settings is None:
        return "see config"
    answer = ask(settings.state_folder, {"verb": "status"}, silence_s=_PATIENCE_S, longest_s=_PATIENCE_S)
    for name in ("label", "score", "label_since", "label_s"):
        answer.pop(name, None)  # what was seen is nobody else's
    return to_json(answer)


def _state_folder(settings: Settings | None) -> str:
    """Names, sizes and rights of what lies there; nothing of what is in it."""
    if settings is None:
        return "see config"
    folder = settings.state_folder
    files = {path: path.lstat() for path in sorted(path for path in folder.glob("**/*") if not path.is_dir())[:300]}
    return "\n".join(f"{about.st_mode:o} {about.st_size:>9} {path.relative_to(folder)}" for path, about in files.items())


def _log() -> str:
    """The last lines of every edged that systemd runs; not what was seen."""
    tool = shutil.which("journalctl")
    if tool is None:
        return "no journalctl here"
    command = [tool, "--no-pager", "-o", "short-iso", "-n", str(_LOG_LINES), "-u", "edged", "-u", "edged@*", "-u", "edged-page"]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=_LOG_S, check=False)
    lines = done.stdout.decode(errors="replace").splitlines()
    return "\n".join(line for line in lines if not re.search(r"INFO (entered|left) ", line))
