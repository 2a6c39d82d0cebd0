"""The log, written by a thread of its own: a stderr that nobody drains stops no part of the daemon.

Lines wait in a queue of bounded length; what does not fit is counted, and the count is written when there is room again.
"""

import logging
import queue
import sys
import threading
from logging.handlers import QueueHandler
from typing import TextIO

from edged.system.text import PrintableFormatter

_MOST_WAITING = 1000
_CLOSE_S = 1.0
FORMAT = "%(levelname)s %(message)s"


class QueuedLog(QueueHandler):
    """Thread: any. `dropped`: lines that found no room, since the start."""

    def __init__(self, stream: TextIO, most_waiting: int = _MOST_WAITING) -> None:
        self._lines: queue.Queue[logging.LogRecord | None] = queue.Queue(most_waiting)
        super().__init__(self._lines)
        self.setFormatter(PrintableFormatter(FORMAT))
        self.dropped = 0
        self._told = 0
        self._stream = stream
        self._thread = threading.Thread(target=self._write, name="log", daemon=True)
        self._thread.start()

    def enqueue(self, record: logging.LogRecord) -> None:
        try:
            self._lines.put_nowait(record)
        except queue.Full:
            self.dropped += 1

    def _write(self) -> None:
        while (record := self._lines.get()) is not None:
            self._put(f"{record.getMessage()}\n")
            if self._lines.empty():
                self._tell_dropped()
        self._tell_dropped()

    def _tell_dropped(self) -> None:
        dropped = self.dropped
        if dropped > self._told:
            self._put(f"WARNING {dropped - self._told} lines of the log were dropped: nobody read it\n")
            self._told = dropped

    def _put(self, text: str) -> None:
        try:
            self._stream.write(text)
            self._stream.flush()
        except (OSError, ValueError):  # nobody is there any more
            self.dropped += 1

    def close(self) -> None:
        """Write what waits, as far as somebody reads it."""
        try:
            self._lines.put_nowait(None)
        except queue.Full:
            return
        self._thread.join(_CLOSE_S)
        super().close()


def begin_log(level: int) -> QueuedLog | None:
    """To stderr from now on; None where there is no stderr."""
    if sys.stderr is None:
        return None
    handler = QueuedLog(sys.stderr)
    logging.basicConfig(level=level, handlers=[handler], force=True)
    return handler


def dropped_lines() -> int:
    """Of the log that was begun."""
    return sum(handler.dropped for handler in logging.getLogger().handlers if isinstance(handler, QueuedLog))
