"""edged check: every fault of a config at once, or what it comes to."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edged.system.text import to_json

if TYPE_CHECKING:
    from edged.config.reading import Settings


@click.command()
@click.option("-c", "--config", type=click.Path(path_type=Path), help="The config file; without it /etc/edged/edged.toml.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object: ok, faults, settings, origins, override.")
def command(config: Path | None, as_json: bool) -> None:
    """Name every fault of a config, or show what each key came to and where it was set."""
    from edged.config.machine import surroundings
    from edged.config.reading import read_settings
    from edged.errors import ConfigError
    from edged.rollout.override import load_override
    from edged.system.text import shown_address

    try:
        reading = read_settings(config)
        if error := reading.to_error(surroundings(reading, camera=True)):
            raise error
    except ConfigError as error:
        if as_json:
            click.echo(to_json({"ok": False, "faults": error.faults}))
        raise
    settings = reading.settings
    override = load_override(settings)
    if as_json:
        values = settings.model_dump(mode="json", by_alias=True)
        values["camera"]["source"] = shown_address(settings.camera.source)
        answer = {"ok": True, "faults": [], "settings": values, "origins": settings.origins}
        wins = override.model_dump(include={"wish", "door"}) if override else None
        click.echo(to_json(answer | {"override": wins}))
        return
    if sys.stdout is not None and sys.stdout.isatty():
        _print_table(settings)
    else:
        for key, value, origin in to_rows(settings):
            click.echo(f"{key} = {value}  # {origin}")
    if override:
        until = "wins over [model] until that changes in the file, or until 'edged use --clear'"
        click.echo(f"override = {to_toml(override.wish)}  # {override.door}; {until}")


def to_rows(settings: "Settings") -> list[tuple[str, str, str]]:
    """(key, value as in TOML, where it came from) of every key; of what is not set, what holds instead."""
    from edged.config.reading import leaves, to_name
    from edged.system.text import shown_address

    shown: dict[tuple[str, ...], object] = {("camera", "source"): shown_address(settings.camera.source)}
    rows = [(to_name(keys), to_toml(shown.get(keys, value)), settings.origins[to_name(keys)]) for keys, value in leaves(settings)]
    instead = to_instead(settings)
    return [(key, *instead.get(key, (value, origin))) for key, value, origin in rows]


def to_instead(settings: "Settings") -> dict[str, tuple[str, str]]:
    """Key → (value, why) of the keys that are not set and that the model or the board answers."""
    from edged.config.parts import to_rules, to_wanted
    from edged.errors import ModelError
    from edged.models.background import would_begin_with

    wanted = to_wanted(settings)
    limits = {"latency_ms": "half a frame's time at camera.fps", "memory_mb": "leaves 100 MB of memory free"}
    found = {
        f"budget.{name}": (to_toml(wanted.budget.to_dict()[name]), f"default for auto: {why}")
        for name, why in limits.items()
        if getattr(settings.budget, name) is None and name in wanted.budget.to_dict()
    }
    try:
        model = would_begin_with(wanted)
    except ModelError:
        return found
    rules = to_rules(settings, model.card, model.labels)
    for name in ("enter", "leave", "margin"):
        if getattr(settings.decision, name) is None:
            told = "the card of " if getattr(model.card, name) is not None else "default, for nothing is said by the card of "
            found[f"decision.{name}"] = (to_toml(getattr(rules, name)), f"{told}{model.card.name}")
    return found


def to_toml(value: object) -> str:
    if value is None:
        return "no limit"
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{to_json(key)} = {to_toml(one)}" for key, one in value.items()) + " }"
    return json.dumps(value, ensure_ascii=False, default=str)


def _print_table(settings: "Settings") -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("key", "value", "from"):
        table.add_column(heading, overflow="fold")
    for key, value, origin in to_rows(settings):
        style = "dim" if origin == "default" else ""
        table.add_row(key, value.replace("[", "\\["), origin, style=style)
    Console().print(table)
