"""The page's certificate as openssl writes it."""

import ssl
from datetime import UTC, datetime
from pathlib import Path

import pytest

from edged.page.certificate import Validity, load_validity, to_validity
from tests.certificates import make_certificate


@pytest.mark.parametrize(
    ("begins", "ends"),
    [
        ("20200101000000Z", "20210101123456Z"),
        ("19700101000000Z", "20491231235959Z"),
        ("20490101000000Z", "20500101000000Z"),  # from 2050 on it is written in another way
        ("19500101000000Z", "99991231235959Z"),  # that is how "never" is said
    ],
)
def test_the_dates_are_those_that_openssl_wrote(tmp_path: Path, begins: str, ends: str) -> None:
    cert, key = make_certificate(tmp_path, begins, ends)
    first, last = (datetime.strptime(one, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC) for one in (begins, ends))
    assert load_validity(cert) == Validity(first, last)
    both = tmp_path / "both.pem"
    both.write_bytes(key.read_bytes() + cert.read_bytes() + b"-----BEGIN CERTIFICATE-----\nanother\n-----END CERTIFICATE-----\n")
    assert load_validity(both) == Validity(first, last), "of the first, wherever it stands"


def test_authorities_of_this_machine_can_be_read() -> None:
    """Of many makers; what the standard library says of an authority's is the same."""
    context = ssl.create_default_context()
    if not context.get_ca_certs():
        pytest.skip("needs the certificates of authorities: sudo apt install ca-certificates")
    for der, told in zip(context.get_ca_certs(binary_form=True), context.get_ca_certs(), strict=True):
        found = to_validity(der)
        assert found.ends.timestamp() == ssl.cert_time_to_seconds(str(told["notAfter"]))
        assert found.begins.timestamp() == ssl.cert_time_to_seconds(str(told["notBefore"]))


@pytest.mark.parametrize("content", [b"", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
def test_what_can_not_be_read_is_not_judged(tmp_path: Path, content: bytes) -> None:
    assert load_validity(tmp_path / "none") is None
    (tmp_path / "odd").write_bytes(content)
    assert load_validity(tmp_path / "odd") is None
