"""The outbox: durable messages on their way. A thread of its own writes them down, several with one commit, because a
memory card takes up to half a second for one.
"""

import asyncio
import logging
import queue
import threading
import time
from collections.abc import Callable
from typing import Any, Literal

from edged.delivery.messages import Events
from edged.delivery.outbox.failover import Shelves
from edged.delivery.outbox.letters import Letters
from edged.delivery.outbox.queue import Handed, OutboxQueue
from edged.errors import EdgedError

log = logging.getLogger("edged")

Durability = Literal["memory", "balanced", "strict"]
_COMMIT_S, _COMMIT_CHANGES = 0.25, 64  # whichever comes first
_KEEP_UP_S = 2.0


class Outbox:
    """Thread: the event loop's, after `start`. The callbacks run there too."""

    def __init__(self, ledger: OutboxQueue, shelves: Shelves, durability: Durability, told: list[str]) -> None:
        """`told`: sentences about what had to be done to open it."""
        self._ledger, self._shelves, self._durability, self._told = ledger, shelves, durability, told
        self._asked: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._write, name="outbox", daemon=True)
        self._counters = ledger.counters()
        self._reason = shelves.reason
        self._put_last = ("", 0)
        self.committed: tuple[str, int] = ("", 0)  # boot and seq of the last event that is as safe as it gets

    def start(self, on_change: Callable[[], None]) -> None:
        """`on_change` is called on the running loop when there may be something to hand out."""
        self._loop, self._on_change = asyncio.get_running_loop(), on_change
        self._thread.start()
        self._call(on_change)

    def put(self, body: str, happened_ns: int) -> None:
        """Database an event; it is handed out when it is numbered (with `strict`: when it is on the disk)."""
        index = self._shelves.tail.accept(body, happened_ns)
        self._ask(lambda: self._put(index, body, happened_ns))

    def hand_out(
        self, most: int, most_late: int, passed_over: frozenset[int | str], take: Callable[[list[Handed], int], None]
    ) -> None:
        """Ask for the next rows but those that are passed over; `take` gets them, and how many more wait."""
        self._ask(lambda: self._hand_out(lambda: self._ledger.hand_out(most, most_late, passed_over), take))

    def hand_out_one(self, n: int, take: Callable[[list[Handed], int], None]) -> None:
        """Ask for this row; `take` gets it, or nothing when it does not wait any more."""
        self._ask(lambda: self._hand_out(lambda: self._ledger.hand_out_one(n), take))

    def acknowledged(self, n: int) -> None:
        self._ask(lambda: self._ledger.acknowledged(n))

    def bury(self, n: int, reason: str) -> None:
        self._ask(lambda: self._ledger.bury(n, reason))

    def release(self, n: int | None = None) -> None:
        """What is out (or one of it) goes back, and will be handed out again."""
        self._ask(lambda: self._ledger.release(n))

    def ask(self, question: Callable[["Outbox"], Any], take: Callable[[Any, EdgedError | None], None]) -> None:
        """`take` gets what `question` answers, which is asked on the outbox's thread, or the EdgedError that it raises."""
        self._ask(lambda: self._answer(question, take))

    # for `ask`, on the outbox's thread

    def replay(self, since_s: float) -> int:
        return self._ledger.replay(since_s)

    def gone(self, numbers: list[int]) -> list[int]:
        """Those of the rows that are not owed any more."""
        return [n for n in numbers if not self._ledger.waits(n)]

    def answer(self, do: str, which: str, aside: dict[str, int]) -> dict[str, Any]:
        """list, retry or discard. `aside`: the n of the events that are set aside, by id. Raises EdgedError."""
        letters = Letters(self._ledger, self._shelves)
        if do == "list":
            return {"dead": letters.all(), "dead_count": letters.count(), "set_aside": [], "waiting": self._ledger.waiting}
        if do not in ("retry", "discard") or not which:
            raise EdgedError("outbox needs list, retry or discard, and which: an id or all")
        count = letters.retry(which) if do == "retry" else letters.discard(which, aside)
        self._commit()
        return {"count": count}

    def close_unstarted(self) -> None:
        """Close it where no thread was started."""
        self._ledger.end()
        self._commit()
        self._shelves.close()

    def ask_writer(self, answer: Callable[[], None]) -> None:
        """`answer` is called when the writer comes to it: the proof that it works, and the disk too."""
        self._ask(lambda: self._call(answer))

    @property
    def oldest_s(self) -> float:
        """Age of the oldest event that waits, as of two seconds ago; 0 where none waits."""
        return self._ledger.oldest_s if self._counters.queued else 0.0

    @property
    def counters(self) -> Events:
        """As of the last change; always balanced."""
        return self._counters

    @property
    def degraded(self) -> list[str]:
        return [*self._told, *([self._reason] if self._reason else [])]

    def close(self, deadline_s: float) -> None:
        """Commit and close the file. Waits at most so long for a disk that hangs."""
        if self._thread.is_alive():
            self._asked.put(None)
            self._thread.join(deadline_s)
        if self._thread.is_alive():
            log.warning("the outbox could not be closed within %g s: the disk does not answer", deadline_s)

    def _ask(self, change: Callable[[], None]) -> None:
        self._asked.put(change)

    def _call(self, function: Callable[..., None], *values: Any) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(function, *values)

    # the writer's thread

    def _write(self) -> None:
        try:
            self._write_until_closed()
        except BaseException as error:
            self._call(self._raise, error)
            raise

    def _raise(self, error: BaseException) -> None:
        raise error

    def _write_until_closed(self) -> None:
        commit_s: float | None = None
        keep_up_s = time.monotonic() + _KEEP_UP_S
        while True:
            wait_s = max(0.0, min(keep_up_s, commit_s or keep_up_s) - time.monotonic())
            try:
                change = self._asked.get(timeout=wait_s)
            except queue.Empty:
                change = _nothing
            if change is None:
                break
            change()
            now_s = time.monotonic()
            if now_s >= keep_up_s:
                self._ledger.keep_up()
                self._reason = self._shelves.reason
                keep_up_s = now_s + _KEEP_UP_S
            if self._shelves.uncommitted and commit_s is None:
                commit_s = now_s + _COMMIT_S
            if commit_s and (now_s >= commit_s or self._shelves.uncommitted >= _COMMIT_CHANGES):
                self._commit()
                commit_s = None
            self._counters = self._ledger.counters()
        self._ledger.end()
        self._commit()
        self._counters = self._ledger.counters()
        self._shelves.close()

    def _commit(self) -> None:
        self._shelves.commit()
        self._reason = self._shelves.reason
        self.committed = self._put_last

    def _put(self, index: int, body: str, happened_ns: int) -> None:
        self._shelves.tail.number(index)
        row = self._ledger.put(body, happened_ns)
        self._put_last = (row.boot, row.seq)
        if self._durability == "strict":
            self._commit()
        self._call(self._on_change)

    def _hand_out(self, ask: Callable[[], list[Handed]], take: Callable[[list[Handed], int], None]) -> None:
        handed = ask()
        self._call(take, handed, self._ledger.rows_left)

    def _answer(self, question: Callable[["Outbox"], Any], take: Callable[[Any, EdgedError | None], None]) -> None:
        try:
            answer = question(self)
        except EdgedError as error:
            self._call(take, None, error)
        else:
            self._call(take, answer, None)
        self._call(self._on_change)


def _nothing() -> None:
    """Asked by nobody: time for a commit, or for upkeep."""
