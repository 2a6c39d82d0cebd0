"""From when until when the page's certificate holds; a browser refuses it before and after, and does not say so to the page.

Read from its DER: what Python gives of a certificate that it was not shown by somebody else is in public only for an authority's.
"""

import asyncio
import base64
import logging
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from edged.errors import ReadError
from edged.system.clock import is_set
from edged.system.files import read_file

log = logging.getLogger("edged")

LARGEST_PEM_BYTES = 1024 * 1024
_PEM = re.compile(rb"-----BEGIN (?:X509 |TRUSTED )?CERTIFICATE-----([A-Za-z0-9+/=\s]+)-----END ")
_VERSION, _UTC_TIME, _TIME = 0xA0, 0x17, 0x18  # tags of X.690
_DOUBT = timedelta(minutes=5)  # a clock that is right and that of whoever made the certificate may be so far apart
_AGAIN_S = 60.0


@dataclass(frozen=True, slots=True)
class Validity:
    """In UTC."""

    begins: datetime
    ends: datetime


async def watch_validity(
    path: str, *, now_s: Callable[[], float] = time.time, is_right: Callable[[], bool] = is_set, again_s: float = _AGAIN_S
) -> None:
    """Tell the log once that the certificate does not hold: at the start, or as soon as it ends or the clock is known to be right.

    path: as it was loaded; a new one is taken with the next start. is_right: of the clock.
    """
    validity = load_validity(Path(path))
    while validity is not None:
        sentence = to_doubt(path, validity, datetime.fromtimestamp(now_s(), UTC))
        if sentence and is_right():
            log.warning("%s", sentence)
            return
        await asyncio.sleep(again_s)


def to_doubt(path: str, validity: Validity, now: datetime) -> str:
    """What to tell the operator; empty while it holds. Pure."""
    cure = "put one that holds in its place, then sudo systemctl restart edged-page"
    if now - _DOUBT > validity.ends:
        return f"page.tls_cert: {path} ran out on {validity.ends:%Y-%m-%d %H:%M} UTC, and browsers refuse it: {cure}"
    if now + _DOUBT < validity.begins:
        return f"page.tls_cert: {path} holds from {validity.begins:%Y-%m-%d %H:%M} UTC on only, and browsers refuse it: {cure}"
    return ""


def load_validity(path: Path) -> Validity | None:
    """Of the first certificate in the file, which is the one that is shown; None where no dates can be read."""
    try:
        found = _PEM.search(read_file(path, LARGEST_PEM_BYTES))
        return None if found is None else to_validity(base64.b64decode(found[1]))
    except (ReadError, ValueError):
        return None


def to_validity(der: bytes) -> Validity:
    """Of an X.509 certificate (RFC 5280, 4.1). Raises ValueError for what is none. Pure."""
    try:
        fields = _fields(_fields(_fields(der)[0][1])[0][1])
        at = 4 if fields[0][0] == _VERSION else 3  # behind the serial number, the algorithm and the issuer
        begins, ends = (_to_time(tag, content) for tag, content in _fields(fields[at][1]))
    except IndexError:
        raise ValueError("no certificate") from None
    return Validity(begins, ends)


def _fields(der: bytes) -> list[tuple[int, bytes]]:
    """Tag and content of each. Raises IndexError where one breaks off."""
    found, at = list[tuple[int, bytes]](), 0
    while at < len(der):
        tag, size, at = der[at], der[at + 1], at + 2
        if size & 0x80:
            size, at = int.from_bytes(der[at : at + (size & 0x7F)], "big"), at + (size & 0x7F)
        found.append((tag, der[at : at + size]))
        at += size
    return found


def _to_time(tag: int, content: bytes) -> datetime:
    """Raises ValueError."""
    text = content.decode("ascii")
    if tag == _UTC_TIME:
        text = f"{'19' if text >= '50' else '20'}{text}"
    if tag not in (_UTC_TIME, _TIME) or re.fullmatch(r"\d{14}Z", text) is None:
        raise ValueError("no time")
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC)
