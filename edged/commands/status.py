"""edged status: how the running daemon is, in a few lines."""

from datetime import datetime
from pathlib import Path
from typing import Any

import click

from edged.commands import FILE
from edged.commands.watch import MEANINGS
from edged.system.text import to_duration, to_json

_ANOTHER = "what answers is no edged of this version: edged status --json shows what it says"


@click.command()
@click.option("-c", "--config", type=FILE, help="The daemon's config, for its state folder.")
@click.option("--json", "as_json", is_flag=True, help="All of it as one JSON object.")
@click.option("--openmetrics", is_flag=True, help="As OpenMetrics text, for a scraper.")
@click.option("--prometheus", is_flag=True, help="As Prometheus' older text format, for node_exporter's textfile collector.")
@click.option("--all", "everything", is_flag=True, help="With these two: of every edged on this board that answers.")
@click.option("-o", "--output", type=FILE, metavar="FILE", help="With these two: into this file, whole or not at all.")
def command(config: Path | None, as_json: bool, openmetrics: bool, prometheus: bool, everything: bool, output: Path | None) -> None:
    """Show what the running daemon looks with, sees with and waits for."""
    from edged.config.instance import list_instances
    from edged.errors import UnavailableError

    if openmetrics or prometheus:
        if as_json or (openmetrics and prometheus):
            raise click.UsageError("--json, --openmetrics and --prometheus: choose one")
        _tell_metrics(_ask_all(config, everything=everything), output, is_open=openmetrics)
        return
    if everything or output is not None:
        raise click.UsageError("--all and -o are for --openmetrics and --prometheus")
    others = [] if config is not None else list_instances()
    try:
        answer = _ask(config)
    except UnavailableError as error:
        if not others:
            raise
        raise UnavailableError(f"{error}; of the instances: {to_how(others)}") from None
    if as_json:
        click.echo(to_json(answer))
        return
    try:
        rows = to_rows(answer)
    except (LookupError, TypeError, ValueError, AttributeError):
        raise UnavailableError(_ANOTHER) from None
    if others:
        rows.append(("instances", to_how(others)))
    for name, value in rows:
        click.echo(f"{name:<9} {value}")


def _ask(config: Path | None) -> dict[str, Any]:
    """Raises UnavailableError where no daemon answers."""
    from edged.config.reading import find_daemon_folder
    from edged.process.control import ask
    from edged.system.text import printable_all

    answer: dict[str, Any] = printable_all(ask(find_daemon_folder(config), {"verb": "status"}, {"model": str, "health": dict}))
    answer.pop("ok")
    return answer


def _ask_all(config: Path | None, *, everything: bool) -> list[dict[str, Any]]:
    """Raises UnavailableError where none answers, and without `everything` where this one does not."""
    from edged.config.instance import list_instances, to_config
    from edged.errors import UnavailableError

    if not everything:
        return [_ask(config)]
    answers, first = [], None
    for one in (config, *map(to_config, list_instances())):
        try:
            answers.append(_ask(one))
        except UnavailableError as error:
            first = first or error
    if not answers and first is not None:
        raise first
    return answers


def _tell_metrics(answers: list[dict[str, Any]], output: Path | None, *, is_open: bool) -> None:
    from edged.errors import UnavailableError
    from edged.page.openmetrics import to_openmetrics, to_text_format
    from edged.system.files import PUBLIC, write_output

    try:
        text = (to_openmetrics if is_open else to_text_format)(*answers)
    except (LookupError, TypeError, ValueError, AttributeError):
        raise UnavailableError(_ANOTHER) from None
    if output is None:
        click.echo(text, nl=False)
        return
    write_output(output, text.encode(), PUBLIC)


def to_how(instances: list[str]) -> str:
    """Their names, and how one of them is asked."""
    return f"{', '.join(instances)} (edged status -c /etc/edged/{instances[0]}.toml)"


def to_rows(answer: dict[str, Any]) -> list[tuple[str, str]]:
    """(what, how it is), for people. Raises LookupError and the like for what is no daemon's answer."""
    health = answer["health"]
    frames, events = health["frames"], health["events"]
    latency, heat_c, age_s = health["latency_p95_ms"], health["temperature_c"], answer["result_age_s"]
    dropped = sum(events["dropped"].values())
    override = answer["override"]
    last = f", last result {to_age(age_s)} ago" if age_s is not None else ", no result yet"
    rows = [
        ("device", f"{answer['device']} (edged {answer['version']}, up {to_duration(health['uptime_s'])})"),
        ("label", to_label(answer)),
        ("model", f"{answer['model']} ({answer['chosen']})"),
        *([("on trial", f"{trial}, until frames have proven it")] if (trial := answer.get("trial")) else []),
        ("wish", answer["wish"]),
        ("decides", "enter {enter:g}, leave {leave:g}, margin {margin:g}".format_map(answer["decision"])),
        ("camera", f"{answer['camera']}{last}"),
        ("speed", f"{health['fps']:g} fps" + (f", p95 {latency:g} ms" if latency is not None else "")),
        ("frames", ", ".join(f"{count:,} {name}" for name, count in frames.items() if count or name == "captured")),
        (
            "events",
            f"{events['delivered']:,} delivered, {events['queued']:,} waiting" + (f", {dropped:,} dropped" if dropped else ""),
        ),
        ("broker", f"{answer['broker']}, {'connected' if answer['connected'] else 'away'}"),
        ("board", answer["board"] + (f", {heat_c:.0f} °C" if heat_c is not None else "")),
        ("config", answer["config"] or "defaults"),
    ]
    if override:
        rows.append(("override", f"{override['wish']} (by {override['door']}; 'edged use --clear' ends it)"))
    if tuned := answer.get("tuned"):
        rows.append(
            ("set", f"{', '.join(f'{key} = {value}' for key, value in tuned.items())} (by the page; 'edged use --clear' ends it)")
        )
    return rows + [("degraded", sentence.splitlines()[0]) for sentence in health["degraded"]]


def to_label(answer: dict[str, Any]) -> str:
    """The label, how surely, and since when by this machine's clock."""
    label = str(answer["label"])
    said = label + MEANINGS.get(label, f" {answer['score']:.2f}")
    if answer["label_since"] is None:
        return said
    since = datetime.fromisoformat(answer["label_since"]).astimezone()
    return f"{said}, since {since:%H:%M:%S} ({to_duration(answer['label_s'])})"


def to_age(seconds: float) -> str:
    """Below ten seconds with a tenth: whether it is fresh is what one wants to see."""
    return f"{seconds:.1f} s" if seconds < 10 else to_duration(seconds)
