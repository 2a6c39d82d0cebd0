"""edged teach: a model for labels of your own, from a few pictures of each, on this machine."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edged.commands import FILE
from edged.system.text import counted, printable, printable_all, to_json

if TYPE_CHECKING:
    from edged.config.reading import Settings
    from edged.models.store import Installed, Store
    from edged.models.teach.teach import Picture, Taught

_config = click.option("-c", "--config", type=FILE, help="The config file; without it /etc/edged/edged.toml.")
_json = click.option("--json", "as_json", is_flag=True, help="JSON for machines.")
_MODEL = "NAME"


class _Teach(click.Group):
    """`mark`, `marks` and `forget` are commands; every other word is the name of the model that is taught."""

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in self.commands:
            return _MODEL, self.commands[_MODEL], args
        return super().resolve_command(ctx, args)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        # options before the name are the model's, too
        if args and args[0].startswith("-") and args[0] not in ("-h", "--help"):
            args = [_MODEL, *args]
        return super().parse_args(ctx, args)


@click.group(cls=_Teach, context_settings={"help_option_names": ["-h", "--help"]})
def command() -> None:
    """Teach your own labels: NAME --label open=FOLDER --label shut=FOLDER

    `edged teach NAME --help` lists the options. 20 to 50 pictures of each label are good, from different hours and places.
    """


@command.command(_MODEL)
@click.argument("name", metavar="", default="")
@click.option("--label", "shown", multiple=True, metavar="LABEL=FOLDER", help="Pictures of one label; once for each label.")
@click.option("--marked", is_flag=True, help="Also what was kept with `edged teach mark`.")
@click.option("--other", "others", multiple=True, type=FILE, metavar="FOLDER", help="Pictures of none of the labels.")
@click.option("--base", metavar="MODEL", help="What it is built upon; without it the best bundled one that meets the budget.")
@click.option("--again", is_flag=True, help="Replace the model of that name that was taught before.")
@_config
@_json
def make(
    name: str,
    shown: tuple[str, ...],
    marked: bool,
    others: tuple[Path, ...],
    base: str | None,
    again: bool,
    config: Path | None,
    as_json: bool,
) -> None:
    """Teach a model: NAME is what it will be called. It is tried and installed; `edged use NAME` runs it."""
    from edged.config.reading import choose_state_folder, load_settings
    from edged.models.admission import Admission
    from edged.models.install import sweep
    from edged.models.store import Store
    from edged.models.teach.finish import check_name_is_free, keep
    from edged.models.teach.marks import Marks
    from edged.models.teach.teach import OTHER, Picture, Plan, check_plan, teach
    from edged.rollout.in_use import check_not_running

    if not name:
        raise click.UsageError("the model needs a name: edged teach NAME --label open=FOLDER --label shut=FOLDER")
    settings = load_settings(config)
    folder = choose_state_folder(settings.state_folder)
    store, crop = Store(folder), settings.camera.crop
    pictures = [picture for one in shown for picture in _of_label(one, crop)]
    pictures += [Picture(path, OTHER, crop) for path in _in_folders(others)]
    if marked:
        pictures += [Picture(path, label) for label, path in Marks(folder).pictures()]
    pictures = list(dict.fromkeys(pictures))  # a folder that was given twice has no more pictures
    labels = tuple(dict.fromkeys([_to_label(one) for one in shown] + [one.label for one in pictures if one.label != OTHER]))
    with _TeachBar(hidden=as_json) as bar:
        installed = store.find_base(base) if base else _best_base(settings, store, folder, bar)
        sweep(store)
        plan = Plan(name, installed, labels, tuple(pictures))
        check_plan(plan)
        _tell_ignored(labels, settings)
        check_name_is_free(store, plan, again=again)
        if again:
            check_not_running(folder, name)
        taught = teach(plan, bar.show)
        bar.show("trying the model", 0, 1)
        kept, report = keep(
            store, taught, Admission(folder), again=again, check_change=lambda name: check_not_running(folder, name)
        )
    _tell(taught, kept, report, settings.state_folder, as_json=as_json)


@command.command()
@click.argument("label")
@_config
@_json
def mark(label: str, config: Path | None, as_json: bool) -> None:
    """Keep what the running camera sees now, for teaching."""
    from edged.config.reading import find_daemon_folder
    from edged.process.control import ask

    answer = printable_all(ask(find_daemon_folder(config), {"verb": "mark", "label": label}, {"label": str, "count": int}))
    click.echo(
        to_json({key: answer[key] for key in ("label", "count")})
        if as_json
        else printable(f'kept: "{answer["label"]}" has {counted(answer["count"], "mark")}')
    )


@command.command()
@_config
@_json
def marks(config: Path | None, as_json: bool) -> None:
    """List what is kept for teaching."""
    kept = _ask_marks(config, {"verb": "marks"})["marks"]
    types = {"label": str, "count": int, "bytes": int}  # what answers may be anything
    rows = [row for row in kept if isinstance(row, dict) and all(isinstance(row.get(key), one) for key, one in types.items())]
    if as_json:
        click.echo(to_json(rows))
        return
    for row in rows:
        click.echo(printable(f"{row['label']}: {counted(row['count'], 'picture')}, {row['bytes'] / 1e6:.1f} MB"))
    if not rows:
        click.echo("nothing is kept: edged teach mark LABEL keeps what the camera sees now", err=True)


@command.command()
@click.argument("label", required=False)
@_config
def forget(label: str | None, config: Path | None) -> None:
    """Erase the marks of a label, or all of them."""
    erased = _ask_marks(config, {"verb": "forget", "label": label})["erased"]
    click.echo(f"erased {counted(erased, 'picture')}")


def _ask_marks(config: Path | None, request: dict[str, Any]) -> dict[str, Any]:
    """The daemon's answer; where none runs, the marks are looked after here."""
    from edged.config.reading import find_daemon_folder
    from edged.errors import UnavailableError
    from edged.models.teach.marks import Marks
    from edged.process.control import SOCKET, ask

    folder = find_daemon_folder(config)
    try:
        return ask(folder, request, {"marks": list} if request["verb"] == "marks" else {"erased": int})
    except UnavailableError:
        if (folder / SOCKET).exists():
            raise
    kept = Marks(folder)
    if request["verb"] == "forget":
        return {"erased": kept.forget(request["label"])}
    return {"marks": [{"label": one.label, "count": one.count, "bytes": one.bytes} for one in kept.all()]}


def _tell_ignored(labels: tuple[str, ...], settings: "Settings") -> None:
    if ignored := [label for label in labels if label in settings.decision.ignore]:
        names = ", ".join(ignored)
        click.echo(printable(f"decision.ignore names {names}: edged will tell it as none, as an empty place"), err=True)


def _to_label(shown: str) -> str:
    label, mark_, folder = shown.partition("=")
    if not mark_ or not folder:
        raise click.UsageError(f"--label takes LABEL=FOLDER, as --label open=photos/open, not {printable(shown)}")
    return label


def _of_label(shown: str, crop: str) -> "list[Picture]":
    from edged.models.teach.teach import Picture

    label = _to_label(shown)
    return [Picture(path, label, crop) for path in _in_folders([Path(shown.partition("=")[2])])]  # type: ignore[arg-type]


def _in_folders(folders: "list[Path] | tuple[Path, ...]") -> list[Path]:
    from edged.errors import ModelError
    from edged.models.classify import find_pictures

    found = []
    for folder in folders:
        if not folder.is_dir():
            raise ModelError(f"{folder}: there is no such folder of pictures")
        inside = [path for path in find_pictures([folder]) if path != folder]
        if not inside:
            raise ModelError(f"{folder}: no pictures in it (JPEG, PNG, BMP, WebP), or it may not be read")
        found += inside
    return found


def _best_base(settings: "Settings", store: "Store", folder: Path, bar: "_TeachBar") -> "Installed":
    """The most accurate of the bundled family that meets the budget on this board, measured where it was not yet."""
    from edged.config.parts import to_budget
    from edged.models.admission import Admission, Scene
    from edged.models.fit.choice import MOST_MEASURED
    from edged.models.fit.fit import Fitting, to_threads
    from edged.system.figures import spare_memory_mb

    camera, model = settings.camera, settings.model
    as_auto = settings.model_copy(update={"model": model.model_copy(update={"name": "auto"})})
    admission = Admission(folder)
    scene = Scene.of_camera(camera.kind, camera.width_px, camera.height_px, camera.region, camera.crop)
    fitting = Fitting(store, admission, scene, to_threads(model.threads, admission.board.cores))
    measured = iter(range(MOST_MEASURED + 1))
    fit = fitting.fit("home", to_budget(as_auto, spare_memory_mb()), lambda name: bar.show(f"measuring {name}", next(measured), 4))
    return fit.chosen or store.open(store.smallest("home"))


def _tell(taught: "Taught", kept: "Installed", report: Path, daemons: Path, *, as_json: bool) -> None:
    """daemons: the state folder of the daemon, which only knows the models that are there."""
    from edged.models.teach.report import to_rows

    is_own = not kept.path.is_relative_to(daemons)
    if is_own:
        where = f"{daemons} may not be written, so the model is kept in {kept.path.parent}"
        click.echo(printable(f"{where}: no running edged looks there; teach with sudo for one that does"), err=True)
    for one in taught.lost:
        click.echo(printable(f"left out: {one.picture.path} {one.why}"), err=True)
    if as_json:
        card = kept.card.model_dump(mode="json", exclude_none=True)
        keys = ("name", "enter", "leave", "margin", "based_on", "taught")
        click.echo(to_json({key: card[key] for key in keys} | {"path": str(kept.path), "report": str(report)}))
        return
    click.echo(f"{kept.card.name}, taught to {taught.plan.base.card.name}; right on pictures that were held out:")
    for row in to_rows(taught):
        click.echo(printable(f"  {row.label}: {row.share:.2f} ({row.low:.2f} to {row.high:.2f}), {row.of}"))
    click.echo(f"{taught.named:.0%} of them get their name; of other things {taught.others_named:.0%} get one")
    click.echo(printable(f"report: {report}"))
    if not is_own:
        click.echo(printable(f"run it: edged use {kept.card.name}"))


class _TeachBar:
    """A progress bar on stderr."""

    def __init__(self, *, hidden: bool) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        console = Console(stderr=True)
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        self._progress = Progress(*columns, console=console, transient=True, disable=hidden or not console.is_terminal)
        self._task = self._progress.add_task("", total=None)

    def __enter__(self) -> "_TeachBar":
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def show(self, doing: str, done: int, total: int) -> None:
        self._progress.update(self._task, description=doing, completed=done, total=total)
