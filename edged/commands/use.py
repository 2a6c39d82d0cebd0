"""edged use: another model or profile for the running daemon, kept only if it proves itself."""

import json
from pathlib import Path

import click


@click.command()
@click.argument("wish", metavar="[NAME|auto|@PROFILE]", required=False)
@click.option("--clear", is_flag=True, help="What the config file says.")
@click.option("--write", is_flag=True, help="Also write it into the config file, whose comments stay.")
@click.option("-c", "--config", type=click.Path(path_type=Path), help="The daemon's config, for its state folder.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object: changed, model, note.")
def command(wish: str | None, clear: bool, write: bool, config: Path | None, as_json: bool) -> None:
    """Let the running daemon use another model, or a profile of its config.

    The model is tried, loaded beside the one that runs, and must give five frames within the budget; else the old one
    goes on and the reason is told. The choice holds, also after a restart, until [model] in the config file changes or
    until `edged use --clear`.
    """
    from edged.config.profile import FILE, MARK
    from edged.config.reading import find_daemon_folder
    from edged.process.control import ask
    from edged.system.text import printable, printable_all

    if clear == (wish is not None):
        raise click.UsageError("name a model, auto or @PROFILE, or give --clear")
    if write and (wish is None or wish.startswith(MARK)):
        raise click.UsageError("--write needs a model's name or auto: a profile has its own place in the file")

    def tell(doing: str) -> None:
        click.echo(printable(doing), err=True)

    asked = {"verb": "use", "wish": FILE if wish is None else wish}
    done = printable_all(ask(find_daemon_folder(config), asked, ("changed", "model", "note"), on_progress=tell))
    if write and wish is not None:
        from edged.config.edit import write_model_name

        path = write_model_name(config, wish)
        ask(find_daemon_folder(config), {"verb": "reload"}, on_progress=tell)
        done["note"] = " ".join(filter(None, (str(done["note"] or ""), f"written to {printable(str(path))}")))
    if as_json:
        click.echo(json.dumps({key: done[key] for key in ("changed", "model", "note")}))
        return
    click.echo(f"{done['model']} is in use" + (f"; {done['note']}" if done["note"] else ""))
