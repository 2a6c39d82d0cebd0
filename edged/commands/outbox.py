"""edged outbox: dead letters, and events that others go past."""

import json
import os
from pathlib import Path
from typing import Any

import click

_CONFIG = click.option("-c", "--config", type=click.Path(path_type=Path), help="The daemon's config, for its state folder.")
_JSON = click.option("--json", "as_json", is_flag=True, help="One JSON object.")


@click.group()
def command() -> None:
    """Events that the broker did not take: list them, send them again, give them up.

    Asks the running daemon; where none runs, the outbox itself.
    """


@command.command("list")
@_CONFIG
@_JSON
def list_(config: Path | None, as_json: bool) -> None:
    """Show the newest 100 dead letters, and events that are set aside, with the reasons."""
    answer = _ask(config, {"verb": "outbox", "do": "list"})
    if as_json:
        click.echo(json.dumps({key: answer[key] for key in ("dead", "dead_count", "set_aside", "waiting")}))
        return
    from edged.delivery.outbox.letters import to_line
    from edged.system.text import printable

    for letter in answer["dead"]:
        click.echo(printable(f"dead       {to_line(letter)}"))
    for one in answer["set_aside"]:
        click.echo(printable(f"set aside  {one['id']}  {one['size_bytes']} bytes  ({one['why']})"))
    click.echo(f"{answer['dead_count']} dead letters, {len(answer['set_aside'])} set aside, {answer['waiting']} events wait")


@command.command()
@click.argument("which")
@_CONFIG
@_JSON
def retry(which: str, config: Path | None, as_json: bool) -> None:
    """Send the dead letter WHICH (its id, or all) once more."""
    _say(_ask(config, {"verb": "outbox", "do": "retry", "which": which}), "will be sent again", as_json)


@command.command()
@click.argument("which")
@_CONFIG
@_JSON
def discard(which: str, config: Path | None, as_json: bool) -> None:
    """Forget the dead letter WHICH (its id, or all), or give up an event that is set aside, by its id."""
    _say(_ask(config, {"verb": "outbox", "do": "discard", "which": which}), "discarded", as_json)


def _say(answer: dict[str, Any], what: str, as_json: bool) -> None:
    count = int(answer["count"])
    click.echo(json.dumps({"count": count}) if as_json else f"{count} event{'' if count == 1 else 's'} {what}")


def _ask(config: Path | None, request: dict[str, Any]) -> dict[str, Any]:
    """The daemon, or the outbox where none runs."""
    from edged.config.reading import find_state_folder
    from edged.errors import UnavailableError
    from edged.process.control import ask
    from edged.system.lock import claimed

    folder = find_state_folder(config)
    try:
        return ask(folder, request)
    except UnavailableError:
        with claimed(folder):  # else a daemon runs that does not answer, and the error names it
            from edged.delivery.outbox.repair import answer_offline

            _become_owner(folder)
            return answer_offline(folder, request["do"], request.get("which", ""))


def _become_owner(folder: Path) -> None:
    """Root must not leave files there that the daemon's user can't write."""
    if os.geteuid() == 0 and folder.exists():
        found = folder.stat()
        os.setegid(found.st_gid)
        os.seteuid(found.st_uid)
