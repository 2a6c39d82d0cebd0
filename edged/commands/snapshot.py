"""edged snapshot: the picture that the running daemon looked at last, with what it made of it drawn on it."""

import base64
import sys
from pathlib import Path
from typing import Any

import click

from edged.commands import FILE
from edged.system.text import to_json

_FIELDS = ("label", "top", "lead", "region", "shows", "age_ms", "rules")


@click.command()
@click.option("-o", "--output", type=FILE, required=True, metavar="FILE", help="A JPEG that only its owner may read; - = stdout.")
@click.option(
    "--view",
    type=click.Choice(["whole", "region", "model"]),
    default="whole",
    show_default=True,
    help="All that the camera gives, with the region marked; the region; or exactly what the model gets.",
)
@click.option("--plain", is_flag=True, help="Draw nothing on it.")
@click.option("-c", "--config", type=FILE, help="The daemon's config, for its state folder.")
@click.option("--json", "as_json", is_flag=True, help="What would be drawn, as one JSON object.")
def command(output: Path, view: str, plain: bool, config: Path | None, as_json: bool) -> None:
    """Write what the camera sees into FILE, with the region, the label, its score and its lead drawn on it.

    Only for who may use the daemon's socket, and never while it is paused or where snapshot.local is false.
    """
    from edged.config.reading import find_daemon_folder
    from edged.errors import UnavailableError
    from edged.process.control import ask_picture
    from edged.system.files import PRIVATE, write_output
    from edged.system.text import printable_all

    told = ask_picture(find_daemon_folder(config), view)
    try:
        jpeg = base64.b64decode(str(told.pop("jpeg")), validate=True)
        about: dict[str, Any] = printable_all({key: told[key] for key in _FIELDS})
        lines = to_lines(about)
    except (ValueError, LookupError, TypeError):
        raise UnavailableError("what answers is no edged of this version: its picture can not be read") from None
    if not plain:
        from edged.vision.decode import PictureError
        from edged.vision.snapshot import draw

        try:
            jpeg = draw(jpeg, lines, shows=about["shows"], region=about["region"])
        except (PictureError, ValueError, TypeError, ArithmeticError):
            raise UnavailableError("what answers gave no picture that can be drawn on; --plain writes it as it is") from None
    if str(output) == "-":
        sys.stdout.flush()
        sys.stdout.buffer.write(jpeg)
    else:
        write_output(output, jpeg, PRIVATE)  # a file is for nobody else to read
    said = to_json(about) if as_json else f"{output}: {', '.join(lines)}"
    click.echo(said, err=str(output) == "-")


def to_lines(about: dict[str, Any]) -> list[str]:
    """What is drawn: what is said, and of which scores. Raises LookupError, TypeError, ValueError for what is no such thing."""
    label, lead, rules, top = about["label"], float(about["lead"]), about["rules"], about["top"]
    best = [f"{name} {float(score):.2f}" for name, score in top]
    first = f"{label}" if not top or top[0][0] != label else f"{label} {float(top[0][1]):.2f}"
    return [
        f"{first} (leads by {lead:.2f})",
        " | ".join(best),
        f"enter {float(rules['enter']):g}, margin {float(rules['margin']):g}, {float(about['age_ms']):.0f} ms old",
    ]
