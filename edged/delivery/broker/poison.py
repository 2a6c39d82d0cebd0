"""Which message makes the broker hang up? Found as in a trial: never on the first suspicion, and alone."""

import time
from collections import Counter
from collections.abc import Callable, Sequence

_STRIKES = 3
_SOON_S = 3.0  # a broker that hangs up because of a message does so at once

Name = str | int  # a retained topic, or the n of a row


class Suspects:
    """While there are any, messages are sent one at a time, so that the guilty one is found and no other is blamed.

    A connection that breaks for another reason costs nothing: its messages are sent again, one at a time, and acquitted.
    """

    def __init__(self, now_s: Callable[[], float] = time.monotonic) -> None:
        self._now_s = now_s
        self._suspected: set[Name] = set()
        self._strikes: Counter[Name] = Counter()
        self._sent: tuple[Name, float] | None = None

    @property
    def any(self) -> bool:
        return bool(self._suspected)

    def sent(self, name: Name) -> None:
        self._sent = (name, self._now_s())

    def accuse(self, flying: Sequence[Name]) -> list[Name]:
        """The broker hung up with these unanswered. The guilty: alone three times when it hung up at once."""
        if not flying:
            return []
        if len(flying) > 1 or self._sent is None or self._sent[0] != flying[0]:
            self._suspected.update(flying)
            return []
        name, sent_s = self._sent
        if self._now_s() - sent_s > _SOON_S:
            return []
        self._suspected.add(name)
        self._strikes[name] += 1
        return [name] if self._strikes[name] >= _STRIKES else []

    def acquit(self, name: Name) -> None:
        """It was answered, or given up."""
        self._suspected.discard(name)
        self._strikes.pop(name, None)
