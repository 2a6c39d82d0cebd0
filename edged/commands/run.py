"""edged run: the daemon, in the foreground."""

import logging
import sys
from pathlib import Path

import click


@click.command()
@click.option(
    "-c", "--config", type=click.Path(path_type=Path), help="The config file, else /etc/edged/edged.toml, else the defaults."
)
@click.option("-v", "--verbose", is_flag=True, help="Also log what the libraries say.")
def command(config: Path | None, verbose: bool) -> int:
    """Look, decide and tell until SIGTERM."""
    from edged.config_surroundings import load_checked
    from edged.daemon import run

    logging.basicConfig(
        level=logging.DEBUG if verbose else logging.INFO, stream=sys.stderr, format="%(levelname)s %(message)s", force=True
    )
    return run(load_checked(config))
