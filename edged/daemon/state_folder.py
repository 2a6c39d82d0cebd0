"""What lies in the state folder, looked at once when edged starts: what is damaged is moved aside, told, and done without.

And whether it still is this daemon's, looked at for as long as it runs.
"""

import contextlib
import logging
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

from pydantic import ValidationError

from edged.delivery.announced import FILE as ANNOUNCED
from edged.delivery.announced import load_known
from edged.errors import EdgedError, ReadError, RunningError
from edged.faults import StandingFault, to_standing
from edged.models.fingerprints import load_prints
from edged.models.measurements import load_pages
from edged.process.control import Control
from edged.rollout.last_good import load_pair
from edged.rollout.override import load_override_file, load_tuned_file
from edged.system.documents import read_json
from edged.system.files import PRIVATE, SHARED, put_aside
from edged.system.lock import holder, look_after

log = logging.getLogger("edged")

_LISTED = 1000  # files of one folder


def tidy(state_folder: Path) -> tuple[str, ...]:
    """Move damaged files aside and take back rights that were given too freely. A sentence for each file; never raises.

    Models and their cards stay where they are: the store names those that can't be used. The outbox mends itself.
    """
    told = [sentence for name in ("models", "last_good") if (sentence := _check_folder(state_folder / name))]
    for name, load in _FILES.items():
        path = state_folder / name
        try:
            load(path)
        except (EdgedError, ValidationError) as error:
            if not (isinstance(error, ReadError) and error.is_absent):
                told.append(_move(path, error.why if isinstance(error, ReadError) else "is not what edged wrote"))
    for path, mode in _rights(state_folder):
        _close(path, mode)
    return tuple(told)


class Hold:
    """The lock and the door of a folder that may be taken away while edged runs. Thread: the event loop's.

    Where another edged was quicker, this one goes on: what it decides still has to be sent, and only its operator knows which
    of the two is meant. It leaves the other's lock and door alone, says so, and takes them back when that one ends.
    """

    def __init__(self, folder: Path, control: Control) -> None:
        self._folder, self._control = folder, control
        self.fault: StandingFault | None = None  # why another edged could use the folder beside this one

    @property
    def faults(self) -> list[StandingFault]:
        return [fault for fault in (self.fault, self._control.fault) if fault is not None]

    async def look(self) -> None:
        """Must be called now and then."""
        other = ""
        try:
            reason = look_after(self._folder)
        except RunningError:
            reason = other = f"another edged ({holder(self._folder) or 'process unknown'}) has it"
        fault = to_standing("state_folder", path=str(self._folder), reason=reason) if reason else None
        if fault is not None and fault != self.fault:
            log.warning("%s", fault.sentence)
        self.fault = fault
        if other and not self._control.is_there:
            self._control.fail(other)
        elif not self._control.is_there:
            await self._control.start()


def _load_starts(path: Path) -> None:
    found = read_json(path)
    if not (isinstance(found, dict) and isinstance(found.get("unfinished"), int)):
        raise ReadError(path, "is not what edged wrote")


_FILES: dict[str, Callable[[Path], object]] = {
    "override.json": load_override_file,
    "tuned.json": load_tuned_file,
    "starts.json": _load_starts,
    "measurements.json": load_pages,
    "fingerprints.json": load_prints,
    "last_good/pair.json": load_pair,
    ANNOUNCED: load_known,
}


def _check_folder(path: Path) -> str:
    return _move(path, "is no folder") if os.path.lexists(path) and not path.is_dir() else ""


def _move(path: Path, why: str) -> str:
    aside = put_aside(path)
    return f"{path}: {why}; {f'it is kept as {aside.name}' if aside else 'it cannot be moved away'}, and edged does without it"


def _rights(state_folder: Path) -> Iterator[tuple[Path, int]]:
    """Files of ours, with the most that others may do with them. Events, and copies of the config, are nobody else's."""
    for pattern, mode in (("outbox.db*", PRIVATE), ("*.json*", PRIVATE), ("last_good/*", PRIVATE), ("models/*", SHARED)):
        with contextlib.suppress(OSError):
            for number, path in enumerate(state_folder.glob(pattern)):
                if number == _LISTED:
                    break
                yield path, SHARED if path.name.startswith(("measurements.json", "fingerprints.json")) else mode


def _close(path: Path, mode: int) -> None:
    """Take away what goes beyond `mode`, of a regular file of ours; another's stays as it is."""
    with contextlib.suppress(OSError):
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            found = os.fstat(handle)
            if stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid() and stat.S_IMODE(found.st_mode) & ~mode:
                os.fchmod(handle, stat.S_IMODE(found.st_mode) & mode)
        finally:
            os.close(handle)
