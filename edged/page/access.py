"""Who gets in: tokens compared in constant time, guesses limited, cookies that hold for a month, names that are ours. Pure but
for the clock.
"""

import hashlib
import hmac
import ipaddress
import re
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Literal

from edged.page.tokens import Tokens

Role = Literal["control", "view"]
COOKIE = "edged_page"
COOKIE_S = 30 * 86400
_GUESSES, _PER_S = 5.0, 0.1  # wrong tokens of one address at once, and a second
_ALL_GUESSES, _ALL_PER_S = 50.0, 1.0
_MOST_ADDRESSES = 256


class _Bucket:
    def __init__(self, size: float, per_s: float, now_s: float) -> None:
        self._size, self._per_s, self._left, self._at_s = size, per_s, size, now_s

    def take(self, now_s: float) -> bool:
        passed_s = max(0.0, now_s - self._at_s)  # a clock that is set back takes nothing away
        self._left = min(self._size, self._left + passed_s * self._per_s)
        self._at_s = now_s
        if self._left < 1:
            return False
        self._left -= 1
        return True

    def give_back(self) -> None:
        self._left = min(self._size, self._left + 1)


class Guard:
    """Thread: one. A right token costs nothing; whoever has guessed too often is not even compared."""

    def __init__(self, tokens: Tokens, now_s: Callable[[], float] = time.time) -> None:
        """now_s: of the wall clock, for a cookie outlives the process."""
        self._now_s = now_s
        self._hashes: dict[Role, bytes] = {"control": _hash(tokens.control), "view": _hash(tokens.view)}
        self._by_address: OrderedDict[str, _Bucket] = OrderedDict()
        self._all = _Bucket(_ALL_GUESSES, _ALL_PER_S, now_s())
        self.wrong = 0

    def admit(self, token: str, address: str) -> Role | None:
        """The role of a token; None for a wrong one. Raises TooManyGuessesError."""
        now_s = self._now_s()
        bucket = self._by_address.pop(address, None) or _Bucket(_GUESSES, _PER_S, now_s)
        self._by_address[address] = bucket
        while len(self._by_address) > _MOST_ADDRESSES:
            self._by_address.popitem(last=False)
        if not bucket.take(now_s) or not self._all.take(now_s):
            raise TooManyGuessesError
        given, role = _hash(token), None
        for name, hashed in self._hashes.items():  # all of them, each time
            if hmac.compare_digest(given, hashed):
                role = name
        if role is None:
            self.wrong += 1
        else:
            bucket.give_back()
            self._all.give_back()
        return role

    def to_cookie(self, role: Role) -> str:
        """Signed with the token itself: a new token ends all of its cookies, a new process none."""
        ends = int(self._now_s()) + COOKIE_S
        return f"{role}.{ends}.{self._sign(role, ends)}"

    def role_of(self, cookie: str) -> Role | None:
        found = re.fullmatch(r"(control|view)\.(\d{1,12})\.([0-9a-f]{64})", cookie)
        if found is None:
            return None
        role: Role = "control" if found[1] == "control" else "view"
        good = hmac.compare_digest(self._sign(role, int(found[2])), found[3])
        return role if good and self._now_s() < int(found[2]) else None

    def _sign(self, role: Role, ends: int) -> str:
        return hmac.new(self._hashes[role], f"edged page {role} {ends}".encode(), hashlib.sha256).hexdigest()


class TooManyGuessesError(Exception):
    pass


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode(errors="replace")).digest()


def is_our_name(host: str, names: Iterable[str]) -> bool:
    """Whether a request's Host is this board: an address, or one of `names`; any other name may be an attacker's. Pure."""
    found = re.fullmatch(r"(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+)(?::\d{1,5})?", host)
    if found is None:
        return False
    name = found[1].lower().rstrip(".")
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return name in {one.lower() for one in names}
    return True


def own_names(board: str, host: str, more: Iterable[str]) -> frozenset[str]:
    """board: the machine's name; host: where it listens. Pure."""
    short = board.split(".")[0]
    return frozenset({"localhost", board, short, f"{short}.local", f"{short}.lan", f"{short}.home.arpa", host, *more}) - {""}


def is_from_us(headers: dict[str, str], scheme: str) -> bool:
    """Whether what changes something comes from our own page: no other site can send this header, or this origin. Pure.

    headers: by lower-case name.
    """
    if headers.get("x-edged") != "1" or headers.get("content-type", "").split(";")[0].strip() != "application/json":
        return False
    if headers.get("sec-fetch-site", "same-origin") != "same-origin":
        return False
    return headers.get("origin", f"{scheme}://{headers.get('host')}") == f"{scheme}://{headers.get('host')}"
