"""edged demo: the whole job on this machine, with nothing but what was installed.

A real broker (embedded, loopback only), the daemon as `edged run` runs it, and a subscriber in a process of its own,
whose received messages are what is printed. The photographs are those that scikit-image ships; none was trained on.
"""

import contextlib
import importlib.resources
import importlib.util
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import click
import tomlkit

from edged.errors import UnavailableError

PHOTOGRAPHS = (
    "astronaut.png",
    "chelsea.png",
    "coffee.png",
    "motorcycle_left.png",
    "brick.png",
    "grass.png",
    "moon.png",
)
_FPS = 4.0
_REPEAT = 6  # a photograph stays in view for so many frames, as a thing before a camera would


@click.command()
@click.option("--seconds", type=float, default=30.0, show_default=True, help="How long; 0 = until Ctrl-C.")
@click.option("--camera", help="A camera instead of the photographs: its number (0) or a device, address or file.")
@click.option("--json", "as_json", is_flag=True, help="One JSON line for each MQTT message.")
def command(seconds: float, camera: str | None, as_json: bool) -> None:
    """Show the whole job on this machine: camera, model, broker, subscriber."""
    try:
        from iotcore import Broker
    except ImportError:
        raise UnavailableError("the demo needs its broker and photographs: pip install 'edged[demo]'") from None
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that nothing that was started here is left
    with tempfile.TemporaryDirectory(prefix="edged-demo-") as folder, contextlib.ExitStack() as running:
        port = free_port()
        running.enter_context(Broker(port=port, listen="127.0.0.1"))
        config = Path(folder, "edged.toml")
        config.write_text(tomlkit.dumps(to_config(Path(folder), port, camera)))
        watch = [sys.executable, "-P", "-m", "edged", "watch", "-p", str(port), *(["--json"] if as_json else [])]
        subscriber = running.enter_context(_running(watch))
        daemon = running.enter_context(_running([sys.executable, "-P", "-m", "edged", "run", "--quiet", "-c", str(config)]))
        ends_s = time.monotonic() + seconds if seconds else float("inf")
        with contextlib.suppress(KeyboardInterrupt):
            while time.monotonic() < ends_s and subscriber.poll() is None and daemon.poll() is None:
                time.sleep(0.1)
        ended = daemon.poll()
    if ended is not None:
        sys.exit(ended or 1)


def free_port() -> int:
    """A TCP port on loopback that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def to_config(folder: Path, port: int, camera: str | None) -> dict[str, object]:
    """The demo's config, in the words of edged.toml."""
    return {
        "device": "demo",
        "state_folder": str(folder / "state"),
        "camera": to_camera(folder, camera),
        "model": {"name": "auto"},
        "decision": {"ignore": [], "hold_s": 0.5},
        "mqtt": {"host": "127.0.0.1", "port": port, "version": 4, "result_fps": 1.0},
    }


def to_camera(folder: Path, camera: str | None) -> dict[str, object]:
    if camera is None:
        return {"kind": "pictures", "source": str(_photographs(folder)), "fps": _FPS, "loop": True}
    if camera.isdecimal():
        have_picamera2 = importlib.util.find_spec("picamera2") is not None
        return {"kind": "picamera2", "source": camera} if have_picamera2 else {"kind": "v4l2", "source": f"/dev/video{camera}"}
    if "://" in camera:
        return {"kind": "stream", "source": camera}
    return {"kind": "v4l2" if camera.startswith("/dev/") else "pictures", "source": camera}


def _photographs(folder: Path) -> Path:
    """A folder in which each photograph appears several times in a row, as links to the package's own files."""
    try:
        shipped = importlib.resources.files("skimage.data")
    except ModuleNotFoundError:
        raise UnavailableError("the demo needs its photographs: pip install 'edged[demo]', or give it --camera") from None
    album = folder / "photographs"
    album.mkdir()
    for number, name in enumerate(PHOTOGRAPHS):
        original = Path(str(shipped)) / name
        if original.is_file():
            for again in range(_REPEAT):
                (album / f"{number}{again}_{name}").symlink_to(original)
    return album


@contextlib.contextmanager
def _running(command: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    """A process that is asked to end with SIGTERM, and killed when it does not."""
    process = subprocess.Popen(command)
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
