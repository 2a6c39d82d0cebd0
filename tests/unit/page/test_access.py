"""Who gets in: tokens, guesses, cookies, names, and from where a change may come."""

import contextlib
import os
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edged.errors import CONFIG, WriteError
from edged.page.access import COOKIE_S, Guard, TooManyGuessesError, is_from_us, is_our_name, own_names
from edged.page.tokens import TokenError, Tokens, load_tokens, new_tokens

TOKENS = Tokens("c" * 24, "v" * 24)


class Clock:
    def __init__(self) -> None:
        self.now_s = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now_s


def test_each_token_has_its_role_and_no_other_has_one() -> None:
    guard = Guard(TOKENS)
    assert guard.admit(TOKENS.control, "a") == "control"
    assert guard.admit(TOKENS.view, "a") == "view"
    for number, wrong in enumerate(
        ("", "c" * 23, "c" * 25, "C" * 24, TOKENS.control + " ", "\udcff", TOKENS.control + TOKENS.view)
    ):
        assert guard.admit(wrong, f"b{number}") is None
    assert guard.wrong == 7


def test_whoever_guesses_is_slowed_down_and_nobody_else() -> None:
    clock = Clock()
    guard = Guard(TOKENS, clock)
    for _ in range(5):
        assert guard.admit("wrong", "10.0.0.1") is None
    with pytest.raises(TooManyGuessesError):
        guard.admit(TOKENS.control, "10.0.0.1")  # not even compared
    assert guard.admit(TOKENS.control, "10.0.0.2") == "control"
    clock.now_s += 10
    assert guard.admit(TOKENS.control, "10.0.0.1") == "control"
    for _ in range(100):
        assert guard.admit(TOKENS.view, "10.0.0.3") == "view", "a right one costs nothing"


def test_guesses_from_everywhere_together_stay_few() -> None:
    clock = Clock()
    guard, compared = Guard(TOKENS, clock), 0
    for number in range(36_000):  # ten an second from as many addresses, for an hour
        clock.now_s += 0.1
        try:
            guard.admit(f"guess {number}", f"10.0.{number // 250}.{number % 250}")
            compared += 1
        except TooManyGuessesError:
            pass
    assert compared <= 50 + 3600 + 1
    assert len(guard._strangers.by_address) <= 256


def guess_from_everywhere(guard: Guard, clock: Clock, addresses: int, times: int) -> int:
    """How many of them were compared; a second for each round."""
    compared = 0
    for number in range(times):
        clock.now_s += 1
        for one in range(addresses):
            with contextlib.suppress(TooManyGuessesError):
                compared += guard.admit(f"guess {number}", f"10.1.{one // 250}.{one % 250}") is None
    return compared


@pytest.mark.parametrize("by", ["token", "cookie"])
def test_a_right_token_gets_in_where_one_came_from_before_however_many_guess(by: str) -> None:
    clock = Clock()
    guard = Guard(TOKENS, clock)
    if by == "token":
        assert guard.admit(TOKENS.view, "owner") == "view"
    else:
        assert guard.role_of(guard.to_cookie("view"), "owner") == "view"
    assert guess_from_everywhere(guard, clock, 300, 60) <= 50 + 60 + 1
    with pytest.raises(TooManyGuessesError):
        guard.admit(TOKENS.control, "nobody was here before")  # else a right guess would be told from a wrong one
    for _ in range(100):
        assert guard.admit(TOKENS.control, "owner") == "control"
    assert [guard.admit("mistyped", "owner") for _ in range(5)] == [None] * 5
    with pytest.raises(TooManyGuessesError):
        guard.admit(TOKENS.control, "owner")  # its own bound holds as before
    assert guard.role_of(guard.to_cookie("control"), "owner") == "control", "a cookie is never held up"


@pytest.mark.parametrize("by", ["token", "cookie"])
def test_whoever_may_look_guesses_no_more_from_many_addresses(by: str) -> None:
    """Each new address shows the right token, and then guesses the other one."""
    clock = Clock()
    guard, compared = Guard(TOKENS, clock), 0
    cookie = guard.to_cookie("view")
    for number in range(3600):
        clock.now_s += 1
        address = f"fe80::{number}"
        try:
            if by == "cookie":
                guard.role_of(cookie, address)
            for _ in range(5):
                guard.admit(TOKENS.view, address)
                guard.admit("guess", address)
                compared += 1
        except TooManyGuessesError:
            pass
    assert compared <= 2 * (50 + 3600 + 1)
    assert len(guard._known.by_address) <= 256 and len(guard._strangers.by_address) <= 256


def test_a_right_token_is_no_way_to_more_guesses() -> None:
    clock = Clock()
    guard, compared = Guard(TOKENS, clock), 0
    cookie = guard.to_cookie("view")
    for _ in range(50):
        try:
            guard.role_of(cookie, "a")
            guard.admit(TOKENS.view, "a")
            guard.admit("guess", "a")
            compared += 1
        except TooManyGuessesError:
            pass
    assert compared == 5


def test_a_cookie_outlives_the_process_and_not_the_token_nor_its_month() -> None:
    clock = Clock()
    cookie = Guard(TOKENS, clock).to_cookie("view")
    assert Guard(TOKENS, clock).role_of(cookie, "a") == "view"
    assert Guard(Tokens("c" * 24, "w" * 24), clock).role_of(cookie, "a") is None
    clock.now_s += COOKIE_S + 1
    assert Guard(TOKENS, clock).role_of(cookie, "a") is None
    assert TOKENS.view not in cookie


@given(st.text() | st.binary().map(lambda raw: raw.decode("latin-1")))
def test_no_text_is_a_cookie(text: str) -> None:
    assert Guard(TOKENS).role_of(text, "a") is None


@given(st.integers(0, 100), st.characters(codec="ascii"))
def test_a_changed_cookie_is_none(at: int, to: str) -> None:
    cookie = Guard(TOKENS).to_cookie("view")
    changed = cookie[:at] + to + cookie[at + 1 :]
    assert (Guard(TOKENS).role_of(changed, "a") == "view") == (changed == cookie)
    assert Guard(TOKENS).role_of(cookie.replace("view", "control"), "a") is None


OURS = own_names("door.lan", "0.0.0.0", ("cam.example",))


@pytest.mark.parametrize(
    "host", ["door", "door.local", "DOOR.lan:8080", "cam.example", "127.0.0.1:1", "192.168.1.7", "[::1]:8080", "localhost:8080"]
)
def test_our_names(host: str) -> None:
    assert is_our_name(host, OURS)


@pytest.mark.parametrize(
    "host",
    ["", "evil.example", "door.evil.example", "door@evil", "127.0.0.1.evil", "localhost.evil:80", "a b", "door:x", "[::1", "'"],
)
def test_no_names_of_ours(host: str) -> None:
    assert not is_our_name(host, OURS)


GOOD = {
    "host": "door:8080",
    "origin": "http://door:8080",
    "x-edged": "1",
    "content-type": "application/json",
    "sec-fetch-site": "same-origin",
}


@pytest.mark.parametrize(
    "change",
    [
        {"origin": "http://evil.example"}, {"origin": "null"}, {"origin": "https://door:8080"}, {"origin": "http://door:9"},
        {"x-edged": ""}, {"content-type": "text/plain"}, {"content-type": "application/x-www-form-urlencoded"},
        {"sec-fetch-site": "cross-site"}, {"sec-fetch-site": "same-site"}, {"sec-fetch-site": "none"},
    ],
)  # fmt: skip
def test_a_change_comes_from_our_own_page(change: dict[str, str]) -> None:
    assert is_from_us(GOOD, "http")
    assert not is_from_us(GOOD | change, "http")


def test_a_file_of_tokens(tmp_path: Path) -> None:
    path = tmp_path / "page_token"
    made = new_tokens(path)
    assert load_tokens(path) == made and made.control != made.view and len(made.control) >= 24
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert made.control not in repr(made)
    assert new_tokens(path) != made


def test_new_tokens_take_the_place_of_nothing_but_a_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for place in (tmp_path / "pipe", tmp_path):
        with pytest.raises(WriteError, match="it is no file"):
            new_tokens(place)
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


@pytest.mark.parametrize(
    "content",
    [b"", b"\n", b"short\nshort\n", b"a" * 24 + b"\n", b"a" * 24 + b"\n" + b"a" * 24, b"\xff" * 30, b"a b" * 20, b"a" * 2000],
)
def test_what_is_no_file_of_tokens_lets_nobody_in(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "page_token"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(TokenError, match=r"edged page token --new|be root") as refused:
        load_tokens(path)
    assert refused.value.exit_code == CONFIG and "\n" not in str(refused.value)


def test_a_file_that_others_may_read_lets_nobody_in_but_systemd_hands_over_as_it_likes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "page_token"
    with pytest.raises(TokenError, match="make one"):
        load_tokens(path)
    made = new_tokens(path)
    path.chmod(0o640)
    with pytest.raises(TokenError, match="others may read it"):
        load_tokens(path)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert load_tokens(path) == made


def test_a_clock_that_is_set_back_locks_nobody_out() -> None:
    """A board without a clock of its own that began with a time ahead of the true one."""
    clock = Clock()
    guard = Guard(TOKENS, clock)
    assert guard.admit(TOKENS.control, "a") == "control"
    clock.now_s -= 86_400
    assert guard.admit(TOKENS.control, "a") == "control"
    assert guard.admit(TOKENS.view, "b") == "view"
