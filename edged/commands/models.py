"""edged models: which models there are, and bringing them here."""

import json
import shutil
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edged.commands import FILE
from edged.system.table import to_cell, to_table
from edged.system.text import counted, printable_lines, to_json

if TYPE_CHECKING:
    from edged.config.reading import Settings
    from edged.models.admission import Admission
    from edged.models.card import Card
    from edged.models.store import Store

_config = click.option("-c", "--config", type=FILE, help="The config file; without it /etc/edged/edged.toml.")
_json = click.option("--json", "as_json", is_flag=True, help="JSON for machines.")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def command() -> None:
    """Show, add, fetch, check and remove models."""


@command.command("list")
@click.option("--all", "everything", is_flag=True, help="Also those that could be fetched; --json has all of them.")
@_config
@_json
def list_(everything: bool, config: Path | None, as_json: bool) -> None:
    """A line for each model that is here: what it costs, how well it sees, what was measured on this board."""
    rows = sorted(to_rows(store := _store(_settings(config))), key=lambda row: not row["installed"])
    for sentence in store.left_out():
        click.echo(sentence, err=True)
    if as_json:
        click.echo(to_json(rows))
        return
    here = [row for row in rows if row["installed"]]
    headings = ("name", "px", "million\nMACs", "million\nweights", "top-1\n(card)", "file\nMB", "installed", "p95\nmeasured here")
    keys = ("name", "px", "million_macs", "million_params", "top1", "size_mb", "installed", "measured")
    print_table(headings, [[_to_cell(row[key]) for key in keys] for row in (rows if everything else here)])
    if not everything and len(rows) > len(here):
        more = counted(len(rows) - len(here), "more model")
        click.echo(f"{more} can be fetched with 'edged models pull NAME': 'edged models list --all' names them", err=True)


@command.command()
@click.argument("name")
@_config
@_json
def show(name: str, config: Path | None, as_json: bool) -> None:
    """Everything that is known of one model."""
    store = _store(_settings(config), name)
    (card,) = _wanted(store, (name,))
    row = next(row for row in to_rows(store) if row["name"] == name)
    here = {key: row[key] for key in ("macs_deviation", "installed", "path", "measured")}
    facts = card.model_dump(mode="json", exclude_none=True) | here
    if as_json:
        click.echo(to_json(facts))
        return
    for key, value in facts.items():
        if value not in ("", None, [], {}):
            click.echo(f"{key} = {to_json(value)}")


@command.command()
@click.argument("file", type=FILE)
@click.option("-l", "--labels", type=FILE, metavar="FILE", help="One label a line; wins over the card's.")
@click.option("--card", type=FILE, metavar="FILE", help="A TOML file with the model's card.")
@click.option("--as", "name", default="", metavar="NAME", help="Its name; a name of the catalogue vouches that it is that model.")
@_config
@_json
def add(file: Path, labels: Path | None, card: Path | None, name: str, config: Path | None, as_json: bool) -> None:
    """Install a .tflite from this machine or a USB stick; it is tried first."""
    from edged.models.install import Wish
    from edged.models.install import add as install_file

    settings = _settings(config)
    store, admission = _store(settings), _admission(settings)
    one = install_file(store, file, Wish(labels, card, name), admission, _check_change(settings))
    accuracy = (
        f"top-1 {one.card.top1:.3f}" if one.card.top1 is not None else "unverified, of unknown accuracy: never chosen by auto"
    )
    if as_json:
        told = {"name": one.card.name, "path": str(one.path), "sha256": one.sha256, "top1": one.card.top1}
        click.echo(json.dumps(told | {"recast": admission.tell_sibling(one)}))
        return
    click.echo(f"installed {one.card.name} ({accuracy})")
    _tell(admission.tell_sibling(one))


@command.command()
@click.argument("names", nargs=-1, metavar="NAME…")
@click.option("--all", "everything", is_flag=True, help="Every model that is published and not here yet.")
@click.option("--mirror", default="", metavar="URL", help="Fetch the archives from there; their hashes must be the same.")
@_config
@_json
def pull(names: tuple[str, ...], everything: bool, mirror: str, config: Path | None, as_json: bool) -> int:
    """Fetch published models; what is not exactly the published file is not installed."""
    from edged.errors import OK, EdgedError
    from edged.models.pull import pull as fetch

    if bool(names) == everything:
        raise click.UsageError("name the models, or say --all")
    settings = _settings(config)
    store, admission, check_change, code = _store(settings), _admission(settings), _check_change(settings), OK
    for card in _wanted(store, names):
        try:
            with _Bar(card.name, hidden=as_json) as bar:
                one = fetch(store, card, mirror, admission, bar, check_change=check_change)
            recast = admission.tell_sibling(one)
            told: dict[str, Any] = {"name": card.name, "installed": True, "path": str(one.path), "recast": recast}
        except EdgedError as error:
            if len(names) == 1:
                raise
            code, told = error.exit_code, {"name": card.name, "installed": False, "error": str(error)}
        said = to_json(told) if as_json else printable_lines(told.get("error") or f"installed {card.name}")
        click.echo(said, err="error" in told and not as_json)
        _tell("" if as_json else told.get("recast", ""))
    return code


@command.command()
@click.argument("names", nargs=-1, metavar="[NAME…]")
@click.option("--again", is_flag=True, help="Also try each one anew, whatever was found before.")
@_config
@_json
def verify(names: tuple[str, ...], again: bool, config: Path | None, as_json: bool) -> int:
    """Check files, hashes, labels and graphs of installed models; exit 1 when one is not what it was, or is refused here."""
    from edged.errors import FAILED, OK
    from edged.models.admission import Admission
    from edged.models.install import verify as check

    settings = _settings(config)
    store, admission = _store(settings), Admission(settings.state_folder)
    wanted = names or sorted(store.held_names() | set(store.damaged()))
    faults = {name: check(store, name, admission, again=again) for name in wanted}
    if as_json:
        click.echo(to_json([{"name": name, "ok": not fault, "error": fault} for name, fault in faults.items()]))
    else:
        for name, fault in faults.items():
            click.echo(printable_lines(fault or f"{name}: ok"), err=bool(fault))
    return FAILED if any(faults.values()) else OK


@command.command()
@click.argument("name")
@_config
@_json
def remove(name: str, config: Path | None, as_json: bool) -> None:
    """Take an installed model away; not while it runs, is wished for, or the config names it."""
    from edged.models.install import remove as take_away
    from edged.rollout.in_use import check_not_needed

    check_not_needed(settings := _settings(config), name)
    take_away(_store(settings, name), name)
    click.echo(json.dumps({"removed": name}) if as_json else f"removed {name}")


def to_rows(store: "Store") -> list[dict[str, Any]]:
    """What `list` and `show` tell of each known model; `measured`: the newest on this board."""
    from edged.models.measurements import Measurements
    from edged.system.board import load_board

    held = {one.card.name: one for one in store.held()}
    board = load_board().key
    # one entry is "sha256 | runtime | board | threads | scene"
    measured = {
        key.split(" | ")[0]: m for key, m in Measurements(store.folder.parent).measurements().items() if f" | {board} | " in key
    }
    rows = []
    for card in store.known():
        here, found = held.get(card.name), measured.get(card.sha256 or "")
        rows.append(
            {
                "name": card.name,
                "family": card.family,
                "px": card.px,
                "dtype": card.dtype,
                "million_macs": card.million_macs,
                "macs_deviation": None if card.macs_deviation is None else round(card.macs_deviation, 3),
                "million_params": card.million_params,
                "top1": card.top1,
                "size_mb": round(card.bytes / 1e6, 2) if card.bytes else None,
                "installed": here is not None and ("bundled" if here.bundled else "yes"),
                "path": str(here.path) if here else None,
                "measured": {"p95_ms": round(found.p95_ms, 1), "threads": found.threads} if found else None,
            }
        )
    return rows


def _to_cell(value: Any) -> str:
    return f"{value['p95_ms']} ms, {counted(value['threads'], 'thread')}" if isinstance(value, dict) else to_cell(value)


def print_table(headings: tuple[str, ...], rows: list[list[str]]) -> None:
    """Lined up for a terminal; tab-separated for a pipe, so that cut and awk can read it."""
    if not sys.stdout.isatty():
        for row in ([heading.replace("\n", " ") for heading in headings], *rows):
            click.echo("\t".join(row))
        return
    for line in to_table(headings, rows, shutil.get_terminal_size().columns):
        click.echo(line)


class _Bar:
    """A progress bar on stderr; it has the four methods that pooch asks for."""

    def __init__(self, name: str, *, hidden: bool) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

        columns = (TextColumn(name), BarColumn(), DownloadColumn(), TransferSpeedColumn())
        console = Console(stderr=True)
        self._progress = Progress(*columns, console=console, transient=True, disable=hidden or not console.is_terminal)
        self._task = self._progress.add_task(name, total=None)
        self.total = 0

    def __enter__(self) -> "_Bar":
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def update(self, more_bytes: int) -> None:
        self._progress.update(self._task, advance=more_bytes, total=self.total or None)

    def reset(self) -> None:
        self._progress.reset(self._task)

    def close(self) -> None:
        self._progress.refresh()


def _wanted(store: "Store", names: tuple[str, ...]) -> "list[Card]":
    from edged.models.catalogue import to_catalogue

    known = to_catalogue(store.known())
    if not names:
        here = {held.card.name for held in store.held()}
        return [card for card in known.cards if card.archive_sha256 and card.name not in here]
    return [known.by_name(name) or store.held_by_name(name).card for name in names]  # the latter says why there is none


def _settings(config: Path | None) -> "Settings":
    from edged.config.reading import load_settings

    return load_settings(config)


def _admission(settings: "Settings") -> "Admission":
    from edged.models.admission import Admission

    return Admission(settings.state_folder, recast=settings.model.recast)


def _check_change(settings: "Settings") -> Any:
    from edged.rollout.in_use import check_not_running

    return partial(check_not_running, settings.state_folder)


def _tell(recast: str) -> None:
    """What came of recasting, below the line about the model."""
    if recast:
        click.echo(f"  {printable_lines(recast)}")


def _store(settings: "Settings", name: str = "") -> "Store":
    """name: of a model that may be in the user's own folder, where `edged teach` keeps it when it may not write the daemon's."""
    from edged.config.reading import choose_state_folder
    from edged.models.store import Store

    store = Store(settings.state_folder)
    if not name or name in store.held_names():
        return store
    own = Store(choose_state_folder(settings.state_folder))
    return own if name in own.held_names() else store
