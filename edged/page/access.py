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


class _Circle:
    """Addresses, each with a bound of its own, and one for all of them together."""

    def __init__(self, now_s: float) -> None:
        self.by_address: OrderedDict[str, _Bucket] = OrderedDict()
        self._all = _Bucket(_ALL_GUESSES, _ALL_PER_S, now_s)

    def add(self, address: str, bucket: _Bucket) -> None:
        """As the newest; the oldest gives way."""
        self.by_address[address] = bucket
        self.by_address.move_to_end(address)
        while len(self.by_address) > _MOST_ADDRESSES:
            self.by_address.popitem(last=False)

    def take(self, address: str, now_s: float) -> bool:
        bucket = self.by_address.get(address) or _Bucket(_GUESSES, _PER_S, now_s)
        self.add(address, bucket)
        return bucket.take(now_s) and self._all.take(now_s)

    def give_back(self, address: str) -> None:
        self.by_address[address].give_back()
        self._all.give_back()


class Guard:
    """Thread: one. A right token costs nothing; whoever has guessed too often is not even compared.

    Addresses that a right token or cookie came from have a bound apart from everybody else's, so that strangers can not use up
    theirs; it is as small, so that whoever has the token that may only look does not guess the other one from many addresses.
    """

    def __init__(self, tokens: Tokens, now_s: Callable[[], float] = time.time) -> None:
        """now_s: of the wall clock, for a cookie outlives the process."""
        self._now_s = now_s
        self._hashes: dict[Role, bytes] = {"control": _hash(tokens.control), "view": _hash(tokens.view)}
        self._strangers, self._known = _Circle(now_s()), _Circle(now_s())
        self.wrong = 0

    def admit(self, token: str, address: str) -> Role | None:
        """The role of a token; None for a wrong one. Raises TooManyGuessesError."""
        now_s = self._now_s()
        circle = self._known if address in self._known.by_address else self._strangers
        if not circle.take(address, now_s):
            raise TooManyGuessesError
        given, role = _hash(token), None
        for name, hashed in self._hashes.items():  # all of them, each time
            if hmac.compare_digest(given, hashed):
                role = name
        if role is None:
            self.wrong += 1
        else:
            circle.give_back(address)
            self._know(address)
        return role

    def _know(self, address: str) -> None:
        """With what it has left of its guesses: a right token is no way to new ones."""
        bucket = self._strangers.by_address.pop(address, None) or self._known.by_address.get(address)
        self._known.add(address, bucket or _Bucket(_GUESSES, _PER_S, self._now_s()))

    def to_cookie(self, role: Role) -> str:
        """Signed with the token itself: a new token ends all of its cookies, a new process none."""
        ends = int(self._now_s()) + COOKIE_S
        return f"{role}.{ends}.{self._sign(role, ends)}"

    def role_of(self, cookie: str, address: str) -> Role | None:
        """None for a cookie that is none of ours, or is over. A right one is as good as a token for its address."""
        found = re.fullmatch(r"(control|view)\.(\d{1,12})\.([0-9a-f]{64})", cookie)
        if found is None:
            return None
        role: Role = "control" if found[1] == "control" else "view"
        good = hmac.compare_digest(self._sign(role, int(found[2])), found[3])
        if not good or self._now_s() >= int(found[2]):
            return None
        self._know(address)
        return role

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
