"""edged bench: what things cost on this board."""

import re
from pathlib import Path

import click

from edged.commands import FILE
from edged.system.text import to_json


def to_size(_ctx: click.Context, _option: click.Parameter, text: str) -> tuple[int, int]:
    """`640x480`, even for the sake of frames with halved colour."""
    found = re.fullmatch(r"(\d{1,5})[x×](\d{1,5})", text)
    if not found:
        raise click.BadParameter(f"must be WIDTHxHEIGHT like 640x480, not {text}")
    width, height = int(found[1]), int(found[2])
    if not (16 <= width <= 8192 and 16 <= height <= 8192) or width % 2 or height % 2:
        raise click.BadParameter("must be even, and 16 to 8192 px a side")
    return width, height


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def command() -> None:
    """Measure what things cost on this board."""


@command.command()
@click.option("-c", "--config", type=FILE, help="Take model, crop and region from this config.")
@click.option("-m", "--model", metavar="NAME|PATH", help="An installed or bundled model, or a .tflite file.")
@click.option("-l", "--labels", type=FILE, metavar="FILE", help="One label a line; wins over the card's.")
@click.option("--size", callback=to_size, default="640x480", show_default=True, metavar="WxH", help="Of the camera's frame.")
@click.option(
    "--format", "layout", type=click.Choice(["bgr", "nv12", "yuv420", "mjpeg"]), default="bgr", show_default=True,
    help="Of the camera's frame.",
)  # fmt: skip
@click.option("--threads", type=click.IntRange(1, 64), help="Of the runtime; without it what the daemon would use.")
@click.option(
    "--fps", type=click.FloatRange(0, 240), default=30.0, show_default=True, help="Of the camera; 0 = one frame after the other."
)
@click.option("--seconds", type=click.FloatRange(1, 600), default=8.0, show_default=True, help="How long frames are measured.")
@click.option("--no-recast", is_flag=True, help="The file as it is, and not its int8 sibling.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object for machines.")
def frame(
    config: Path | None,
    model: str | None,
    labels: Path | None,
    size: tuple[int, int],
    layout: str,
    threads: int | None,
    fps: float,
    seconds: float,
    no_recast: bool,
    as_json: bool,
) -> None:
    """What a frame costs from the camera's memory to the sent result, beside the network alone; what the daemon would run."""
    from edged.config.parts import to_wanted
    from edged.config.reading import choose_state_folder, load_settings
    from edged.errors import ModelError
    from edged.models.admission import Admission
    from edged.models.background import would_begin_with
    from edged.models.bench import FrameRun, bench_frame
    from edged.models.store import Store

    settings = load_settings(config)
    folder = choose_state_folder(settings.state_folder)
    wanted = to_wanted(settings.model_copy(update={"state_folder": folder}))
    store, admission = Store(folder), Admission(folder, recast=settings.model.recast and not no_recast)
    installed = store.find(model, str(labels or "")) if model else would_begin_with(wanted)
    verdict = admission.admit(installed)
    if not verdict.admitted:
        raise ModelError(f"model {installed.card.name} is refused: {verdict.reason}")
    admission.make_sibling(installed)
    running = admission.to_run(installed, wanted.scene, wanted.threads)
    measured = admission.recall(running.sha256, wanted.scene, wanted.threads)
    count = threads or (measured.threads if measured else wanted.threads[-1])
    camera = settings.camera
    told = bench_frame(running, FrameRun(*size, layout, count, fps, seconds, camera.region, camera.crop))
    if as_json:
        click.echo(to_json(told))
        return
    for key, value in told.items():
        click.echo(f"{key} = {to_json(value)}")
