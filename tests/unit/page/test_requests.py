"""What is a request at all."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edged.page.listener import BODY_BYTES, RefusedError, check_head


def head(first: str = "GET / HTTP/1.1", *lines: str) -> bytes:
    return "\r\n".join([first, "Host: door", *lines, "", ""]).encode("latin-1")


def test_sound_ones() -> None:
    assert check_head(head()) == 0
    assert check_head(head("GET /hour?enter=0.5&a=%C3%A9+%25 HTTP/1.1")) == 0
    for method in ("OPTIONS", "PUT", "DELETE", "PATCH"):  # the routes say which methods there are
        assert check_head(head(f"{method} / HTTP/1.1", "Content-Length: 3")) == 3
    assert check_head(head("POST /act HTTP/1.0", "Content-Length: 12", "X-Odd: \tü".replace("ü", "u"))) == 12


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (head("POST / HTTP/1.1", "Content-Length: 104857600"), 413),
        (head("POST / HTTP/1.1", f"Content-Length: {BODY_BYTES + 1}"), 413),
        (head("GET / HTTP/1.1", "Content-Length: 5"), 400),
        (head("POST / HTTP/1.1", "Content-Length: -1"), 400),
        (head("POST / HTTP/1.1", "Content-Length: 5", "Content-Length: 6"), 400),
        (head("POST / HTTP/1.1", "Transfer-Encoding: chunked"), 400),
        (head("GET / HTTP/1.1", "Host: other"), 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (head("BREW / HTTP/1.1"), 400),
        (head("put / HTTP/1.1"), 400),
        (head("TRACE / HTTP/1.1"), 400),
        (head("CONNECT door:80 HTTP/1.1"), 400),
        (head("OPTIONS * HTTP/1.1"), 400),
        (head("HEAD / HTTP/1.1", "Content-Length: 5"), 400),
        (head("PUT / HTTP/1.1", f"Content-Length: {BODY_BYTES + 1}"), 413),
        (head("GET http://elsewhere/ HTTP/1.1"), 400),
        (head("GET  / HTTP/1.1"), 400),
        (head("GET /\x00 HTTP/1.1"), 400),
        (head("GET / HTTP/2"), 400),
        (head("GET / HTTP/1.1", " folded: x"), 400),
        (head("GET / HTTP/1.1", "no colon"), 400),
        (head("GET / HTTP/1.1", "Cookie: a\nb"), 400),
        (head("GET / HTTP/1.1", *(f"X-{n}: 1" for n in range(70))), 400),
        (head(f"GET /{'a' * 3000} HTTP/1.1"), 400),
        (head("GET /picture?view=%ff HTTP/1.1"), 400),
        (head("GET /picture?view=%zz HTTP/1.1"), 400),
        (head("GET /?%-1 HTTP/1.1"), 400),
        (head("GET /?a=%e2%82 HTTP/1.1"), 400),
    ],
)
def test_others_are_refused(data: bytes, status: int) -> None:
    with pytest.raises(RefusedError) as refused:
        check_head(data)
    assert refused.value.status == status


@given(st.binary(max_size=300))
def test_no_bytes_do_more_than_be_refused(data: bytes) -> None:
    try:
        assert 0 <= check_head(data + b"\r\n\r\n") <= BODY_BYTES
    except RefusedError as refused:
        assert refused.status in (400, 413)
