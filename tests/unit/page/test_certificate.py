"""What is told of a certificate's time, and when."""

import asyncio
import contextlib
import logging
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edged.page.certificate import Validity, to_doubt, to_validity, watch_validity

BEGINS, ENDS = datetime(2026, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, 12, 30, tzinfo=UTC)
VALID = Validity(BEGINS, ENDS)
_TIMES = b"\x30\x1e" + b"\x17\x0d260101000000Z" + b"\x17\x0d270101123000Z"
_INSIDE = b"\xa0\x03\x02\x01\x02" + b"\x02\x01\x01" + b"\x30\x00" + b"\x30\x00" + _TIMES
DER = b"\x30" + bytes([len(_INSIDE) + 2]) + b"\x30" + bytes([len(_INSIDE)]) + _INSIDE  # up to its dates


@pytest.mark.parametrize(
    ("now", "says"),
    [
        (BEGINS - timedelta(minutes=6), "page.tls_cert: /p.crt holds from 2026-01-01 00:00 UTC on only"),
        (BEGINS - timedelta(minutes=4), ""),
        (BEGINS, ""),
        (ENDS, ""),
        (ENDS + timedelta(minutes=4), ""),
        (ENDS + timedelta(minutes=6), "page.tls_cert: /p.crt ran out on 2027-01-01 12:30 UTC"),
    ],
)
def test_only_one_that_does_not_hold_is_told(now: datetime, says: str) -> None:
    said = to_doubt("/p.crt", VALID, now)
    assert said.startswith(says) and bool(said) == bool(says)
    assert not said or "sudo systemctl restart edged-page" in said


def test_one_that_never_ends_holds() -> None:
    never = Validity(datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC))
    assert to_doubt("/p.crt", never, BEGINS) == ""


@pytest.mark.parametrize(
    ("days", "right", "told"),
    [
        ([400], [True], 1),
        ([400, 400, 400], [False, False, True], 1),  # the clock is set a while after the start
        ([10, 20, 400], [True, True, True], 1),  # it ends while the page runs
        ([400, 10], [False, True], 0),  # the board began with a wrong date
        ([400, 400], [False, False], 0),
    ],
)
def test_it_is_told_once_and_by_a_right_clock_only(
    days: list[int], right: list[bool], told: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """days: since it began to hold, at each look."""
    path = tmp_path / "page.crt"
    path.write_text(ssl.DER_cert_to_PEM_cert(DER))
    looks = iter(zip(days, right, strict=True))
    is_right = False

    def now_s() -> float:
        nonlocal is_right
        try:
            day, is_right = next(looks)
        except StopIteration:
            raise asyncio.CancelledError from None  # as at the page's end
        return (BEGINS + timedelta(days=day)).timestamp()

    with caplog.at_level(logging.WARNING), contextlib.suppress(asyncio.CancelledError):
        asyncio.run(watch_validity(str(path), now_s=now_s, is_right=lambda: is_right, again_s=0))
    assert [record.getMessage() for record in caplog.records] == [to_doubt(str(path), VALID, ENDS + timedelta(days=1))] * told


@given(st.binary(max_size=200))
def test_no_bytes_do_more_than_be_no_certificate(data: bytes) -> None:
    with contextlib.suppress(ValueError):
        to_validity(data)


@given(st.integers(0, 400), st.binary(min_size=1, max_size=3))
def test_a_damaged_one_is_no_more(at: int, to: bytes) -> None:
    assert to_validity(DER) == VALID
    with contextlib.suppress(ValueError):
        to_validity(DER[: at % len(DER)] + to + DER[at % len(DER) :])
