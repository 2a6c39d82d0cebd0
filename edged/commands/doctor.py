"""edged doctor: what is wrong with this board, and the command that cures it."""

import shutil
import sys
import textwrap
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edged.commands import FILE
from edged.system.text import printable, to_json

if TYPE_CHECKING:
    from edged.doctor.finding import Finding

_MARKS = {"ok": ("✓", "green"), "warn": ("!", "yellow"), "fail": ("✗", "red"), "skipped": ("-", "bright_black")}
_COLUMN = 25
_ORDER = ("fail", "warn", "ok", "skipped")


@click.command()
@click.option("-c", "--config", type=FILE, help="The config file; without it /etc/edged/edged.toml.")
@click.option("--bundle", type=FILE, metavar="FILE", help="Write all that a helper needs into one text file.")
@click.option("--json", "as_json", is_flag=True, help="A list of objects: check, state (ok, warn, fail, skipped), found, cure.")
def command(config: Path | None, bundle: Path | None, as_json: bool) -> int:
    """Look for everything that goes wrong on a Pi, and print the command that cures it. Exit 1 when something fails.

    Nothing is changed, no camera is opened, and a running daemon is not disturbed. As root it sees more: sudo edged doctor.
    """
    import logging
    from dataclasses import asdict

    from edged.doctor.round import examine
    from edged.doctor.site import Site
    from edged.errors import FAILED, OK

    logging.getLogger("edged").addHandler(logging.NullHandler())  # what must be said is said here
    found = []
    for finding in examine(Site(), config):
        found.append(finding)
        if not as_json:
            print_finding(finding)
    if as_json:
        click.echo(to_json([asdict(finding) for finding in found]))
    else:
        click.echo(to_summary(found))
    if bundle is not None:
        _write_bundle(bundle, config, found)
    return FAILED if any(finding.state == "fail" for finding in found) else OK


def _write_bundle(path: Path, config: Path | None, found: "list[Finding]") -> None:
    """Readable by its owner only, until that one gives it away."""
    from edged.doctor.bundle import to_bundle
    from edged.doctor.settings import read_config
    from edged.doctor.site import Site
    from edged.system.files import PRIVATE, write_output

    reading, _ = read_config(config)
    settings = None if reading is None else reading.settings
    text = to_bundle(Site(), settings, "" if reading is None else reading.source.file, found)
    sys.stdout.flush()  # it may be the same
    write_output(path, text.encode(), PRIVATE)
    said = "without passwords, pictures and what was seen; read it before you send it"
    click.echo(f"{path}: {len(text.splitlines())} lines, {said}", err=True)


def print_finding(finding: "Finding") -> None:
    mark, colour = _MARKS[finding.state]
    name = click.style(f"{mark} {finding.check:<{_COLUMN - 3}}", fg=colour, bold=finding.state == "fail")
    for number, line in enumerate(to_lines(printable(finding.found))):
        said = click.style(line, dim=True) if finding.state == "skipped" else line
        click.echo(f"{name} {said}" if number == 0 else f"{'':<{_COLUMN}}{said}")
    for line in map(printable, finding.cure.splitlines()):
        # no mark before it, so that a triple click takes the command and nothing else
        click.echo(click.style(f"    {line}", fg="cyan", dim=line.startswith("#")))
    sys.stdout.flush()


def to_lines(text: str) -> list[str]:
    """Below one another in a terminal; one line for a pipe, so that grep finds it."""
    if sys.stdout is None or not sys.stdout.isatty():
        return [text]
    room = max(30, shutil.get_terminal_size().columns - _COLUMN - 1)
    return textwrap.wrap(text, room, break_on_hyphens=False) or [""]


def to_summary(found: "Iterable[Finding]") -> str:
    """Pure."""
    states = [str(finding.state) for finding in found]
    words = {"fail": "failed", "warn": "to think about", "ok": "ok", "skipped": "not looked at"}
    return ", ".join(f"{states.count(state)} {words[state]}" for state in _ORDER if state in states)
