"""edged check: every fault of a config at once, or what it comes to."""

import contextlib
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edged.commands import FILE
from edged.system.text import to_json

if TYPE_CHECKING:
    from edged.config.faults import Fault
    from edged.config.reading import Reading, Settings
    from edged.decision import Rules
    from edged.models.card import Card


@click.command()
@click.option("-c", "--config", type=FILE, help="The config file; without it /etc/edged/edged.toml.")
@click.option("--changed", is_flag=True, help="Only the keys that differ from the defaults; with --json too.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object: ok, faults, notes, settings, origins, override.")
def command(config: Path | None, changed: bool, as_json: bool) -> None:
    """Name every fault of a config, or show what each key came to and where it was set. The last line is the verdict."""
    from edged.config.machine import surroundings
    from edged.config.reading import read_settings, to_hint
    from edged.errors import ConfigError
    from edged.rollout.override import load_override, load_tuned
    from edged.system.text import shown_address

    try:
        reading = read_settings(config)
        faults, notes = to_camera_faults(reading)
        if error := reading.to_error([*surroundings(reading, camera=True), *faults]):
            raise error
    except ConfigError as error:
        if as_json:
            click.echo(to_json({"ok": False, "faults": error.faults}))
        raise
    settings = reading.settings
    models = to_models(settings)
    notes += to_raised(models)
    override, tuned = load_override(settings), load_tuned(settings).values
    if hint := to_hint(reading.source):
        click.echo(hint, err=True)
    differing = to_changed(reading)
    if as_json:
        values = settings.model_dump(mode="json", by_alias=True)
        values["camera"]["source"] = shown_address(settings.camera.source)
        origins = settings.origins
        if changed:
            values, origins = only(values, differing), {key: where for key, where in origins.items() if key in differing}
        answer = {"ok": True, "faults": [], "notes": notes, "settings": values, "origins": origins}
        wins = override.model_dump(include={"wish", "door"}) if override else None
        click.echo(to_json(answer | {"override": wins, "tuned": tuned}))
        return
    rows = [row for row in to_rows(settings, models) if not changed or row[0] in differing]
    if is_terminal := sys.stdout is not None and sys.stdout.isatty():
        _print_table(rows)
    else:
        for key, value, origin in rows:
            click.echo(f"{key} = {value}  # {origin}")
    if override:
        until = "wins over [model] until that changes in the file, or until 'edged use --clear'"
        click.echo(f"override = {to_toml(override.wish)}  # {override.door}; {until}")
    for key, set_to in tuned.items():
        click.echo(f"{key} = {to_toml(set_to)}  # the page; wins until that key changes in the file, or until 'edged use --clear'")
    for line in (*notes, to_verdict(reading, len(differing))):
        click.echo(line if is_terminal else f"# {line}")


def to_camera_faults(reading: "Reading") -> "tuple[list[Fault], list[str]]":
    """What is wrong with a picamera2 that is not there: a fault where the file asks for it, a note where the default does."""
    from edged.config.faults import Fault
    from edged.vision.cameras.attached import why_no_picamera2

    settings = reading.settings
    if settings.camera.kind != "picamera2" or any(fault.keys[:1] == ("camera",) for fault in reading.faults):
        return [], []
    if not (why := why_no_picamera2()):
        return [], []
    named = next((key for key in ("kind", "source") if settings.origins[f"camera.{key}"] != "default"), None)
    if named is not None:
        return [Fault(("camera", named), why)], []
    return [], [f"camera: {why}; edged would run, and say that its camera is lost"]


def to_changed(reading: "Reading") -> set[str]:
    """The keys that stand in the file with another value than the default's."""
    from edged.config.reading import leaves, to_name, to_settings
    from edged.config.source import Source

    default = {to_name(keys): value for keys, value in leaves(to_settings(Source()).settings)}
    mine = {to_name(keys): value for keys, value in leaves(reading.settings)}
    return {key for key in to_set_keys(reading) if key not in default or default[key] != mine[key]}


def only(values: dict[str, Any], keys: set[str], above: tuple[str, ...] = ()) -> dict[str, Any]:
    """Of these nested tables what stands at the keys. Pure."""
    from edged.config.reading import to_name

    kept: dict[str, Any] = {}
    for name, value in values.items():
        if to_name((*above, name)) in keys:
            kept[name] = value
        elif isinstance(value, dict) and (inner := only(value, keys, (*above, name))):
            kept[name] = inner
    return kept


def to_set_keys(reading: "Reading") -> set[str]:
    """The keys that stand in the file; a profile's own, and not those that it takes from outside of it."""
    from edged.config.complete import get
    from edged.config.reading import leaves, to_name

    origins, values = reading.settings.origins, reading.source.values
    return {
        to_name(keys)
        for keys, _ in leaves(reading.settings)
        if not origins[to_name(keys)].startswith("default") and (keys[0] != "profile" or get(values, keys) is not None)
    }


def to_verdict(reading: "Reading", changed: int) -> str:
    """The file's name and what it comes to, in a line."""
    from edged.config.reading import SYSTEM_FILE
    from edged.system.text import counted

    number = len(to_set_keys(reading))
    if not reading.source.file:
        return f"no config file: {SYSTEM_FILE} is not there, and -c names none; these are the defaults"
    return f"{reading.source.file}: no fault; {counted(number, 'key')} set, {changed} other than the default"


def to_rows(settings: "Settings", models: "list[ModelOf]") -> list[tuple[str, str, str]]:
    """(key, value as in TOML, where it came from) of every key; of what is not set, what holds instead."""
    from edged.config.reading import leaves, to_name
    from edged.system.text import shown_address

    shown: dict[tuple[str, ...], object] = {("camera", "source"): shown_address(settings.camera.source)}
    rows = [
        (to_name(keys), to_toml(shown.get(keys, value)), settings.origins[to_name(keys)])
        for keys, value in leaves(settings)
        if keys[0] != "web"
    ]
    instead = to_instead(settings, models)
    return [(key, *instead.get(key, (value, origin))) for key, value, origin in rows]


def to_instead(settings: "Settings", models: "list[ModelOf]") -> dict[str, tuple[str, str]]:
    """Key → (value, why) of the keys that are not set and that the model or the board answers."""
    from edged.config.parts import to_show_s, to_wanted

    wanted = to_wanted(settings)
    limits = {"latency_ms": "half a frame's time at camera.fps", "memory_mb": "leaves 100 MB of memory free"}
    found = {
        f"budget.{name}": (to_toml(wanted.budget.to_dict()[name]), f"default for auto: {why}")
        for name, why in limits.items()
        if getattr(settings.budget, name) is None and name in wanted.budget.to_dict()
    }
    if settings.camera.show_s is None:
        found["camera.show_s"] = (to_toml(to_show_s(settings)), "default: so long that k of n can agree")
    for one in models:
        decision, rules = one.settings.decision, one.rules
        for name in ("enter", "leave", "margin"):
            if getattr(decision, name) is None:
                found[f"{one.above}decision.{name}"] = (to_toml(getattr(rules, name)), _to_origin(name, one))
    return found


@dataclass(frozen=True, slots=True)
class ModelOf:
    """What the file, or a profile of it, would begin with. above: "" or "profile.NAME."."""

    above: str
    settings: "Settings"
    card: "Card"
    rules: "Rules"

    def own(self, name: str) -> float:
        """enter, leave or margin, as they are where the file says nothing of any."""
        from edged.decision import Rules

        said: float | None = getattr(self.card, name)
        return getattr(Rules(), name) if said is None else said


def to_models(settings: "Settings") -> list[ModelOf]:
    """Of the file and of each profile; without those whose model can't be told yet."""
    from edged.config.parts import to_rules, to_wanted
    from edged.config.profile import MARK, with_wish
    from edged.config.reading import to_name
    from edged.errors import ModelError
    from edged.models.background import would_begin_with

    found = list[ModelOf]()
    for name in (None, *settings.profile):
        own = settings if name is None else with_wish(settings, f"{MARK}{name}", None)
        with contextlib.suppress(ModelError):
            model = would_begin_with(to_wanted(own))
            above = "" if name is None else f"{to_name(('profile', name))}."
            found.append(ModelOf(above, own, model.card, to_rules(own, model.card, model.labels)))
    return found


def _to_origin(name: str, one: ModelOf) -> str:
    said = getattr(one.card, name)
    told = "the card of " if said is not None else "default, for nothing is said by the card of "
    if getattr(one.rules, name) == (own := one.own(name)):
        return f"{told}{one.card.name}"
    moved, other = ("raised", "leave") if name == "enter" else ("lowered", "enter")
    whose = "the default" if said is None else f"the card of {one.card.name}"
    return f"{moved} to {one.above}decision.{other}; {whose} says {own:g}"


def to_raised(models: "list[ModelOf]") -> list[str]:
    """A note for each `leave` that raises the `enter` of a model: no fault, for another model's may be higher."""
    found = dict[tuple[str, float], str]()
    for one in models:
        leave, own = one.settings.decision.leave, one.own("enter")
        if leave is not None and one.settings.decision.enter is None and leave > own:
            found.setdefault(
                (one.card.name, leave),
                f"{one.above}decision.leave: {leave:g} is above the enter = {own:g} of {one.card.name}, which is raised to it: "
                f"lower leave, or set {one.above}decision.enter",
            )
    return list(found.values())


def to_toml(value: object) -> str:
    if value is None:
        return "no limit"
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{to_json(key)} = {to_toml(one)}" for key, one in value.items()) + " }"
    return json.dumps(value, ensure_ascii=False, default=str)


def _print_table(rows: list[tuple[str, str, str]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("key", "value", "from"):
        table.add_column(heading, overflow="fold")
    for key, value, origin in rows:
        style = "dim" if origin == "default" else ""
        table.add_row(key, value.replace("[", "\\["), origin, style=style)
    Console().print(table)
