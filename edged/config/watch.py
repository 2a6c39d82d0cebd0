"""Whether the config file was written: the one door to inotify.

The folder is watched and not the file, because editors write another file and rename it; and so is every folder and every
link on the way to it, because each of them can be replaced: a folder renamed, a link flipped, Kubernetes' `..data`. After
each such event the way is walked anew.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from pathlib import Path

from inotify_simple import INotify, flags

from edged.config.source import load_stamp
from edged.faults import StandingFault, to_standing
from edged.system.files import Stamp

log = logging.getLogger("edged")

QUIET_S = 0.2  # an editor may write several times
_AGAIN_S = 5.0  # before a way that can't be watched is tried again
_MOST_LINKS = 40  # as the kernel has it; then it is a circle
_MASK = flags.CLOSE_WRITE | flags.MOVED_TO | flags.MOVED_FROM | flags.CREATE | flags.DELETE | flags.DELETE_SELF | flags.MOVE_SELF


class ConfigWatch:
    """Thread: the event loop's. `on_change` is called once the file was left alone for a moment. `fault`: why it is not watched."""

    def __init__(self, path: Path, on_change: Callable[[], None], read_at: Stamp = ()) -> None:
        """read_at: the file's stamp before it was read, which may be seconds ago; (): nobody knows."""
        self._path, self._on_change, self._read_at = path, on_change, read_at
        self._inotify: INotify | None = None
        self._names: dict[int, set[str]] = {}  # by watch: the entries of that folder that are on the way
        self._timer: asyncio.TimerHandle | None = None
        self._retry: asyncio.TimerHandle | None = None
        self.fault: StandingFault | None = None

    def start(self) -> None:
        """Where it can't watch, that is a fault: SIGHUP and `edged reload` work all the same."""
        self._loop = asyncio.get_running_loop()
        self._begin()
        if self._read_at and load_stamp(self._path) != self._read_at:
            self._changed()

    def _begin(self) -> None:
        try:
            self._inotify = INotify(nonblocking=True)
        except OSError as error:
            self._fail(error)
            return
        self._loop.add_reader(self._inotify.fileno(), self._read)
        self._walk()

    def close(self) -> None:
        for timer in (self._timer, self._retry):
            if timer is not None:
                timer.cancel()
        if self._inotify is not None:
            self._loop.remove_reader(self._inotify.fileno())
            self._inotify.close()

    def _walk(self) -> None:
        """Watch every folder in which something could be replaced that leads to the file."""
        assert self._inotify is not None
        old, self._names, failed = self._names, {}, None
        for folder, name in to_steps(self._path.absolute()):
            try:
                watch = self._inotify.add_watch(folder, _MASK)
            except OSError as error:
                failed = error  # what is above of it is watched, and tells when it is there again
                continue
            self._names.setdefault(watch, set()).add(name)
        for watch in old.keys() - self._names.keys():
            with contextlib.suppress(OSError):  # the kernel has ended it
                self._inotify.rm_watch(watch)
        if failed is None:
            self.fault = None
        else:
            self._fail(failed)
            self._retry = self._loop.call_later(_AGAIN_S, self._walk_again)

    def _walk_again(self) -> None:
        before = self.fault
        self._walk()
        if before is not None and self.fault is None:
            self._changed()

    def _fail(self, error: OSError) -> None:
        fault = to_standing("not_watched", path=str(self._path), reason=error.strerror or str(error))
        if fault != self.fault:
            log.warning("%s", fault.sentence)
        self.fault = fault

    def _read(self) -> None:
        assert self._inotify is not None
        events = self._inotify.read(timeout=0)
        if any(self._concerns(event.wd, event.name, event.mask) for event in events):
            if self._retry is not None:
                self._retry.cancel()
            self._walk()
            self._changed()

    def _concerns(self, watch: int, name: str, mask: int) -> bool:
        is_gone = bool(mask & (flags.DELETE_SELF | flags.MOVE_SELF)) and watch in self._names
        return name in self._names.get(watch, ()) or bool(mask & flags.Q_OVERFLOW) or is_gone

    def _changed(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(QUIET_S, self._on_change)


def to_steps(path: Path) -> list[tuple[Path, str]]:
    """(folder, entry) for each entry on the way to an absolute path, through every link on it; the file itself last."""
    steps: list[tuple[Path, str]] = []
    here, ahead, links = Path("/"), list(path.parts[1:]), 0
    while ahead:
        name = ahead.pop(0)
        if name == "..":
            here = here.parent
            continue
        steps.append((here, name))
        there = here / name
        try:
            target = there.readlink()
        except OSError:  # no link, or not there
            here = there
            continue
        links += 1
        if links > _MOST_LINKS:
            break
        if target.is_absolute():
            here = Path("/")
            target = target.relative_to("/")
        ahead = [*target.parts, *ahead]
    return list(dict.fromkeys(steps))
