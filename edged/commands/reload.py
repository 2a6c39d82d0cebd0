"""edged reload: let the running daemon follow its config file now, and hear what came of it."""

import json
from pathlib import Path

import click

from edged.commands import FILE

NEEDS = {"changed": list, "at_start": list, "model": str, "note": str}


@click.command()
@click.option("-c", "--config", type=FILE, help="The daemon's config, for its state folder.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object: changed, at_start, model, trial, note.")
def command(config: Path | None, as_json: bool) -> None:
    """Let the running daemon follow its config file now.

    A daemon notices by itself when the file is written; this waits for the verdict. A config with a fault changes nothing:
    all faults are listed, and what ran before still runs.
    """
    from edged.config.reading import find_daemon_folder
    from edged.process.control import ask
    from edged.system.text import printable, printable_all

    def tell(doing: str) -> None:
        click.echo(printable(doing), err=True)

    done = printable_all(ask(find_daemon_folder(config), {"verb": "reload"}, NEEDS, on_progress=tell))
    if as_json:
        click.echo(json.dumps({key: done[key] for key in NEEDS} | {"trial": done.get("trial", "")}))
        return
    at_start = set(map(str, done["at_start"]))
    now = [str(key) for key in done["changed"] if str(key) not in at_start]
    click.echo(f"followed: {', '.join(now)}" if now else "nothing else to follow" if at_start else "nothing changed")
    if at_start:
        click.echo(f"takes effect when edged starts again: {', '.join(sorted(at_start))}")
    if trial := done.get("trial"):
        click.echo(f"{trial} is chosen; {done['note']}")
    elif done["note"]:
        click.echo(done["note"])
