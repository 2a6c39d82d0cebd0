"""edged classify: what the model sees in picture files."""

from pathlib import Path
from typing import Any

import click

from edged.system.shapes import Region
from edged.system.text import printable, to_json


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
@click.argument("pictures", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="PICTURE|FOLDER…")
@click.option("-c", "--config", type=click.Path(path_type=Path), help="Take model, crop and region from this config.")
@click.option("-m", "--model", metavar="NAME|PATH", help="An installed or bundled model, or a .tflite file.")
@click.option("-l", "--labels", type=click.Path(path_type=Path), metavar="FILE", help="One label a line; wins over the card's.")
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
    """Say what the model sees in each picture; exit 1 when one could not be read."""
    from edged.config.reading import choose_state_folder, load_settings
    from edged.models.classify import Ask, find_pictures, look_at
    from edged.models.store import Store

    settings = load_settings(config)
    # labels of the config belong to the model of the config
    labels_file = str(labels or ("" if model else settings.model.labels))
    store = Store(choose_state_folder(settings.state_folder))
    installed = store.find(model or settings.model.name, labels_file, settings.model.family)
    ask = Ask(
        model=installed.path,
        sha256=installed.sha256,
        labels=len(installed.labels),
        output=installed.card.output,
        region=region or settings.camera.region,
        crop=crop or settings.camera.crop,
        top=top,
    )
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
