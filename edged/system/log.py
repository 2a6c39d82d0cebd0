"""The log, written by a thread of its own: a stderr that nobody drains stops no part of the daemon.

Lines wait in a queue of bounded length; what does not fit is counted, and the count is written when there is room again.
"""

import logging
import os
import queue
import sys
import threading

from edged.system.text import PrintableFormatter

_MOST_WAITING = 1000
_CLOSE_S = 1.0
FORMAT = "%(levelname)s %(message)s"


class QueuedLog(logging.Handler):
    """Thread: any. `dropped`: lines that found no room, since the start.

    It writes to the file itself: a stream of Python's has a lock, which whoever writes to a file that takes nothing never gives
    back, and the interpreter takes it once more at its end.
    """

    def __init__(self, handle: int, most_waiting: int = _MOST_WAITING) -> None:
        self._lines: queue.Queue[str | None] = queue.Queue(most_waiting)
        super().__init__()
        self.setFormatter(PrintableFormatter(FORMAT))
        self.dropped = 0
        self._told = 0
        self._handle = handle
        self._thread = threading.Thread(target=self._write, name="log", daemon=True)
        self._thread.start()

    def emit(self, record: logging.LogRecord) -> None:
        """Formatted where it is said: what it is about may change before it is written."""
        try:
            self._lines.put_nowait(self.format(record))
        except queue.Full:
            self.dropped += 1
        except (TypeError, ValueError, KeyError):  # a library's words that do not fit together
            self.handleError(record)

    def _write(self) -> None:
        while (line := self._lines.get()) is not None:
            self._put(f"{line}\n")
            if self._lines.empty():
                self._tell_dropped()
        self._tell_dropped()

    def _tell_dropped(self) -> None:
        dropped = self.dropped
        if dropped > self._told:
            self._put(f"WARNING {dropped - self._told} lines of the log were dropped: nobody read it\n")
            self._told = dropped

    def _put(self, text: str) -> None:
        left = text.encode(errors="backslashreplace")
        try:
            while left:
                left = left[os.write(self._handle, left) :]
        except OSError:  # nobody is there any more
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
    handler = QueuedLog(sys.stderr.fileno())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    return handler


LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


def set_level(name: str) -> str:
    """Log from this level on; what it was before. Raises KeyError for what is no level."""
    root = logging.getLogger()
    before = logging.getLevelName(root.level).lower()
    root.setLevel(LEVELS[name])
    return before


def dropped_lines() -> int:
    """Of the log that was begun."""
    return sum(handler.dropped for handler in logging.getLogger().handlers if isinstance(handler, QueuedLog))
