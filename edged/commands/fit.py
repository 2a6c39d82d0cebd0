"""edged fit: the most accurate model that meets the budget on this board, measured."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from edged.commands import FILE
from edged.system.text import to_json


@click.command()
@click.option("-c", "--config", type=FILE, help="The config file; without it /etc/edged/edged.toml.")
@click.option("--family", metavar="NAME", help="What to choose among; without it model.family.")
@click.option("--latency-ms", type=float, help="Instead of the config's budget.latency_ms; so too the next four.")
@click.option("--memory-mb", type=float)
@click.option("--size-mb", type=float)
@click.option("--fps", type=float)
@click.option("--min-top1", type=float)
@click.option("--again", is_flag=True, help="Measure anew what was measured before.")
@click.option("--nice", type=click.IntRange(0, 19), default=0, help="Lower priority while measuring.")
@click.option("--plot", type=FILE, metavar="FILE", help="Also draw accuracy against latency, as SVG.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object for machines.")
def command(
    config: Path | None, family: str | None, again: bool, nice: int, plot: Path | None, as_json: bool, **limits: float | None
) -> int:
    """Choose by measuring; exit 69 when nothing fits."""
    from edged.config.parts import to_budget
    from edged.config.reading import load_settings
    from edged.errors import OK, UNAVAILABLE
    from edged.models.admission import Admission, Scene
    from edged.models.fit.choice import MOST_MEASURED
    from edged.models.fit.fit import MEASURE_S, Fitting, to_threads
    from edged.models.fit.plot import to_svg
    from edged.models.store import Store
    from edged.system.figures import spare_memory_mb
    from edged.system.files import PUBLIC, write_output
    from edged.system.shapes import WHOLE

    settings = load_settings(config)
    camera, model = settings.camera, settings.model
    given = {name: limit for name, limit in limits.items() if limit is not None}
    check_limits(given)
    as_auto = settings.model_copy(update={"model": model.model_copy(update={"name": "auto"})})
    budget = replace(to_budget(as_auto, spare_memory_mb()), **given)
    scene = Scene.of_camera(camera.kind, camera.width_px, camera.height_px, WHOLE, camera.crop)
    admission = Admission(settings.state_folder, nice=nice, recast=model.recast)
    fitting = Fitting(Store(settings.state_folder), admission, scene, to_threads(model.threads, admission.board.cores))
    if not as_json:
        click.echo(f"at most {MOST_MEASURED} models are measured, about {2 * MEASURE_S:.0f} s each, and none twice", err=True)
    with _Counter(hidden=as_json) as counter:
        fit = fitting.fit(family or model.family, budget, counter.next, again=again)
    told = fit.to_json()
    if plot is not None:
        write_output(plot, to_svg(told).encode(), PUBLIC)
    if as_json:
        click.echo(to_json(told))
    else:
        _print(told)
    return OK if fit.chosen else UNAVAILABLE


def check_limits(given: dict[str, float]) -> None:
    """By the config's own rules for each of them. Raises UsageError."""
    from edged.config.parts import to_budget_fault

    if fault := to_budget_fault(given):
        raise click.UsageError(f"--{fault.keys[-1].replace('_', '-')}: {fault.what}")


def _print(told: dict[str, Any]) -> None:
    from edged.commands.models import print_table
    from edged.system.table import to_cell

    figures = ("top-1\n(card)", "ms\npredicted", "p50 ms\nmeasured", "p95 ms\nmeasured", "memory MB\nmeasured", "file\nMB")
    headings = ("candidate", *figures, "threads", "int8", "fits", "why not")
    keys = ("name", "top1", "predicted_ms", "p50_ms", "p95_ms", "memory_mb", "size_mb", "threads", "recast", "fits", "why_not")
    print_table(
        headings,
        [
            [("yes" if row[key] else "") if key in ("fits", "recast") else to_cell(row[key]) for key in keys]
            for row in told["candidates"]
        ],
    )
    budget = ", ".join(f"{name} {limit:g}" for name, limit in told["budget"].items()) or "no limit"
    click.echo(f"{told['board']}; budget: {budget}; {to_effort(told['measured'], told['seconds'])}", err=True)
    if told["chosen"]:
        click.echo(f"chosen: {told['chosen']}")
    else:
        click.echo(f"nothing fits{'; ' + told['nearest'] if told['nearest'] else ''}", err=True)


def to_effort(measured: int, seconds: float) -> str:
    """What was measured now, and what was not. Pure."""
    from edged.system.text import counted

    if not measured:
        return "all of it was remembered from an earlier run; 'edged fit --again' measures anew"
    return f"{counted(measured, 'model')} measured in {seconds} s; the rest was remembered or ruled out without"


class _Counter:
    """Says on stderr what is being measured."""

    def __init__(self, *, hidden: bool) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        from edged.models.fit.choice import MOST_MEASURED

        console = Console(stderr=True)
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        self._progress = Progress(*columns, console=console, transient=True, disable=hidden or not console.is_terminal)
        self._task = self._progress.add_task("", total=MOST_MEASURED)
        self._begun = 0

    def __enter__(self) -> "_Counter":
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def next(self, name: str) -> None:
        """`name` is measured now; all before it are done."""
        self._progress.update(self._task, description=name, completed=self._begun)
        self._begun += 1
