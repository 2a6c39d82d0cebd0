"""Whether the config file was written: the one door to inotify.

The folder is watched and not the file, because editors write another file and rename it; and the folder of what a link
leads to as well.
"""

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path

from inotify_simple import INotify, flags

log = logging.getLogger("edged")

QUIET_S = 0.2  # an editor may write several times
_MASK = flags.CLOSE_WRITE | flags.MOVED_TO | flags.MOVED_FROM | flags.DELETE


class ConfigWatch:
    """Thread: the event loop's. `on_change` is called once the file was left alone for a moment."""

    def __init__(self, path: Path, on_change: Callable[[], None]) -> None:
        self._path, self._on_change = path, on_change
        self._inotify: INotify | None = None
        self._names: dict[int, set[str]] = {}
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> str:
        """A sentence when it can't watch: SIGHUP and `edged reload` work all the same."""
        self._loop = asyncio.get_running_loop()
        try:
            self._inotify = INotify(nonblocking=True)
            for path in {self._path.absolute(), self._path.resolve()}:
                watch = self._inotify.add_watch(path.parent, _MASK)
                self._names.setdefault(watch, set()).add(path.name)
        except OSError as error:
            return f"{self._path} is not watched ({error.strerror}); use 'edged reload' after a change"
        self._loop.add_reader(self._inotify.fileno(), self._read)
        return ""

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._inotify is not None:
            self._loop.remove_reader(self._inotify.fileno())
            self._inotify.close()

    def _read(self) -> None:
        assert self._inotify is not None
        events = self._inotify.read(timeout=0)
        if any(event.name in self._names.get(event.wd, ()) or event.mask & flags.Q_OVERFLOW for event in events):
            if self._timer is not None:
                self._timer.cancel()
            self._timer = self._loop.call_later(QUIET_S, self._on_change)
