"""edged audit: has everything arrived? Asked at the other end, where it counts."""

import json
import sys
import time
from pathlib import Path
from typing import Any

import click

from edged.commands import FILE
from edged.commands.watch import to_broker, to_filter, to_seconds

_LONGEST_LINE = 8 << 20  # of `edged watch --json`; a picture is not in it


@click.command(context_settings={"help_option_names": ["--help"]})
@click.argument("capture", required=False, type=FILE)
@click.option("-h", "--host", default="localhost", show_default=True, callback=to_broker, help="The broker to listen to.")
@click.option("-p", "--port", default=1883, show_default=True, type=click.IntRange(1, 65535))
@click.option("-t", "--topic", default="edged/#", show_default=True, callback=to_filter, help="What to subscribe to.")
@click.option("-u", "--user", default="", help="User name; the password is read from --password-file.")
@click.option("--password-file", type=click.Path(exists=True, dir_okay=False))
@click.option("--tls-ca", type=click.Path(exists=True, dir_okay=False), help="Certificate of the broker's authority.")
@click.option("--seconds", default=60.0, show_default=True, callback=to_seconds, help="How long to listen; 0 = until Ctrl-C.")
@click.option("--from-start", is_flag=True, help="Also miss what came before the first message that was seen of a boot.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object: boots, foreign.")
def command(
    capture: Path | None,
    host: str,
    port: int,
    topic: str,
    user: str,
    password_file: str | None,
    tls_ca: str | None,
    seconds: float,
    from_start: bool,
    as_json: bool,
) -> int:
    """Report missing, repeated and late events by boot and seq: from a broker, or from a CAPTURE of `edged watch --json`.

    Exit code 1 when an event is missing that no gap message told of. What came while the connection to the broker was broken
    is unheard, and not missing. Ctrl-C ends the listening, and exits with 130 after the report.
    """
    from edged.delivery.audit import Account

    account, interrupted = Account(from_start=from_start), False
    if capture is not None:
        _read(capture, account)
    else:
        from edged.delivery.broker.access import Access
        from edged.delivery.broker.subscriber import listen

        def take(topic: str, payload: bytes, _retained: bool) -> None:
            account.take(topic, _to_json(payload), time.time())

        access = Access(host=host, port=port, version=4, user=user, password_file=password_file or "", tls_ca=tls_ca or "")
        try:
            listen(access, topic, take, seconds=seconds or None, on_cut_off=account.cut_off)
        except KeyboardInterrupt:
            interrupted = True  # what was heard until then is told all the same
    boots = account.report()
    if as_json:
        click.echo(json.dumps({"boots": boots, "foreign": account.foreign}))
    else:
        _print(boots, account.foreign)
    if interrupted:
        raise KeyboardInterrupt
    return int(any(boot["missing"] for boot in boots))


def _read(capture: Path, account: Any) -> None:
    """Lines of `edged watch --json`. Ages can't be known: the lines do not tell when they were received."""
    from edged.errors import EdgedError

    try:
        with capture.open(encoding="utf-8", errors="replace") if str(capture) != "-" else sys.stdin as lines:
            for number, line in enumerate(iter(lambda: lines.readline(_LONGEST_LINE), ""), 1):
                message = _to_json(line.encode()) if len(line) < _LONGEST_LINE else None
                if not line.strip():
                    continue
                if not isinstance(message, dict) or not isinstance(message.get("topic"), str):
                    raise EdgedError(f"{capture}:{number}: no line of edged watch --json")
                account.take(message["topic"], message.get("payload"), None)
    except OSError as error:
        raise EdgedError(f"{capture} can not be read: {(error.strerror or str(error)).lower()}") from None


def _to_json(payload: bytes) -> Any:
    try:
        return json.loads(payload)
    except (ValueError, RecursionError):
        return None


def _print(boots: list[dict[str, Any]], foreign: int) -> None:
    if not boots:
        click.echo("no event was received")
    for boot in boots:
        told = "".join(f", {count} announced as dropped ({why})" for why, count in boot["announced"].items())
        if boot["unheard"]:
            told += f", {boot['unheard']} at most unheard, because the connection to the broker broke"
        if boot["unknown_from_seq"] is not None:
            told += f", and whether any are missing from {boot['unknown_from_seq']} on nobody knows (power)"
        ages = f", age {boot['age_p50_s']:g} s (at most {boot['age_max_s']:g} s)" if boot["age_p50_s"] is not None else ""
        click.echo(
            f"{boot['device']} {boot['boot']}: {boot['received']} received ({boot['first_seq']}..{boot['last_seq']}), "
            f"{boot['missing']} missing{told}, {boot['duplicates']} twice, {boot['late']} late{ages}"
        )
        if boot["missing"]:
            click.echo(f"  missing: {', '.join(map(str, boot['missing_seqs'][:20]))}{' …' if boot['missing'] > 20 else ''}")
    if foreign:
        click.echo(f"{foreign} messages on these topics are not edged's")
