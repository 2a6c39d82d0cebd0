"""edged classify: what the model sees in picture files."""

import contextlib
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edged.commands import FILE
from edged.system.shapes import Region
from edged.system.text import printable, to_json

if TYPE_CHECKING:
    from edged.models.store import Installed

_PATIENCE_S = 2.0  # for a daemon that may hang


def to_region(_ctx: click.Context, _option: click.Parameter, text: str | None) -> Region | None:
    """`0.5,0,0.5,1` by the config's own rules."""
    from edged.config.reading import to_settings
    from edged.config.source import Source

    if text is None:
        return None
    try:
        region = [float(part) for part in text.split(",")]
    except ValueError:
        raise click.BadParameter(f"must be four numbers like 0.5,0,0.5,1, not {text}") from None
    reading = to_settings(Source(values={"camera": {"region": region}}))
    if reading.faults:
        raise click.BadParameter(reading.faults[0].what)
    return reading.settings.camera.region


@click.command()
@click.argument("pictures", nargs=-1, required=True, type=FILE, metavar="PICTURE|FOLDER…")
@click.option("-c", "--config", type=FILE, help="Take model, crop and region from this config.")
@click.option("-m", "--model", metavar="NAME|PATH", help="An installed or bundled model, or a .tflite file.")
@click.option("-l", "--labels", type=FILE, metavar="FILE", help="One label a line; wins over the card's.")
@click.option("--top", type=click.IntRange(1, 10_000), default=3, show_default=True, help="So many labels a picture.")
@click.option("--crop", type=click.Choice(["full", "centre", "letterbox"]), help="Of each picture; without it the config's (full).")
@click.option("--region", callback=to_region, metavar="X,Y,W,H", help="The part that matters; without it the config's (all).")
@click.option("--json", "as_json", is_flag=True, help="One JSON line for each picture.")
@click.pass_context
def command(
    ctx: click.Context,
    pictures: tuple[Path, ...],
    config: Path | None,
    model: str | None,
    labels: Path | None,
    top: int,
    crop: str | None,
    region: Region | None,
    as_json: bool,
) -> None:
    """Say what the model sees in each picture; exit 1 when one could not be read.

    The first line names the model: the one that was asked for, else the one that the daemon runs, or would run.
    """
    from edged.config.reading import load_settings
    from edged.models.classify import Ask, find_pictures, look_at

    settings = load_settings(config)
    # labels of the config belong to the model of the config
    labels_file = str(labels or ("" if model else settings.model.labels))
    installed, why = _find_model(config, model, labels_file)
    ask = Ask(
        model=installed.path,
        sha256=installed.sha256,
        labels=len(installed.labels),
        output=installed.card.output,
        region=region or settings.camera.region,
        crop=crop or settings.camera.crop,
        top=top,
    )
    if not as_json:
        click.echo(printable(f"model {installed.card.name}: {why}"))
    failed = 0
    for look in look_at(find_pictures(pictures), ask):
        name = str(look.picture)
        best = [{"label": installed.labels[index], "index": index, "score": score} for index, score in look.scores]
        failed += bool(look.error)
        line: dict[str, Any] = {"picture": name, "model": installed.card.name}
        if look.error:
            line["error"] = look.error
        else:
            line |= {"top": best, "timing_ms": look.timing_ms}
        said = look.error or " · ".join(f"{one['label']} {one['score']:.2f}" for one in best)
        click.echo(to_json(line) if as_json else printable(f"{name}: {said}"))
    ctx.exit(1 if failed else 0)


def _find_model(config: Path | None, named: str | None, labels_file: str) -> "tuple[Installed, str]":
    """The model, and why this one. `auto` is what a daemon of this config runs; where none runs, what it would begin with."""
    from edged.config.parts import to_wanted
    from edged.config.reading import choose_state_folder, find_daemon_folder, load_settings
    from edged.errors import EdgedError, ModelError
    from edged.models.background import would_begin_with
    from edged.models.store import Store
    from edged.process.control import ask

    settings = load_settings(config)
    folder = choose_state_folder(settings.state_folder)
    store, name = Store(folder), named or settings.model.name
    if name != "auto":
        return store.find(name, labels_file, settings.model.family), "as asked for" if named else "as the config says"
    with contextlib.suppress(EdgedError):
        running = ask(find_daemon_folder(config), {"verb": "status"}, {"model": str}, silence_s=_PATIENCE_S, longest_s=_PATIENCE_S)
        with contextlib.suppress(ModelError):  # a file that only the daemon knows
            return store.find(str(running["model"]), labels_file), "as the daemon runs"
    as_auto = settings.model_copy(update={"state_folder": folder, "model": settings.model.model_copy(update={"name": "auto"})})
    installed = would_begin_with(replace(to_wanted(as_auto), labels=labels_file))
    is_smallest = installed.card.name == store.smallest(settings.model.family).card.name
    unknown = "auto: the smallest, for nothing was measured here yet (edged fit), or nothing larger fits"
    return installed, unknown if is_smallest else "auto: the most accurate that was measured to fit here"
