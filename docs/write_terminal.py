"""Writes docs/demo.svg and docs/terminal.svg: what commands print in a terminal, each run for real. Minutes; needs Mosquitto.

Not a part of `make docs`: figures and times differ with each run. Look at what came out before it is kept.
"""

import fcntl
import importlib.resources
import io
import os
import pty
import re
import shutil
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Sequence
from pathlib import Path

import cv2
from rich.console import Console
from rich.text import Text

from edged.commands.demo import PHOTOGRAPHS, free_port
from edged.config.edit import to_first_config

DOCS = Path(__file__).parent
_WIDE = 118  # characters
_GAP_PX, _CHARACTER_PX = 24, 12.2
_HOME = Path("/tmp/me-1")  # as long as what it is shown as, so that columns stay columns


def seen(words: Sequence[str], folder: Path, *, seconds: float = 120.0) -> str:
    """What a terminal of _WIDE columns shows of `edged WORDS`; after `seconds` it is ended as by Ctrl-C."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 200, _WIDE, 0, 0))
    environment = os.environ | {"TERM": "xterm-256color", "COLUMNS": str(_WIDE)}
    command = [sys.executable, "-m", "edged", *words]
    ends_s, said = time.monotonic() + seconds, b""
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, cwd=folder, env=environment) as running:
        os.close(theirs)
        os.set_blocking(ours, False)
        while running.poll() is None or said is None:
            if time.monotonic() > ends_s:
                running.send_signal(2)
                ends_s = float("inf")
            said += _read(ours)
            time.sleep(0.02)
        said += _read(ours)
    os.close(ours)
    return said.decode(errors="replace").replace("\r\n", "\n")


def _read(handle: int) -> bytes:
    found = b""
    try:
        while part := os.read(handle, 65536):
            found += part
    except (BlockingIOError, OSError):  # nothing more now; the terminal's end
        pass
    return found


def to_picture(title: str, command: str, said: str, name: str) -> str:
    """A terminal as SVG, without a font that is fetched; a line that is too long is cut, so that columns stay columns."""
    said = re.sub(r"\x1b\[\?25[lh]|\x1b\[[0-9]*[AKJG]|\x1b\[2K|\r", "", said)
    console = Console(record=True, width=_WIDE, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    console.print(Text(f"$ {command}", style="bold"))
    for line in said.rstrip("\n").split("\n"):
        if "━" in line:
            continue  # a progress bar, which is gone when the command ends
        text = Text.from_ansi(line)
        text.truncate(_WIDE, overflow="ellipsis")
        console.print(text, no_wrap=True, overflow="ellipsis", crop=True)
    svg = console.export_svg(title=title, unique_id=name)
    svg = re.sub(r"\s*@font-face \{.*?\}", "", svg, flags=re.DOTALL)
    return re.sub(r'(<text [^>]*?x=")([\d.]+)("[^>]*?textLength=")([\d.]+)("[^>]*>)((?:&#160;)+)', _moved, svg)


def _moved(found: re.Match[str]) -> str:
    """A text that begins with spaces begins further to the right instead: not every program draws them."""
    shift = found[6].count(";") * _CHARACTER_PX
    return f"{found[1]}{float(found[2]) + shift:g}{found[3]}{float(found[4]) - shift:g}{found[5]}"


def to_sheet(pictures: Sequence[str], columns: int = 2) -> str:
    """All in one, in columns of equal width; each goes into the column that is shortest."""
    heights, placed, wide = [0.0] * columns, list[str](), 0.0
    for picture in pictures:
        found = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', picture)
        assert found is not None
        wide, high = float(found[1]), float(found[2])
        column = heights.index(min(heights))
        place = f'x="{column * (wide + _GAP_PX):.0f}" y="{heights[column]:.0f}" width="{wide}" height="{high}" '
        placed.append(picture.replace("<svg ", f"<svg {place}", 1))
        heights[column] += high + _GAP_PX
    box = f"0 0 {columns * (wide + _GAP_PX) - _GAP_PX:.0f} {max(heights) - _GAP_PX:.0f}"
    return f'<svg viewBox="{box}" xmlns="http://www.w3.org/2000/svg">\n' + "\n".join(placed) + "\n</svg>\n"


def main() -> None:
    mosquitto = shutil.which("mosquitto", path=f"{os.environ['PATH']}:/usr/sbin") or sys.exit("needs mosquitto")
    _HOME.mkdir()
    try:
        write(_HOME, mosquitto)
    finally:
        shutil.rmtree(_HOME)


def to_labels(folder: Path, photographs: Path) -> list[str]:
    """20 pieces each of three surfaces, which do not overlap, as docs/teach.md has them."""
    options = []
    for name in ("brick", "grass", "gravel"):
        whole = cv2.imread(str(photographs / f"{name}.png"))
        (folder / name).mkdir()
        for n in range(20):
            y, x = n // 5 * 128, n % 5 * 102
            cv2.imwrite(str(folder / name / f"{n:02}.png"), whole[y : y + 128, x : x + 102])
        options += ["--label", f"{name}={name}"]
    return options


def write(folder: Path, mosquitto: str) -> None:
    demo = re.sub(r"/\S*/config/", "…/config/", seen(["demo", "--seconds", "24"], folder))
    (DOCS / "demo.svg").write_text(to_picture("edged", "make run", demo, "demo"))
    port = free_port()
    (folder / "mosquitto.conf").write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\nuser root\n")
    broker = subprocess.Popen([mosquitto, "-c", str(folder / "mosquitto.conf")], stderr=subprocess.DEVNULL)
    album = folder / "pictures"
    album.mkdir()
    package = Path(str(importlib.resources.files("skimage.data")))
    for number, photograph in enumerate(PHOTOGRAPHS):
        (album / f"{number}_{photograph}").symlink_to(package / photograph)
    camera = {"kind": "pictures", "source": str(album)}
    text = to_first_config(device="door", camera=camera, camera_name="", host="127.0.0.1", port=port)
    text = text.replace(f'source = "{folder}/', 'source = "')
    (folder / "edged.toml").write_text(f'state_folder = "{folder}/state"\n{text}')
    option, labels = ["-c", "edged.toml"], to_labels(folder, package)
    try:
        fit = seen(["fit", *option], folder)
        daemon = subprocess.Popen([sys.executable, "-m", "edged", "run", "--quiet", *option], cwd=folder)
        time.sleep(9)
        shown = [
            ("status", seen(["status", *option], folder)),
            ("watch", seen(["watch", *option, "--seconds", "5"], folder)),
            ("check --changed", seen(["check", "--changed", *option], folder)),
            ("fit", fit),
            ("doctor", seen(["doctor", *option], folder)),
            (f"teach ground {' '.join(labels)}", seen(["teach", "ground", *labels, *option], folder)),
            ("demo", demo),
        ]
        daemon.terminate()
        daemon.wait(10)
    finally:
        broker.terminate()
        broker.wait(10)
    shown = [(command, said.replace(str(folder), "/home/me")) for command, said in shown]
    pictures = [
        to_picture(f"edged {command}", f"edged {command}{'' if command == 'demo' else ' -c edged.toml'}", said, command.split()[0])
        for command, said in shown
    ]
    (DOCS / "terminal.svg").write_text(to_sheet(pictures))


if __name__ == "__main__":
    main()
