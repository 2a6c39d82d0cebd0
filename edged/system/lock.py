"""One edged for one state folder."""

import contextlib
import hashlib
import os
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

from edged.errors import RunningError


@contextlib.contextmanager
def claimed(state_folder: Path) -> Iterator[None]:
    """Hold the folder. A name in the kernel and not a file: it needs no disk, and ends with the process (unix(7)).

    Raises RunningError, which names the process that has it.
    """
    with socket.socket(socket.AF_UNIX) as held:
        try:
            held.bind(_name(state_folder))
        except OSError:
            pid = holder_pid(state_folder)
            who = f" (process {pid})" if pid else ""
            raise RunningError(f"{state_folder}: another edged{who} has this state_folder; stop it first") from None
        held.listen()
        yield


def holder_pid(state_folder: Path) -> int:
    """The process that holds the folder; 0 when none does, or it can't be told."""
    with socket.socket(socket.AF_UNIX) as asking:
        try:
            asking.setblocking(False)  # nobody accepts, so the backlog may be full
            asking.connect(_name(state_folder))
        except OSError:
            return 0
        pid, _, _ = struct.unpack("3i", asking.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")))
        return int(pid)


def _name(state_folder: Path) -> str:
    digest = hashlib.sha256(os.fsencode(state_folder.resolve())).hexdigest()  # a path may be too long for a name
    return f"\0edged:{digest}"
