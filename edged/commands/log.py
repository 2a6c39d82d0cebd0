"""edged log: how much the running daemon writes into its log, until it starts again."""

from pathlib import Path

import click

from edged.commands import FILE
from edged.system.log import LEVELS
from edged.system.text import to_json


@click.command()
@click.argument("level", type=click.Choice(list(LEVELS)))
@click.option("-c", "--config", type=FILE, help="The daemon's config, for its state folder.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object: level, before.")
def command(level: str, config: Path | None, as_json: bool) -> None:
    """Let the running daemon log from LEVEL on. With its next start it is as it was begun: info, or by -v and -q.

    debug adds what the libraries of the vision process print. The log: journalctl -u edged.
    """
    from edged.config.reading import find_daemon_folder
    from edged.process.control import ask
    from edged.system.text import printable_all

    done = printable_all(ask(find_daemon_folder(config), {"verb": "log", "level": level}, {"level": str, "before": str}))
    if as_json:
        click.echo(to_json({key: done[key] for key in ("level", "before")}))
        return
    click.echo(f"it logs from {done['level']} on; before it was {done['before']}")
