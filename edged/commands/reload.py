"""edged reload: let the running daemon follow its config file now, and hear what came of it."""

import json
from pathlib import Path

import click


@click.command()
@click.option("-c", "--config", type=click.Path(path_type=Path), help="The daemon's config, for its state folder.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object: changed, at_start, model, note.")
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

    needs = ("changed", "at_start", "model", "note")
    done = printable_all(ask(find_daemon_folder(config), {"verb": "reload"}, needs, on_progress=tell))
    if as_json:
        click.echo(json.dumps({key: done[key] for key in ("changed", "at_start", "model", "note")}))
        return
    at_start = set(map(str, done["at_start"] or ()))
    now = [str(key) for key in done["changed"] or () if key not in at_start]
    click.echo(f"followed: {', '.join(now)}" if now else "nothing else to follow" if at_start else "nothing changed")
    if at_start:
        click.echo(f"takes effect when edged starts again: {', '.join(sorted(at_start))}")
    if done["note"]:
        click.echo(done["note"])
