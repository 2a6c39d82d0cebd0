"""edged outbox: dead letters, and events that others go past."""

import json
from pathlib import Path
from typing import Any

import click

from edged.commands import FILE

_CONFIG = click.option("-c", "--config", type=FILE, help="The daemon's config, for its state folder.")
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
    needs = {"dead": list, "dead_count": int, "set_aside": list, "waiting": int}
    answer = _ask(config, {"verb": "outbox", "do": "list"}, needs)
    if as_json:
        click.echo(json.dumps({key: answer[key] for key in needs}))
        return
    from edged.delivery.outbox.letters import to_line
    from edged.errors import UnavailableError
    from edged.system.text import printable

    try:
        lines = [f"dead       {to_line(letter)}" for letter in answer["dead"]]
        lines += [f"set aside  {one['id']}  {one['size_bytes']} bytes  ({one['why']})" for one in answer["set_aside"]]
    except (LookupError, TypeError):
        raise UnavailableError("what answers is no edged of this version: edged outbox list --json shows what it says") from None
    for line in lines:
        click.echo(printable(line))
    click.echo(f"{answer['dead_count']} dead letters, {len(answer['set_aside'])} set aside, {answer['waiting']} events wait")


@command.command()
@click.argument("which")
@_CONFIG
@_JSON
def retry(which: str, config: Path | None, as_json: bool) -> None:
    """Send the dead letter WHICH (its id, or all) once more."""
    _say(_ask(config, {"verb": "outbox", "do": "retry", "which": which}, {"count": int}), "will be sent again", as_json)


@command.command()
@click.argument("which")
@_CONFIG
@_JSON
def discard(which: str, config: Path | None, as_json: bool) -> None:
    """Forget the dead letter WHICH (its id, or all), or give up an event that is set aside, by its id."""
    _say(_ask(config, {"verb": "outbox", "do": "discard", "which": which}, {"count": int}), "discarded", as_json)


def _say(answer: dict[str, Any], what: str, as_json: bool) -> None:
    count = answer["count"]
    click.echo(json.dumps({"count": count}) if as_json else f"{count} event{'' if count == 1 else 's'} {what}")


def _ask(config: Path | None, request: dict[str, Any], needs: dict[str, type]) -> dict[str, Any]:
    """The daemon, or the outbox where none runs: with the rights of whoever the folder belongs to, as root too."""
    from edged.config.reading import find_own_folder
    from edged.errors import UnavailableError
    from edged.process.control import ask
    from edged.system.files import acting_for
    from edged.system.lock import claimed

    folder = find_own_folder(config)
    try:
        return ask(folder, request, needs)
    except UnavailableError:
        from edged.delivery.outbox.repair import answer_offline  # before: the folder's owner need not be able to read our code

        with acting_for(folder), claimed(folder):  # else a daemon runs that does not answer, and the error names it
            return answer_offline(folder, request["do"], request.get("which", ""))
