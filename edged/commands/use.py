"""edged use: another model or profile for the running daemon, kept only if it proves itself."""

import json
import os
import shlex
from pathlib import Path
from typing import Any

import click

from edged.commands import FILE
from edged.errors import EdgedError
from edged.system.text import printable

NEEDS = {"changed": list, "model": str, "note": str}


@click.command()
@click.argument("wish", metavar="[NAME|auto|@PROFILE]", required=False)
@click.option("--clear", is_flag=True, help="What the config file says.")
@click.option(
    "--write", is_flag=True, help="Also write it into the config file, whose comments stay; the former model's labels go."
)
@click.option("-c", "--config", type=FILE, help="The daemon's config, for its state folder.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object: changed, model, trial, note.")
def command(wish: str | None, clear: bool, write: bool, config: Path | None, as_json: bool) -> None:
    """Let the running daemon use another model, or a profile of its config.

    The model is tried, loaded beside the one that runs, and must give five frames within the budget; else the old one
    goes on and the reason is told. While the camera gives no frames it is on trial, and that is said. The choice holds,
    also after a restart, until [model] in the config file changes or until `edged use --clear`, which also ends what the
    page has set beside the file.
    """
    from edged.config.profile import FILE, MARK
    from edged.config.reading import find_daemon_folder
    from edged.process.control import ask
    from edged.system.text import printable_all

    if clear == (wish is not None):
        raise click.UsageError("name a model, auto or @PROFILE, or give --clear")
    if write and (wish is None or wish.startswith(MARK)):
        raise click.UsageError("--write needs a model's name or auto: a profile has its own place in the file")

    def tell(doing: str) -> None:
        click.echo(printable(doing), err=True)

    folder = find_daemon_folder(config)
    file = _running_config(folder, config) if write else Path()
    asked = {"verb": "use", "wish": FILE if wish is None else wish}
    done = printable_all(ask(folder, asked, NEEDS, on_progress=tell))
    unfollowed: EdgedError | None = None
    if write and wish is not None:
        done["note"] = " ".join(filter(None, (str(done["note"] or ""), _written(file, wish, folder, _in_use(done)))))
        try:
            ask(folder, {"verb": "reload"}, on_progress=tell)
        except EdgedError as error:  # it is in the file all the same, and that is to be told
            unfollowed = error
    if as_json:
        click.echo(json.dumps({key: done[key] for key in ("changed", "model", "note")} | {"trial": done.get("trial", "")}))
    else:
        click.echo(_in_use(done) + (f"; {done['note']}" if done["note"] else ""))
    if unfollowed is not None:
        raise unfollowed


def _in_use(done: dict[str, Any]) -> str:
    trial = done.get("trial")  # no daemon of before tells it
    return f"{trial} is chosen" if trial else f"{done['model']} is in use"


def _written(file: Path, wish: str, folder: Path, in_use: str) -> str:
    """What was written, and where. Raises EdgedError where nothing was: the wish, which was carried out, holds beside the file."""
    from edged.config.edit import write_model_name

    try:
        written = write_model_name(file, wish, folder)
    except EdgedError as error:
        refusal = EdgedError(f"{in_use} until 'edged use --clear', but the file is left as it was: {error}")
        refusal.exit_code = error.exit_code
        raise refusal from None
    went = "".join(f", without model.{key}, which was the former model's" for key in written.removed)
    return f"written to {printable(str(written.path))}{went}"


def _running_config(folder: Path, config: Path | None) -> Path:
    """The file that the running daemon follows. Raises EdgedError where it has none, or where root may not believe it."""
    from edged.process.control import ask

    return to_file(str(ask(folder, {"verb": "status"}, {"config": str})["config"]), config, is_root=os.geteuid() == 0)


def is_same_file(told: str, config: Path) -> bool:
    """Also where one of the names has a `..` in it, or leads there by a link: what is written to is what the person named."""
    try:
        return Path(told).absolute() == config.absolute() or config.samefile(told)
    except (OSError, ValueError):
        return False


def to_file(told: str, config: Path | None, *, is_root: bool) -> Path:
    """`told` is what answers at the socket; root writes only where configs lie, or where the person said. Raises EdgedError."""
    from edged.config.reading import SYSTEM_FILE

    if config is not None and (not told or is_same_file(told, config)):
        return config
    if not told.startswith("/"):
        raise EdgedError("the running daemon has no config file, so there is nothing to write into: name one with -c")
    file = Path(told)
    if is_root and (file.parent != SYSTEM_FILE.parent or file.suffix != ".toml"):
        raise EdgedError(
            f"the running daemon follows {printable(told)}; to write into it, name it: -c {shlex.quote(printable(told))}"
        )
    return file
