"""edged run: the daemon, in the foreground."""

import faulthandler
import logging
import sys
from pathlib import Path

import click


@click.command()
@click.option(
    "-c", "--config", type=click.Path(path_type=Path), help="The config file, else /etc/edged/edged.toml, else the defaults."
)
@click.option("-v", "--verbose", is_flag=True, help="Also log what the libraries say.")
@click.option("-q", "--quiet", is_flag=True, help="Log only what is wrong.")
def command(config: Path | None, verbose: bool, quiet: bool) -> int:
    """Look, decide and tell until SIGTERM."""
    from edged.daemon.run import run
    from edged.system.log import begin_log

    if sys.stderr is not None:
        faulthandler.enable()  # where every thread was, when the watchdog's SIGABRT ends what hangs
    level = logging.DEBUG if verbose else logging.WARNING if quiet else logging.INFO
    log = begin_log(level)
    try:
        return run(config)
    finally:
        if log is not None:
            log.close()
