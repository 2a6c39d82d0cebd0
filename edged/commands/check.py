"""edged check: every fault of a config at once, or what it comes to."""

import json
import sys
from pathlib import Path

import click


@click.command()
@click.option("-c", "--config", type=click.Path(path_type=Path), help="The config file; without it /etc/edged/edged.toml.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object for machines.")
def command(config: Path | None, as_json: bool) -> None:
    """Name every fault of a config, or show what each key came to and where it was set."""
    from edged.config import load_settings

    settings = load_settings(config)
    if as_json:
        sys.stdout.write(
            json.dumps({"ok": True, "settings": settings.model_dump(mode="json", by_alias=True), "origins": settings.origins})
            + "\n"
        )
