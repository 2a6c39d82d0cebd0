"""edged status: how the running daemon is, in a few lines."""

from pathlib import Path
from typing import Any

import click

from edged.system.text import to_json


@click.command()
@click.option("-c", "--config", type=click.Path(path_type=Path), help="The daemon's config, for its state folder.")
@click.option("--json", "as_json", is_flag=True, help="All of it as one JSON object.")
def command(config: Path | None, as_json: bool) -> None:
    """Show what the running daemon looks with, sees with and waits for."""
    from edged.config.reading import find_daemon_folder
    from edged.errors import UnavailableError
    from edged.process.control import ask
    from edged.system.text import printable_all

    answer = printable_all(ask(find_daemon_folder(config), {"verb": "status"}, ("model", "health")))
    answer.pop("ok")
    if as_json:
        click.echo(to_json(answer))
        return
    try:
        rows = to_rows(answer)
    except (LookupError, TypeError, ValueError, AttributeError):
        raise UnavailableError("what answers is no edged of this version: edged status --json shows what it says") from None
    for name, value in rows:
        click.echo(f"{name:<9} {value}")


def to_rows(answer: dict[str, Any]) -> list[tuple[str, str]]:
    """(what, how it is), for people. Raises LookupError and the like for what is no daemon's answer."""
    health = answer["health"]
    frames, events = health["frames"], health["events"]
    latency = health["latency_p95_ms"]
    dropped = sum(events["dropped"].values())
    override = answer["override"]
    rows = [
        ("model", f"{answer['model']} ({answer['chosen']})"),
        ("decides", "enter {enter:g}, leave {leave:g}, margin {margin:g}".format_map(answer["decision"])),
        ("camera", answer["camera"]),
        ("speed", f"{health['fps']:g} fps" + (f", p95 {latency:g} ms" if latency is not None else "")),
        ("frames", ", ".join(f"{count} {name}" for name, count in frames.items() if count or name == "captured")),
        ("events", f"{events['delivered']} delivered, {events['queued']} waiting" + (f", {dropped} dropped" if dropped else "")),
        ("broker", "connected" if answer["connected"] else "away"),
        ("config", answer["config"] or "defaults"),
    ]
    if override:
        rows.append(("override", f"{override['wish']} (by {override['door']}; 'edged use --clear' ends it)"))
    return rows + [("degraded", sentence.splitlines()[0]) for sentence in health["degraded"]]
