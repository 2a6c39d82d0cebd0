"""edged watch: what a subscriber receives, line by line."""

import json
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edged.commands import FILE
from edged.system.text import printable, shown_host, to_host, to_json

if TYPE_CHECKING:
    from edged.delivery.broker.access import Access

_LONGEST_S = 10_000_000  # a third of a year
# of the two labels that no model has
MEANINGS = {"none": " (nothing but background)", "unknown": " (nothing for certain)"}


def to_broker(_ctx: click.Context, _option: click.Parameter, text: str) -> str:
    is_none = not text or not text.isprintable() or " " in text or "/" in text
    if is_none and "@" not in text:
        raise click.BadParameter(f'must be a name or an address, not "{text}"')
    try:
        return to_host(text, "-p", "the user goes into -u, the password into the file of --password-file")
    except ValueError as error:
        raise click.BadParameter(f'{error}, not "{shown_host(text)}"') from None


def to_filter(_ctx: click.Context, _option: click.Parameter, text: str | None) -> str | None:
    from edged.delivery.broker.subscriber import is_filter

    if text and not is_filter(text):
        raise click.BadParameter(f'"{text}" is no topic to subscribe to: + and # stand alone between slashes, # at the end only')
    return text


def to_seconds(_ctx: click.Context, _option: click.Parameter, seconds: float) -> float:
    if not 0 <= seconds <= _LONGEST_S:  # not for what is no number, either
        raise click.BadParameter(f"must be 0 to {_LONGEST_S}, not {seconds:g}")
    return seconds


@click.command(context_settings={"help_option_names": ["--help"]})
@click.option("-h", "--host", default="localhost", show_default=True, callback=to_broker, help="The broker.")
@click.option("-p", "--port", default=1883, show_default=True, type=click.IntRange(1, 65535))
@click.option("-c", "--config", type=FILE, help="Broker, password and device of this config.")
@click.option("-t", "--topic", callback=to_filter, help="What to subscribe to; without it edged/#, or all of the config's device.")
@click.option("-u", "--user", default="", help="User name; the password is read from --password-file.")
@click.option("--password-file", type=click.Path(exists=True, dir_okay=False))
@click.option("--tls-ca", type=click.Path(exists=True, dir_okay=False), help="Certificate of the broker's authority.")
@click.option("--seconds", default=0.0, callback=to_seconds, help="Stop after so long; 0 = never.")
@click.option("--json", "as_json", is_flag=True, help="One JSON line for each message.")
@click.argument("host_without_option", nargs=-1, metavar="", type=click.UNPROCESSED)
@click.pass_context
def command(
    ctx: click.Context,
    host: str,
    port: int,
    config: Path | None,
    topic: str | None,
    user: str,
    password_file: str | None,
    tls_ca: str | None,
    seconds: float,
    as_json: bool,
    host_without_option: tuple[str, ...],
) -> None:
    """Print every message of edged that a broker passes on."""
    from edged.delivery.broker.access import Access
    from edged.delivery.broker.subscriber import listen

    if host_without_option:
        ctx.fail(f"use -h HOST: edged watch -h {shown_host(host_without_option[0])}")

    def show(topic: str, payload: bytes, _retained: bool) -> None:
        click.echo(to_json_line(topic, payload) if as_json else to_line(topic, payload, time.time()))

    access = Access(host=host, port=port, version=4, user=user, password_file=password_file or "", tls_ca=tls_ca or "")
    if config is not None:
        access, base = _of_config(config)
        given = {"host": host, "port": port, "user": user, "password_file": password_file, "tls_ca": tls_ca}
        is_given = {name for name in given if ctx.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE}
        access = replace(access, **{name: value for name, value in given.items() if name in is_given})  # type: ignore[arg-type]
        topic = topic or f"{base}/#"
    listen(access, topic or "edged/#", show, seconds=seconds or None)


def _of_config(path: Path) -> "tuple[Access, str]":
    """How the config's broker is reached, under another client id than the daemon's; and where its topics begin."""
    from edged.config.parts import to_access
    from edged.config.reading import load_settings

    settings = load_settings(path)
    return replace(to_access(settings.mqtt, settings.device), client_id=""), f"{settings.mqtt.prefix}/{settings.device}"


def to_value(payload: bytes) -> Any:
    """JSON where it is JSON, text where it is text, else only its size."""
    try:
        text = payload.decode()
    except UnicodeDecodeError:
        return {"bytes": len(payload)}
    try:
        value = json.loads(text) if text[:1] == "{" else text
    except (ValueError, RecursionError):
        return text
    return value


def to_json_line(topic: str, payload: bytes) -> str:
    try:
        return to_json({"topic": topic, "payload": to_value(payload)})
    except RecursionError:  # it could just be read, and can't be written
        return to_json({"topic": topic, "payload": {"bytes": len(payload)}})


def to_line(topic: str, payload: bytes, now_s: float) -> str:
    """Topic, what it says, score, age, and why: in columns, so that the eye finds them."""
    value = to_value(payload)
    if not isinstance(value, dict):
        meaning = MEANINGS.get(str(value), "") if topic.endswith("/label") else ""
        return f"{_shown(topic):<22} {_shown(str(value))}{meaning}"
    said, score = _said(value)
    line = f"{_shown(topic):<22} {said:<22} {score:>5} {_age(value, now_s):>9}  {_shown(_detail(value))}"
    return line.rstrip()


def _shown(text: str) -> str:
    return printable(text)[:200]


def _said(value: dict[str, Any]) -> tuple[str, str]:
    """What a message says in a word or two, and how surely."""
    best = value["top"][0] if isinstance(value.get("top"), list) and value["top"] else value
    best = best if isinstance(best, dict) else {}
    words = (value.get("event_type"), value.get("state"), best.get("label") or value.get("card") or value.get("asked"))
    score = _number(best.get("score"))
    return " ".join(_shown(w) for w in words if isinstance(w, str)), "" if score is None else f"{score:.4g}" if abs(
        score
    ) > 1 else f"{score:.2f}"


def _detail(value: dict[str, Any]) -> str:
    """The rest that a person wants to know: the picture, the reason, the counters."""
    if value.get("event_type") == "gap":
        return f"{value.get('from_seq')}..{value.get('to_seq')}: {value.get('dropped')} dropped: {value.get('reason')}"
    frames, frame = value.get("frames"), value.get("frame")
    if isinstance(frames, dict):
        return ", ".join(f"{count} {key}" for key, count in frames.items() if count or key == "captured")
    if isinstance(frame, dict):
        return str(frame.get("picture", ""))
    known = (value.get("reason"), value.get("chosen"))
    return next((word for word in known if isinstance(word, str) and word), "")


def _age(value: dict[str, Any], now_s: float) -> str:
    frame = value.get("frame")
    if isinstance(frame, dict) and (age_ms := _number(frame.get("age_ms"))) is not None:
        return f"{age_ms:.0f} ms" if abs(age_ms) < 1e9 else f"{age_ms:.0e} ms"
    try:
        then = datetime.fromisoformat(value["time"]).astimezone(UTC)
    except (KeyError, ValueError, TypeError, OverflowError):  # the last: year 1 east of Greenwich
        return ""
    age_s = (datetime.fromtimestamp(now_s, UTC) - then).total_seconds()
    return f"{max(0.0, age_s) * 1000:.0f} ms" if age_s < 10 else f"{age_s:.0f} s"


def _number(value: object) -> float | None:
    """JSON's integers have no end; those that no float can hold are none."""
    try:
        return float(value) if isinstance(value, int | float) else None
    except OverflowError:
        return None
