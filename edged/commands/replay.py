"""edged replay: send again what a broker has lost."""

import json
import re
from pathlib import Path

import click

from edged.commands import FILE

_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86400}


class Duration(click.ParamType):  # type: ignore[type-arg]  # click before 8.3 knows no parameter here
    """30m, 12h, 90s, 2d → seconds."""

    name = "duration"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        found = re.fullmatch(r"(\d{1,9}(?:\.\d{1,3})?)\s*([smhd])", str(value).strip())
        if not found:
            self.fail(f'"{value}" is no time like 90s, 30m, 12h or 2d', param, ctx)
        return float(found[1]) * _UNITS_S[found[2]]


@click.command()
@click.option("--since", type=Duration(), required=True, help="How far back: 90s, 30m, 12h, 2d.")
@click.option("-c", "--config", type=FILE, help="The daemon's config, for its state folder.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object: replayed.")
def command(since: float, config: Path | None, as_json: bool) -> None:
    """Let the running daemon send delivered events again, for a broker that lost its database.

    The last 10,000 delivered events are kept (outbox.keep_rows). They go out as they were, with their first id, those
    older than 60 s on the topic backlog; subscribers that have them already know them by the id.
    """
    from edged.config.reading import find_daemon_folder
    from edged.process.control import ask

    count = ask(find_daemon_folder(config), {"verb": "replay", "since_s": since}, {"replayed": int})["replayed"]
    click.echo(json.dumps({"replayed": count}) if as_json else f"{count} event{'' if count == 1 else 's'} will be sent again")
