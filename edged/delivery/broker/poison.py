"""Which message makes the broker hang up? A message is guilty only on proof; until then it is set aside, and others go past it.

A broken connection says little: mostly it is the network. So after one, messages are sent one at a time. One that was alone
on the way when the broker hung up gets a strike. After some strikes in a row it is set aside: the others go past it, and it
is tried again after a pause that grows. It is guilty when it kills three times more while others of its topic and at least
its size are acknowledged in its place, and no other is killed in between. Where others are killed too it is the path.
"""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

ASIDE_STRIKES = 5  # in a row, alone, until the others go past it
_ROUNDS = 3  # killed, another acknowledged in its place, killed again: so often is proof
_WITNESSES = 2  # different messages that must have been acknowledged
_SOON_S = 3.0  # a broker that hangs up because of a message does so at once
_UNANSWERED = 2  # connections on which others were acknowledged and it was not
_LONGEST_PAUSE_S = 600.0
_TOPIC_PAUSE_S, _TOPIC_STRIKES = 3.0, 30
_PATH_STRIKES = 8  # while the path is to blame the pause grows no further
_NEW_VALUE_S, _NEW_VALUE_LATE_S = 4.0, 60.0  # until another value of a topic is tried; the second after _TOPIC_STRIKES
_AGAIN_S = 0.5
_MOST_ASIDE = 256
_BETWEEN, _BETWEEN_TOPICS = 32, 8  # acknowledged messages between two that are tried again, where others wait

Name = str | int  # a retained topic, or the n of a row


@dataclass(frozen=True, slots=True)
class Sent:
    """One message on its way. `size`: bytes of its topic and payload. `title`: what people call it. `value`: which value of
    a retained topic. `is_gap`: it tells of events that are lost, and is never given up. `payload`, `place`: what is to come
    back, and on which topic of the broker's."""

    name: Name
    topic: str
    size: int
    title: str = ""
    value: int = 0
    is_gap: bool = False
    payload: bytes = b""
    place: str = ""
    at_s: float = 0.0


@dataclass(slots=True)
class Suspect:
    """A message that was on the way when a connection broke, and what is known against it."""

    sent: Sent
    strikes: int = 0
    is_aside: bool = False
    due_s: float = 0.0
    rounds: int = 0
    witnesses: set[Name] = field(default_factory=set)  # all of them
    is_answered_for: bool = False  # a witness since the last strike
    others_killed: bool = False  # since the last strike
    is_silent: bool = False  # the last strike: the connection did not end, nothing came any more
    unanswered: int = 0
    put_off: int = 0  # by a reason code that says "not now"
    code: int = 0

    @property
    def why(self) -> str:
        if self.code:
            return f"the broker puts it off (reason code 0x{self.code:02x}, {self.put_off} times)"
        if self.strikes < self.unanswered:
            return f"the broker does not answer it ({self.unanswered} times)"
        what = "nothing comes any more after it" if self.is_silent else "the broker hangs up on it"
        return f"{what} ({self.strikes} times)"

    def pause_s(self) -> float:
        """Until it is tried again. A retained topic must be right soon after the broker works, so its pause grows late."""
        if self.strikes < 3:
            return 0.0
        grown = 0.1 * 2 ** min(self.strikes - 3, 20)
        if isinstance(self.sent.name, str):
            late = 2 ** min(max(0, self.strikes - _TOPIC_STRIKES), 20)
            return float(min(_LONGEST_PAUSE_S, min(grown, _TOPIC_PAUSE_S) * late))
        return float(min(_LONGEST_PAUSE_S, grown))


class Suspects:
    """Thread: the event loop's. `now_s` is monotonic."""

    def __init__(self, now_s: Callable[[], float] = time.monotonic) -> None:
        self._now_s = now_s
        self._suspects: dict[Name, Suspect] = {}
        self._killed: Counter[Name] = Counter()  # alone, since anything was acknowledged
        self._since_trial = 0
        self._answered = False  # on this connection
        self._ended_by_trial = False  # the last connection, by one that had been set aside

    @property
    def any(self) -> bool:
        """Whether messages must be sent one at a time."""
        return any(not one.is_aside for one in self._suspects.values())

    @property
    def aside(self) -> list[Suspect]:
        """Those that others go past, the oldest first."""
        return sorted((one for one in self._suspects.values() if one.is_aside), key=lambda one: one.sent.at_s)

    @property
    def path(self) -> int:
        """Connections in a row that ended before anything was acknowledged, whatever was sent; 0: it is not the path."""
        return self._killed.total() if self._killed.total() >= ASIDE_STRIKES and len(self._killed) > 1 else 0

    @property
    def rows(self) -> list[int]:
        """The n of those that are rows."""
        return [name for name in self._suspects if isinstance(name, int)]

    def is_aside(self, name: Name) -> bool:
        return name in self._suspects and self._suspects[name].is_aside

    def begin(self) -> None:
        """A new connection: what was put off on the last one may be taken on this. So may retained topics that were set aside,
        unless one of them has just ended the last: the broker may be another one by now.
        """
        self._answered = False
        for name, one in self._suspects.items():
            if one.code:
                one.due_s = self._now_s()
            elif isinstance(name, str) and not self._ended_by_trial:
                one.due_s = min(one.due_s, self._now_s() + _AGAIN_S)
        self._ended_by_trial = False

    def due(self, idle: bool) -> Sent | None:
        """One that was set aside and may be tried again now, alone. `idle`: nothing else may be sent now."""
        topics = idle or (self._answered and self._since_trial >= _BETWEEN_TOPICS)
        rows = idle or (self._answered and self._since_trial >= _BETWEEN)
        now_s = self._now_s()
        ready = [
            one.sent
            for one in self._suspects.values()
            if one.is_aside and one.due_s <= now_s and (topics if isinstance(one.sent.name, str) else rows)
        ]
        return min(ready, key=lambda sent: (isinstance(sent.name, int), str(sent.name).zfill(20)), default=None)

    def next_s(self) -> float | None:
        """Seconds until one that was set aside is due; None where none is."""
        due = [one.due_s for one in self._suspects.values() if one.is_aside]
        return max(0.0, min(due) - self._now_s()) if due else None

    def tried(self) -> None:
        """One that was set aside is on its way."""
        self._since_trial = 0

    def accuse(self, flying: Sequence[Sent], *, is_silent: bool = False) -> list[Sent]:
        """The broker hung up, or fell silent, with these unanswered. The guilty, which only a row can be."""
        self._ended_by_trial = any(self.is_aside(sent.name) for sent in flying)
        if len(flying) != 1:
            for sent in flying:
                self._suspects.setdefault(sent.name, Suspect(sent))
            return []
        (sent,) = flying
        one = self._suspects.setdefault(sent.name, Suspect(sent))
        if not is_silent and self._now_s() - sent.at_s > _SOON_S:
            return []
        one.is_silent = is_silent
        self._killed[sent.name] += 1
        for other in self._suspects.values():
            if other is not one:
                other.others_killed, other.rounds = True, 0
        return [sent] if self._strike(one) else []

    def _strike(self, one: Suspect) -> bool:
        """Whether that is the proof."""
        one.strikes += not (self.path and one.strikes >= _PATH_STRIKES)
        if one.is_aside:
            one.rounds = one.rounds + 1 if one.is_answered_for and not one.others_killed else 0
        one.is_answered_for = one.others_killed = False
        one.due_s = self._now_s() + one.pause_s()
        if one.rounds >= _ROUNDS and len(one.witnesses) >= _WITNESSES and isinstance(one.sent.name, int) and not one.sent.is_gap:
            self.acquit(one.sent.name)
            return True
        if one.strikes >= ASIDE_STRIKES or self._killed.total() > ASIDE_STRIKES:
            self._set_aside(one)
        return False

    def unanswered(self, sent: Sent) -> None:
        """Others that were sent with it or later were acknowledged, and it was not."""
        one = self._suspects.setdefault(sent.name, Suspect(sent))
        one.unanswered += 1
        self._ended_by_trial = self._ended_by_trial or one.is_aside
        if one.unanswered >= _UNANSWERED:
            one.due_s = self._now_s() + min(_LONGEST_PAUSE_S, 20.0 * 2 ** min(one.unanswered, 20))
            self._set_aside(one)

    def put_off(self, sent: Sent, code: int) -> None:
        """The broker said "not now" to it again and again, while others were acknowledged."""
        one = self._suspects.setdefault(sent.name, Suspect(sent))
        one.code = code
        one.put_off += 1
        one.due_s = self._now_s() + min(_LONGEST_PAUSE_S, 0.5 * 2 ** min(one.put_off, 20))
        self._set_aside(one)

    def acknowledged(self, sent: Sent) -> None:
        """With success: it is no suspect, and a witness against others of its topic that are not larger."""
        was_path = self.path
        self._answered = True
        self._since_trial += 1
        self._killed.clear()
        self._suspects.pop(sent.name, None)
        for one in self._suspects.values():
            if was_path:  # nothing is proved, and what was set aside meanwhile is tried soon
                one.due_s = min(one.due_s, self._now_s() + _AGAIN_S)
                one.is_aside = one.is_aside and isinstance(one.sent.name, int)  # a topic at once
            elif one.sent.topic == sent.topic and one.sent.size <= sent.size:
                one.is_answered_for = True
                one.witnesses.add(sent.name)

    def hurry(self, topic: str) -> None:
        """A retained topic has another value, which may be taken: it is tried soon."""
        if one := self._suspects.get(topic):
            soon_s = _NEW_VALUE_S if one.strikes < _TOPIC_STRIKES else _NEW_VALUE_LATE_S
            one.due_s = min(one.due_s, self._now_s() + soon_s)

    def acquit(self, name: Name) -> None:
        """It was given up, or has another value now."""
        self._suspects.pop(name, None)

    def _set_aside(self, one: Suspect) -> None:
        if one.is_aside or sum(other.is_aside for other in self._suspects.values()) < _MOST_ASIDE:
            one.is_aside = True
