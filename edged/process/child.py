"""The vision process as its parent has it: forked, with a pipe to it, a descriptor that tells its end, and what it prints.

Imported before nearly everything else, so that the vision process imports its libraries while the courier imports its own.
"""

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from edged.process.pipe import Pipe
from edged.process.protocol import FROM_VISION, TO_VISION

_KILLED_S = 0.5


class Child:
    """A process that was forked. ended_fd: readable once it has ended; stderr_fd: what it prints."""

    def __init__(self, popen: subprocess.Popen[bytes]) -> None:
        """Raises OSError, and then the process has been ended."""
        assert popen.stderr is not None
        self._popen, self._stderr = popen, popen.stderr
        self.pid, self.stderr_fd = popen.pid, popen.stderr.fileno()
        try:
            self.ended_fd = os.pidfd_open(popen.pid)
        except OSError:  # no descriptor is left: nobody could wait for it
            popen.kill()
            popen.wait()
            popen.stderr.close()
            raise

    def kill(self) -> None:
        self._popen.kill()

    def poll(self) -> int | None:
        """Its exit code, below 0 for the signal that it died of; None while it lives."""
        return self._popen.poll()

    def wait(self, most_s: float) -> None:
        """Until it has ended; one that hangs in the kernel is not waited for longer."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._popen.wait(most_s)

    def close(self) -> None:
        os.close(self.ended_fd)
        self._stderr.close()


def fork_vision(theirs: Pipe) -> Child:
    """Start the vision process with its end of the pipe. Raises OSError."""
    command = [sys.executable, "-P", "-m", "edged.vision", str(os.getpid()), str(theirs.fileno())]
    nowhere = subprocess.DEVNULL  # what it prints to stdout would stand in the log as our own words
    return Child(subprocess.Popen(command, pass_fds=(theirs.fileno(),), stdin=nowhere, stdout=nowhere, stderr=subprocess.PIPE))


@dataclass(frozen=True, slots=True)
class BegunVision:
    """A vision process, and our end of the pipe to it. told: what it was told already, as kind and fields."""

    child: Child
    pipe: Pipe
    told: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def tell(self, kind: str, fields: Mapping[str, Any]) -> None:
        """Before anybody listens to it. What it does not take is told again by whoever does."""
        if self.pipe.try_send(kind, fields):
            self.told.append((kind, dict(fields)))

    def end(self) -> None:
        """For one that nobody listens to yet. May be called whatever became of it."""
        self.pipe.close()
        if self.child.poll() is None:
            self.child.kill()
            self.child.wait(_KILLED_S)


def begin_vision(fork: Callable[[Pipe], Child] = fork_vision) -> BegunVision:
    """Thread: the main one, for the death signal follows the thread that forks. Raises OSError."""
    ours, theirs = Pipe.pair(FROM_VISION, TO_VISION)
    try:
        return BegunVision(fork(theirs), ours)
    except OSError:
        ours.close()
        raise
    finally:
        theirs.close()
