"""edged init: the first config, from what is found on this machine, and the first thing that its camera sees."""

import os
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from edged.commands import FILE
from edged.errors import EdgedError, UnavailableError
from edged.system.text import printable_lines

if TYPE_CHECKING:
    from edged.config.reading import Reading
    from edged.delivery.broker.reconnect import Down
    from edged.vision.cameras.attached import AttachedCamera

Answer = TypeVar("Answer")
_INSTALL_UNITS = "sudo edged service install --no-start && "
_UNITS = ("usr/lib/systemd/system/edged.service", "lib/systemd/system/edged.service", "etc/systemd/system/edged.service")


@click.command()
@click.option("-c", "--config", type=FILE, default="edged.toml", show_default=True, help="The file to write.")
@click.option("--camera", help="A number (0), a device, an address (rtsp://…), a folder or file; without it what is found.")
@click.option("--broker", metavar="HOST[:PORT]", help="Without it the one on this machine.")
@click.option("--device", metavar="NAME", help="Name in the topics; without it the host name.")
@click.option("--user", default="", metavar="NAME", help="For a broker that wants one.")
@click.option("--password-file", default="", metavar="FILE", help="Its first line is the broker's password.")
@click.option("-y", "--yes", is_flag=True, help="Ask nothing; without a terminal nothing is asked anyway.")
@click.option("--no-look", is_flag=True, help="Do not open the camera.")
def command(
    config: Path,
    camera: str | None,
    broker: str | None,
    device: str | None,
    user: str,
    password_file: str,
    yes: bool,
    no_look: bool,
) -> None:
    """Find the camera and the broker, write a short config, and show what the camera sees.

    Asks at most three questions. An existing file is never touched, and nothing is published.
    """
    from edged.config.edit import to_first_config
    from edged.system.text import shown_address

    if os.path.lexists(config):
        raise EdgedError(
            f"{config} is there already and is left as it is: 'edged check -c {shlex.quote(str(config))}' says what it comes to; "
            "'edged init -c FILE' writes another"
        )
    asks = not yes and sys.stdin is not None and sys.stdin.isatty() and sys.stdout is not None and sys.stdout.isatty()
    try:
        keys, camera_name = _choose_camera(camera, asks=asks)
        _tell("camera", f"{keys['kind']} {shown_address(keys['source'])}" + (f" ({camera_name})" if camera_name else ""))
        host, port, down = _choose_broker(broker, user, password_file, asks=asks)
        _tell("broker", f"{_place(host, port)} {_how(down)}")
        device = device or _choose_device(config, asks=asks)
    except click.Abort:  # Ctrl-C or Ctrl-D, and the cursor stands behind the question
        click.echo("\nnothing was written", err=True)
        raise
    text = to_first_config(
        device=device,
        camera=keys,
        camera_name=camera_name,
        host=host,
        port=port,
        user=user,
        password_file=str(Path(password_file).absolute()) if password_file else "",
    )
    reading = _checked(text, config)
    _write(config, text)
    _tell("config", f"{config} is written")
    if not no_look:
        _tell("it sees", _look(reading))
    _print_next(config, host, has_broker=down is None or down.by_broker, has_user=bool(user) or (down is None and _is_here(host)))


def _tell(what: str, said: str) -> None:
    from edged.system.text import printable

    click.echo(f"{what:<8} {printable(said)}")


def _choose_camera(named: str | None, *, asks: bool) -> tuple[dict[str, str], str]:
    """kind and source, and what the driver calls it. Raises UnavailableError when there is none, and none was named."""
    from edged.config.edit import to_camera_keys
    from edged.vision.cameras.attached import find_attached

    def to_sound_keys(text: str) -> dict[str, str]:
        keys = to_camera_keys(text)
        return _sound({"camera": keys}, keys)

    if named is not None:
        return to_camera_keys(named), ""  # with all else, before anything is written
    found = find_attached()
    if not found.cameras:
        if asks:
            click.echo(f"no camera was found: {found.no_picamera2}", err=True)
            question = "camera (a device, rtsp://…, or a folder of pictures)"
            return _ask(question, None, to_sound_keys), ""
        raise UnavailableError(
            f"no camera was found: {found.no_picamera2}; no /dev/video* that films either; "
            "name one: edged init --camera rtsp://… (or a device, or a folder of pictures)"
        )
    chosen = found.cameras[0]
    if len(found.cameras) > 1 and asks:
        chosen = _ask_which(found.cameras)
    return {"kind": chosen.kind, "source": chosen.source}, chosen.name


def _ask_which(cameras: "tuple[AttachedCamera, ...]") -> "AttachedCamera":
    for number, one in enumerate(cameras, 1):
        click.echo(f"  {number}  {one.kind} {one.source} ({one.name})")
    number = click.prompt("which camera", type=click.IntRange(1, len(cameras)), default=1)
    return cameras[int(number) - 1]


def _choose_broker(named: str | None, user: str, password_file: str, *, asks: bool) -> "tuple[str, int, Down | None]":
    """Host, port, and why it does not take us. Raises UsageError or ConfigError for what is no host."""
    from edged.delivery.broker.access import Access
    from edged.delivery.broker.subscriber import greet

    host, port = _to_place(named or "localhost")
    down = greet(Access(host=host, port=port, version=4, user=user, password_file=password_file))
    if down is not None and not down.by_broker and named is None and asks:
        click.echo(f"no broker on this machine: {down.reason}", err=True)
        host, port = _ask("broker's name or address", "localhost", _to_place)
        down = greet(Access(host=host, port=port, version=4, user=user, password_file=password_file))
    return host, port, down


def _how(down: "Down | None") -> str:
    if down is None:
        return "answers"
    return f"{'does not take us' if down.by_broker else 'does not answer'} yet ({down.reason}); events wait for it"


def _is_here(host: str) -> bool:
    return host in ("localhost", "127.0.0.1", "::1")


def _to_place(text: str) -> tuple[str, int]:
    """`door.local:8883`, `10.0.0.2`, `[::1]:1883`. Raises UsageError for another port, ConfigError for another host."""
    host, mark, port = text.rpartition(":")
    # with a user, what stands behind a colon may be a password: the whole is refused, with no word of it
    if "@" in text or not mark or (":" in host and not host.endswith("]")):
        host, port = text, "1883"
    if not port.isdecimal() or len(port) > 5 or not 1 <= int(port) <= 65535:
        raise click.BadParameter(f"{port} is no port; HOST or HOST:PORT", param_hint="--broker")
    return _sound({"mqtt": {"host": host}}, (host.strip("[]"), int(port)))


def _place(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _ask(question: str, default: str | None, to_answer: Callable[[str], Answer]) -> Answer:
    """Of a person, who is told at once what can not be, and asked again."""
    while True:
        try:
            return to_answer(str(click.prompt(question, default=default)))
        except click.UsageError as error:
            click.echo(error.message, err=True)
        except EdgedError as error:
            click.echo(printable_lines(str(error)), err=True)


def _choose_device(config: Path, *, asks: bool) -> str:
    """An instance has a name of its own: under that of the first daemon the two would throw each other out."""
    import socket

    from edged.config.instance import instance_of, to_instance_device
    from edged.config.settings import to_device

    name = instance_of(config)
    own = to_instance_device(name) if name else to_device(socket.gethostname())
    if not asks:
        return own
    return _ask("name of this device in the topics", own, lambda answer: _sound({"device": answer}, answer))


def _sound(values: dict[str, Any], answer: Answer) -> Answer:
    """The answer, if that is nothing that `edged check` would refuse. Raises ConfigError."""
    from edged.config.reading import to_settings
    from edged.config.source import Source

    _check(to_settings(Source(values=values)))
    return answer


def _check(reading: "Reading") -> None:
    """Raises ConfigError with what is wrong, without lines: the file is not there yet."""
    from edged.config.machine import surroundings
    from edged.config.reading import to_name
    from edged.errors import ConfigError

    faults = dict.fromkeys([*reading.faults, *surroundings(reading, camera=True)])
    if faults:
        raise ConfigError([f"{to_name(fault.keys)}: {fault.what}" for fault in faults])


def _checked(text: str, path: Path) -> "Reading":
    """As `edged check` would see the file. Raises ConfigError, and then nothing was written."""
    from edged.config.reading import to_reading
    from edged.config.source import parse_source

    reading = to_reading(parse_source(path.absolute(), text.encode()))
    _check(reading)
    return reading


def _write(path: Path, text: str) -> None:
    from edged.config.reading import SYSTEM_FILE
    from edged.system.files import PRIVATE, SHARED, acting_for, write_file

    is_systems = path.absolute().parent == SYSTEM_FILE.parent  # the service's user reads it by its group
    with acting_for(path):
        write_file(path, text.encode(), SHARED if is_systems else PRIVATE, is_new=True)
    if is_systems and os.geteuid() == 0:
        import contextlib
        import shutil

        with contextlib.suppress(LookupError, OSError):
            shutil.chown(path, group="edged")


def _look(reading: "Reading") -> str:
    """What the camera sees now, by the model that a daemon would begin with; in a sentence, also when it sees nothing."""
    from edged.config.parts import to_camera, to_wanted
    from edged.models.background import would_begin_with
    from edged.process.look import look_once

    settings = reading.settings
    installed = would_begin_with(to_wanted(settings))
    model = {
        "path": str(installed.path),
        "sha256": installed.sha256,
        "labels": len(installed.labels),
        "output": installed.card.output,
        "threads": settings.model.threads or 1,
    }
    seen = look_once(to_camera(settings), model)
    if seen.fault:
        return f"nothing yet: {seen.fault}"
    best = " · ".join(f"{installed.labels[index]} {score:.2f}" for index, score in seen.scores[:3] if index < len(installed.labels))
    return f"{best}   ({installed.card.name}, {seen.invoke_ms:.1f} ms, {seen.width} × {seen.height})"


def _print_next(config: Path, host: str, *, has_broker: bool, has_user: bool) -> None:
    """has_user: none is missed, either."""
    from edged.config.instance import instance_of
    from edged.config.reading import SYSTEM_FILE

    file, name = shlex.quote(str(config)), instance_of(config)
    is_systems = config.absolute() == SYSTEM_FILE
    where = f"-c {file}"
    has_unit = any(Path("/", unit).exists() for unit in _UNITS)
    lines = []
    if not has_broker and _is_here(host):
        lines.append(("a broker", "sudo apt install mosquitto"))
    if not has_user and (has_broker or not _is_here(host)):
        lines.append(("a password", "mqtt.user, and a file with the password at mqtt.password_file"))
    lines += [("run it", f"edged run {where}"), ("watch it", f"edged watch {where}")]
    keep = "-b " if os.path.lexists(SYSTEM_FILE) else ""  # what is there stays as edged.toml~
    copy = "" if is_systems else f"sudo install {keep}-D -m 640 {file} {SYSTEM_FILE} && "
    own = "sudo chgrp edged /etc/edged/edged.toml && sudo systemctl restart edged" if has_unit else "sudo edged service install"
    if name:
        units = "" if any(Path("/", unit.replace(".service", "@.service")).exists() for unit in _UNITS) else _INSTALL_UNITS
        lines.append(("as a service", f"{units}sudo systemctl enable --now edged@{name}"))
    else:
        lines.append(("as a service", f"{copy}{own}"))
    lines.append(("Home Assistant", "take the # away before [homeassistant] and enabled in the config"))
    click.echo("next:")
    for what, how in lines:
        click.echo(f"  {what:<16}{how}")
