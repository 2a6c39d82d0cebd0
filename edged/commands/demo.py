"""edged demo: the whole job on this machine, with nothing but what was installed.

A real broker (embedded, loopback only), the daemon as `edged run` runs it, and a subscriber in a process of its own,
whose received messages are what is printed. The photographs are those that scikit-image ships; none was trained on.
"""

import contextlib
import importlib.resources
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import click
import tomlkit

from edged.commands.watch import to_line, to_seconds
from edged.errors import EdgedError, UnavailableError
from edged.system.files import shipped

# those first that the smallest network, with which it begins, is sure of; "none" is right where there is nothing that it knows
PHOTOGRAPHS = (
    "chelsea.png",
    "coffee.png",
    "motorcycle_left.png",
    "astronaut.png",
    "grass.png",
    "brick.png",
    "moon.png",
)
_FAREWELL_S = 2.0  # until what the daemon said at its end has come through the broker
_SHORT = 12  # characters of a label in the closing line
_ENDING = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
# `edged` as a child that does not outlive us, however we end
_TIED = """
import sys
from edged.process.lifeline import die_with
die_with(int(sys.argv.pop(1)))
from edged.__main__ import main
main()
"""


@click.command()
@click.option("--seconds", type=float, default=30.0, show_default=True, callback=to_seconds, help="How long; 0 = until Ctrl-C.")
@click.option("--camera", help="A camera instead of the photographs: its number (0) or a device, address or file.")
@click.option("--json", "as_json", is_flag=True, help="One JSON line for each MQTT message.")
def command(seconds: float, camera: str | None, as_json: bool) -> None:
    """Show the whole job on this machine: camera, model, broker, subscriber."""
    try:
        from iotcore import Broker
    except ImportError:
        raise UnavailableError("the demo needs its broker and photographs: pip install 'edged[demo]'") from None
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _end)
    with tempfile.TemporaryDirectory(prefix="edged-demo-") as folder, contextlib.ExitStack() as running:
        port = free_port()
        running.enter_context(Broker(port=port, listen="127.0.0.1"))
        config = Path(folder, "edged.toml")
        config.write_text(tomlkit.dumps(to_config(Path(folder), port, camera)))
        click.echo(
            f"a broker for this demo listens on 127.0.0.1:{port}; in a second terminal:\n"
            f"  mosquitto_sub -h 127.0.0.1 -p {port} -v -t 'edged/demo/#'",
            err=True,
        )
        edged = [sys.executable, "-P", "-c", _TIED, str(os.getpid())]
        watch = [*edged, "watch", "-h", "127.0.0.1", "-p", str(port), "--json"]
        subscriber = running.enter_context(_running(watch, subprocess.PIPE, heeds_ctrl_c=False))  # it hears the farewell too
        heard = Told(subscriber, as_json=as_json)
        heard.start()
        ended = None
        with _running([*edged, "run", "--quiet", "-c", str(config)]) as daemon:
            ends_s = time.monotonic() + seconds if seconds else float("inf")
            with contextlib.suppress(KeyboardInterrupt):
                while time.monotonic() < ends_s and heard.is_alive() and (ended := daemon.poll()) is None:
                    time.sleep(0.1)
            _hear_no_more()
        heard.ended.wait(_FAREWELL_S)
        running.close()
        heard.join()
    if heard.unwritten is not None:
        raise heard.unwritten
    if ended is not None and ended < 0:
        killer = signal.Signals(-ended).name
        raise EdgedError(f"the daemon of the demo was ended by {killer}; 'journalctl -k' says whether memory was short")
    if ended is not None:
        sys.exit(ended or 1)
    for line in to_closing(heard.entered):
        click.echo(line, err=True)


def _end(number: int, _frame: object) -> None:
    """So that nothing that was started here is left, the folder neither."""
    _hear_no_more()
    sys.exit(128 + number)


def _hear_no_more() -> None:
    """What has begun to end, in seconds at most, is not torn out of it by whoever asks again."""
    for number in _ENDING:
        signal.signal(number, signal.SIG_IGN)


class Told(threading.Thread):
    """Prints what the subscriber received, and counts what it says.

    entered: label → how often it became current; ended: set when the daemon has said its last word, or nothing more comes or
    can be printed; unwritten: why it could not.
    """

    def __init__(self, subscriber: subprocess.Popen[bytes], *, as_json: bool) -> None:
        super().__init__(name="subscriber", daemon=True)
        assert subscriber.stdout is not None
        self._lines, self._as_json = subscriber.stdout, as_json
        self.entered = Counter[str]()
        self.ended = threading.Event()
        self.unwritten: OSError | None = None

    def run(self) -> None:
        try:
            self._print()
        finally:
            self.ended.set()

    def _print(self) -> None:
        for line in self._lines:
            try:
                message = json.loads(line)
                topic, payload = str(message["topic"]), message["payload"]
            except (ValueError, LookupError, TypeError):
                continue
            if isinstance(payload, dict) and payload.get("event_type") == "entered":
                self.entered[str(payload.get("label"))] += 1
            said = payload if isinstance(payload, str) else json.dumps(payload)
            try:
                click.echo(line.decode().rstrip("\n") if self._as_json else to_line(topic, said.encode(), time.time()))
            except OSError as error:
                self.unwritten = error  # a full disk, or nobody reads any more
                return
            if topic.endswith("/status") and payload == "offline":
                self.ended.set()


def to_closing(entered: Counter[str]) -> list[str]:
    """What was seen, where a config is, and what comes next. Pure."""
    names = ", ".join(f"{label[:_SHORT]} × {count}" for label, count in entered.most_common() if label not in ("none", "unknown"))
    return [
        f"seen: {names or 'nothing for certain'}: each one an event that waits until the broker has it",
        f"every key of a config, with its default: {shipped('config', 'edged.toml')}",
        "next: edged init finds the camera and the broker of this machine and writes a config",
    ]


def free_port() -> int:
    """A TCP port on loopback that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def to_config(folder: Path, port: int, camera: str | None) -> dict[str, object]:
    """The demo's config, in the words of edged.toml: all that is not said is as in a user's own."""
    return {
        "device": "demo",
        "state_folder": str(folder / "state"),
        "camera": to_camera(folder, camera),
        "mqtt": {"host": "127.0.0.1", "port": port, "version": 4},
    }


def to_camera(folder: Path, camera: str | None) -> dict[str, object]:
    if camera is None:
        return {"kind": "pictures", "source": str(_photographs(folder))}
    from edged.config.edit import to_camera_keys

    return dict(to_camera_keys(camera))


def _photographs(folder: Path) -> Path:
    """A folder of the photographs in our order, as links to the package's own files."""
    try:
        package = importlib.resources.files("skimage.data")
    except ModuleNotFoundError:
        raise UnavailableError("the demo needs its photographs: pip install 'edged[demo]', or give it --camera") from None
    album = folder / "photographs"
    album.mkdir()
    for number, name in enumerate(PHOTOGRAPHS):
        original = Path(str(package)) / name
        if original.is_file():
            (album / f"{number}_{name}").symlink_to(original)
    return album


@contextlib.contextmanager
def _running(command: list[str], stdout: int | None = None, *, heeds_ctrl_c: bool = True) -> Iterator[subprocess.Popen[bytes]]:
    """A process that is asked to end with SIGTERM, and killed when it does not."""
    heeded = signal.getsignal(signal.SIGINT)
    if not heeds_ctrl_c:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # what is ignored here is ignored there
    try:
        process = subprocess.Popen(command, stdout=stdout)
    finally:
        signal.signal(signal.SIGINT, heeded)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
