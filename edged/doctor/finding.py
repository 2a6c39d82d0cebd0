"""What a look at one thing came to: in a word, in a sentence, and with the command that cures it."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "warn", "fail", "skipped"]
_WORST: tuple[State, ...] = ("ok", "skipped", "warn", "fail")


@dataclass(frozen=True, slots=True)
class Finding:
    """`cure`: shell lines to copy; where only a hand can help, a comment, which does no harm when it is copied too."""

    check: str
    state: State
    found: str
    cure: str = ""


def ok(check: str, found: str) -> Finding:
    return Finding(check, "ok", found)


def skipped(check: str, why: str) -> Finding:
    return Finding(check, "skipped", why)


def warn(check: str, found: str, cure: str) -> Finding:
    return Finding(check, "warn", found, cure)


def fail(check: str, found: str, cure: str) -> Finding:
    return Finding(check, "fail", found, cure)


def worst(findings: Iterable[Finding], otherwise: Finding) -> Finding:
    """One finding of several of the same check: the worst state, all that was found, each cure once."""
    all_found = list(findings)
    if not all_found:
        return otherwise
    state = max((one.state for one in all_found), key=_WORST.index)
    cures = dict.fromkeys(one.cure for one in all_found if one.cure)
    return Finding(otherwise.check, state, "; ".join(dict.fromkeys(one.found for one in all_found)), "\n".join(cures))
