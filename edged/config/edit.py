"""Writing the operator's config: the first one, and later edits with its comments and order kept; the one door to tomlkit."""

import importlib.util
from pathlib import Path

import tomlkit
from tomlkit.exceptions import TOMLKitError

from edged.config.reading import SYSTEM_FILE
from edged.config.source import LONGEST, faults_of, load_source
from edged.system.files import PRIVATE, acting_for, followed, read_file, write_file
from edged.system.text import printable, to_json

_COLUMN = 44
_USER, _PASSWORD_FILE = '#user = "edged"', '#password_file = "/etc/edged/mqtt_password"'


def write_model_name(path: Path | None, name: str) -> Path:
    """Set `model.name` in the file; where it was written. Raises ConfigError or WriteError, and then nothing was changed."""
    given = path or SYSTEM_FILE
    with acting_for(given, keeps=True):  # a link that somebody else planted leads root nowhere
        path = followed(given.absolute())  # a link stays one
        load_source(path)  # the bounds of what is a config hold here too
        with faults_of(path):
            like = path.stat()
            try:
                document = tomlkit.parse(read_file(path, LONGEST).decode())
                document.setdefault("model", tomlkit.table())["name"] = name
                content = tomlkit.dumps(document).encode()
            except TOMLKitError as error:
                raise ValueError(str(error)) from None
        write_file(path, content, PRIVATE, like=like)
    return path


def to_camera_keys(text: str) -> dict[str, str]:
    """`kind` and `source` of a camera that a person named: a number, a device, an address, a folder or a file."""
    if text.isdecimal():
        have_picamera2 = importlib.util.find_spec("picamera2") is not None
        return {"kind": "picamera2", "source": text} if have_picamera2 else {"kind": "v4l2", "source": f"/dev/video{text}"}
    if "://" in text:
        return {"kind": "stream", "source": text}
    if text.startswith("/dev/"):
        return {"kind": "v4l2", "source": text}
    return {"kind": "pictures", "source": str(Path(text).expanduser().absolute())}


def to_first_config(
    *, device: str, camera: dict[str, str], camera_name: str, host: str, port: int, user: str = "", password_file: str = ""
) -> str:
    """The text of a config file. `camera`: kind and source; `camera_name`: what its driver calls it."""
    lines = [
        "# What edged looks with and whom it tells. Every other key has a default: docs/config.md explains them,",
        "# `edged check` shows what each came to and names every mistake. The running daemon follows an edit.",
        _line("device", device, f"name in the topics: edged/{device}/…"),
        "",
        "[camera]",
        _line("kind", camera["kind"], "picamera2 | v4l2 | stream | pictures"),
        _line("source", camera["source"], camera_name),
        "",
        "[mqtt]",
        _line("host", host, "events wait here while it is away"),
        *([] if port == 1883 else [_line("port", port, "")]),
        *([_line("user", user, "")] if user else [_USER]),
        *([_line("password_file", password_file, "its first line")] if password_file else [_PASSWORD_FILE]),
        "",
        "#[homeassistant]",
        "#enabled = true                             # one device with all its entities, by itself",
        "",
        "#[snapshot]",
        "#on_control = true                          # a picture leaves this machine only when you say so",
    ]
    return "\n".join(lines) + "\n"


def _line(key: str, value: str | int, comment: str) -> str:
    said = f"{key} = {to_json(value)}"
    return f"{said:<{_COLUMN}}# {printable(comment)}" if comment else said
