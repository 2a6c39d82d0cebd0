"""The tie between a child process and its parent: the child does not outlive it."""

import ctypes
import os
import signal

_PR_SET_PDEATHSIG = 1


def die_with(parent: int) -> None:
    """SIGKILL for this process when `parent`, or its thread that forked, ends, even while this one hangs in C (prctl(2)).

    Called first by the child. Ends the process at once where the parent is already gone.
    """
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it was gone before the signal was armed
        os._exit(1)
