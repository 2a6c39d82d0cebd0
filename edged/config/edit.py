"""Writing the operator's config: the first one, and later edits with its comments and order kept; the one door to tomlkit."""

import importlib.util
from dataclasses import dataclass, replace
from pathlib import Path

import tomlkit
from tomlkit.exceptions import TOMLKitError

from edged.config.machine import surroundings
from edged.config.profile import OF_ONE_MODEL
from edged.config.reading import SYSTEM_FILE, to_reading
from edged.config.source import Source, faults_of, load_source, parse_source
from edged.system.files import PRIVATE, acting_for, followed, write_file
from edged.system.text import printable, to_json

_COLUMN = 44
_USER, _PASSWORD_FILE = '#user = "edged"', '#password_file = "/etc/edged/mqtt_password"'


@dataclass(frozen=True, slots=True)
class Written:
    """Where, and which keys of the former model went with it."""

    path: Path
    removed: tuple[str, ...]


def write_model_name(path: Path | None, name: str, folder: Path | None = None) -> Written:
    """Make `[model]` mean in the file what a wish for this model means beside it. folder: with the daemon's models.

    Raises ConfigError, also for what would be refused then, or another EdgedError; and then nothing was changed.
    """
    given = path or SYSTEM_FILE
    with acting_for(given, keeps=True):  # a link that somebody else planted leads root nowhere
        path = followed(given.absolute())  # a link stays one
        before = load_source(path)  # the bounds of what is a config hold here too
        if error := to_reading(before).to_error():
            raise error
        with faults_of(path):
            content, removed = _with_model(before.data.decode(), name)
    _check(path, content, before, folder)  # with the rights of whoever asks: the models are not the file's owner's
    with acting_for(given, keeps=True):
        with faults_of(path):
            like = path.stat()
        write_file(path, content, PRIVATE, like=like)
    return Written(path, removed)


def _with_model(text: str, name: str) -> tuple[bytes, tuple[str, ...]]:
    """The text with this name, and the keys that went because they belong to another model. Raises ValueError."""
    try:
        document = tomlkit.parse(text)
        model = document.setdefault("model", tomlkit.table())
        model["name"] = name
        removed = tuple(key for key in OF_ONE_MODEL if key in model)
        for key in removed:
            del model[key]
        return tomlkit.dumps(document).encode(), removed
    except TOMLKitError as error:
        raise ValueError(str(error)) from None


def _check(path: Path, content: bytes, before: Source, folder: Path | None) -> None:
    """Raises ConfigError with what would be wrong, by the lines of the file as it is."""
    reading = to_reading(parse_source(path, content))
    reading = replace(reading, source=replace(reading.source, lines=before.lines))
    if error := reading.to_error(surroundings(reading, folder=folder)):
        raise error


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
