"""What is on its way to the broker and not yet answered, and what an answer, or none, means for it.

It decides and sends nothing: every method returns what became of which message, and the dispatch carries it out.
"""

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from edged.delivery.broker.poison import Name, Sent, Suspects
from edged.delivery.broker.readback import Echoes

# reason codes that no second attempt changes: not authorized, topic name invalid, packet too large, payload format invalid
REFUSALS = {0x87: "not authorized", 0x90: "topic name invalid", 0x95: "packet too large", 0x99: "payload format invalid"}
SUCCESS = (0x00, 0x10)  # 0x10: taken, and nobody has subscribed
ANSWER_S = 20.0  # a message that has no answer after so long gets a new connection
NEVER_BACK = "acknowledged, but never passed on: too large for the broker"
_AGAIN_S, _LONGEST_AGAIN_S = 0.5, 30.0
_PUT_OFF_STRIKES = 3  # "not now" in a row, until the others go past it
_MOST_REMEMBERED = 1000


class Became(Enum):
    DELIVERED = "delivered"
    REFUSED = "refused"  # by a reason code that no second attempt changes
    GUILTY = "guilty"  # proved to make the broker hang up
    AGAIN = "again"  # to be sent again when it may be


@dataclass(frozen=True, slots=True)
class SendOutcome:
    sent: Sent
    became: Became
    why: str = ""


class InFlight:
    """Of one broker, over all connections to it. Thread: the event loop's. `now_s` is monotonic."""

    def __init__(self, now_s: Callable[[], float] = time.monotonic) -> None:
        self._now_s = now_s
        self.suspects = Suspects(now_s)
        self._window = 0
        self._flying: dict[int, Sent] = {}  # by message number
        self._trial: Name | None = None  # one that was set aside and is tried alone
        self._echoes, self._reads_back = Echoes(now_s), False  # True: acknowledgements can't be believed
        self._unechoed: dict[Name, Sent] = {}  # acknowledged, and not yet heard again
        self._answered_s = 0.0  # when the last message that was acknowledged had been sent
        self._again_s, self._not_before_s = _AGAIN_S, 0.0
        self._put_off: dict[Name, int] = {}
        self.put_off, self.put_off_code = 0, 0  # in a row, of rows; and the last code
        self._silent: Counter[bool] = Counter()  # messages without an answer, the last time that some had none; True: rows
        self.silent_s = 0.0  # for how long that was

    def begin(self, window: int, *, reads_back: bool) -> None:
        """A new connection. `reads_back`: what is acknowledged must come back, too."""
        self._window = window
        self._clear()
        self._echoes.begin()
        self._reads_back = reads_back
        self._again_s, self._not_before_s = _AGAIN_S, 0.0
        self.suspects.begin()

    def end(self, *, by_broker: bool, is_silent: bool = False) -> list[SendOutcome]:
        """The connection is over. The guilty; everything else that was on its way must be sent again.

        `is_silent`: nothing came any more. Mostly that is the network, but one that loses large packets is silent too.
        """
        flying = list(self._flying.values())
        if is_silent and flying:
            self._note_silent(flying)
        self._clear()
        guilty = self.suspects.accuse(flying, is_silent=is_silent) if (by_broker or is_silent) and flying else []
        return [SendOutcome(sent, Became.GUILTY, "it ends the connection, and others of its size do not") for sent in guilty]

    def _note_silent(self, late: list[Sent]) -> None:
        kinds = {isinstance(sent.name, int) for sent in late}
        for is_row in kinds:
            self._silent[is_row] = sum(isinstance(sent.name, int) == is_row for sent in self._flying.values())
        self.silent_s = round(max(self._now_s() - sent.at_s for sent in late))

    def _clear(self) -> None:
        self._flying.clear()
        self._unechoed.clear()
        self._trial, self._answered_s = None, 0.0

    # sending

    @property
    def empty(self) -> bool:
        return not self._flying and not self._unechoed

    @property
    def room(self) -> int:
        """Messages that may be sent now."""
        if self._trial is not None:
            return 0
        return (1 if self.suspects.any else self._window) - len(self._flying) - len(self._unechoed)

    @property
    def silent(self) -> int:
        """Messages that had no answer, until one of their kind is acknowledged: events, or all others."""
        return self._silent.total()

    def no_rows_wait(self) -> None:
        """None is owed to the broker any more: what had no answer has expired, or was given up."""
        self._silent[True] = 0

    @property
    def wait_s(self) -> float:
        """Seconds for which the broker wants no rows."""
        return max(0.0, self._not_before_s - self._now_s())

    def has(self, name: Name) -> bool:
        return any(sent.name == name for sent in self._flying.values())

    def add(self, mid: int, sent: Sent) -> None:
        """It was handed to the connection."""
        self._flying[mid] = sent
        if self.suspects.is_aside(sent.name):
            self._trial = sent.name
            self.suspects.tried()
        if self._reads_back and isinstance(sent.name, int):
            self._echoes.sent(sent.name, sent.place, sent.payload)

    # what the broker says

    def acknowledged(self, mid: int, code: int) -> list[SendOutcome]:
        sent = self._flying.pop(mid, None)
        if sent is None:
            return []
        if sent.name == self._trial:
            self._trial = None
        if code in REFUSALS and not sent.is_gap:
            self.suspects.acquit(sent.name)
            return [SendOutcome(sent, Became.REFUSED, REFUSALS[code])]
        self._answered_s = max(self._answered_s, sent.at_s)
        if code not in SUCCESS:
            return [self._not_now(sent, code)]
        is_row = isinstance(sent.name, int)
        self._silent[is_row] = 0  # a broker may answer topics and never an event: each proves only its own kind
        self._put_off.pop(sent.name, None)
        if isinstance(sent.name, int):
            self._again_s, self._not_before_s, self.put_off = _AGAIN_S, 0.0, 0
            if self._reads_back and not self._echoes.acknowledged(sent.name):
                self._unechoed[sent.name] = sent
                return self.settle()
        return [self._delivered(sent)]

    def _delivered(self, sent: Sent) -> SendOutcome:
        if isinstance(sent.name, int):
            self._echoes.forget(sent.name)
        self.suspects.acknowledged(sent)
        return SendOutcome(sent, Became.DELIVERED)

    def _not_now(self, sent: Sent, code: int) -> SendOutcome:
        """A code that puts off, or one that means nothing. Where others are taken, they go past it."""
        if len(self._put_off) > _MOST_REMEMBERED:
            self._put_off.clear()
        self._put_off[sent.name] = times = self._put_off.get(sent.name, 0) + 1
        if isinstance(sent.name, int):
            self.put_off, self.put_off_code = self.put_off + 1, code
            self._not_before_s = self._now_s() + self._again_s
            self._again_s = min(_LONGEST_AGAIN_S, self._again_s * 2)
            if times >= _PUT_OFF_STRIKES or sent.is_gap:
                self.suspects.put_off(sent, code)
        return SendOutcome(sent, Became.AGAIN, f"put off by the broker (reason code 0x{code:02x})")

    def heard(self, payload: bytes) -> list[SendOutcome]:
        """One of our own messages came back."""
        if not self._reads_back:
            return []
        self._echoes.heard(payload)
        return self.settle()

    @property
    def unsettled(self) -> bool:
        """Whether `settle` must be called again in a while."""
        return bool(self._unechoed)

    def settle(self) -> list[SendOutcome]:
        """Acknowledged messages that had to come back: those that did are delivered, those that never will are refused."""
        verdicts = []
        for n, passed in self._echoes.settled():
            if (sent := self._unechoed.pop(n, None)) is None:
                continue
            if passed:
                verdicts.append(self._delivered(sent))
                continue
            is_never_back = self._echoes.is_never_back(n)
            gone = is_never_back and not sent.is_gap
            if gone:
                self._echoes.forget(n)
            elif is_never_back:  # a gap is never given up, and does not come at once again
                self.suspects.unanswered(sent)
            verdicts.append(SendOutcome(sent, Became.REFUSED if gone else Became.AGAIN, NEVER_BACK))
        return verdicts

    def overdue(self) -> bool:
        """Whether something had no answer for too long. Then the connection must be ended; say so by `end`."""
        now_s = self._now_s()
        late = [sent for sent in self._flying.values() if now_s - sent.at_s >= ANSWER_S]
        if late:
            self._note_silent(late)
            for sent in late:
                if self._answered_s >= sent.at_s:
                    self.suspects.unanswered(sent)
        return bool(late)
