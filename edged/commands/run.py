"""edged run: the daemon, in the foreground."""

import faulthandler
import gc
import logging
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edged.commands import FILE

if TYPE_CHECKING:
    from edged.process.phases import Mark


@click.command()
@click.option("-c", "--config", type=FILE, help="The config file, else /etc/edged/edged.toml, else the defaults.")
@click.option("--instance", metavar="NAME", help="The config is /etc/edged/NAME.toml: how systemd starts a second camera's daemon.")
@click.option("-v", "--verbose", is_flag=True, help="Also log what the libraries say.")
@click.option("-q", "--quiet", is_flag=True, help="Log only what is wrong.")
@click.option("--timings", is_flag=True, help="At the first result, print what each phase of the start took, in both processes.")
@click.option("--json", "as_json", is_flag=True, help="With --timings: one JSON object for machines.")
def command(config: Path | None, instance: str | None, verbose: bool, quiet: bool, timings: bool, as_json: bool) -> int:
    """Look, decide and tell until SIGTERM."""
    from edged.process.phases import START

    START.ended("interpreter")
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until there is something to read again: what was written meanwhile is found
    gc.disable()  # until the parts run: what is imported stays, and to look for garbage in it takes a tenth of the start
    from edged.config.instance import to_config
    from edged.daemon.early import begun
    from edged.system.log import begin_log

    if as_json and not timings:
        raise click.UsageError("--json is about --timings: give both")
    if instance is not None:
        if config is not None:
            raise click.UsageError("--instance names a config, and so does -c: give one of the two")
        config = to_config(instance)
    if sys.stderr is not None:
        faulthandler.enable()  # where every thread was, when the watchdog's SIGABRT ends what hangs
    level = logging.DEBUG if verbose else logging.WARNING if quiet else logging.INFO
    log = begin_log(level)
    try:
        with begun(config) as early:
            from edged.daemon.run import run  # only now, so that the vision process imports its own meanwhile

            on_started = _Timings(as_json=as_json).tell if timings else lambda *_: None
            return run(config, early=early, on_started=on_started, is_last=True)
    finally:
        if log is not None:
            log.close()


class _Timings:
    """Prints the phases of the start, once: a vision process that is started later has a start of its own."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json, self._is_told = as_json, False

    def tell(self, vision_began_ns: int, vision: "list[Mark]") -> None:
        """Thread: the event loop's. Whoever does not listen any more stops nothing."""
        from dataclasses import asdict

        from edged.process.phases import START, load_began_ns, to_phases
        from edged.system.text import to_json

        if self._is_told:
            return
        self._is_told = True
        zero_ns = load_began_ns()
        phases = [
            *to_phases("courier", START.marks, zero_ns, zero_ns),
            *to_phases("vision", vision, vision_began_ns, zero_ns),
        ]
        if self._as_json:
            said = to_json({"phases": [asdict(one) for one in phases]})
        else:
            said = "\n".join(f"{one.process:8} {one.name:16} {one.took_ms:8.1f} ms, until {one.at_ms:8.1f} ms" for one in phases)
        try:
            click.echo(said)
            sys.stdout.flush()
        except (OSError, AttributeError):
            return
