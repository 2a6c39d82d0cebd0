"""`python -m edged.vision PARENT_PID PIPE_FD`: started by the courier only, and dies with it."""

import os
import resource
import signal
import sys
import threading

from edged.process.lifeline import die_with
from edged.process.limits import limit
from edged.process.phases import START

MOST_BYTES = 768 << 20  # that this process may write to, stacks and all; it needs 300 MB, with pictures of 48 million pixels 600


def end_with_thread(args: threading.ExceptHookArgs) -> None:
    """A thread that dies of a bug, ours or a camera library's, takes the process along: half of it is worth nothing."""
    sys.excepthook(args.exc_type, args.exc_value or args.exc_type(), args.exc_traceback)
    sys.stderr.flush()
    os._exit(1)


def main() -> None:
    parent, pipe_fd = int(sys.argv[1]), int(sys.argv[2])
    die_with(parent)
    START.ended("interpreter")
    limit(resource.RLIMIT_DATA, MOST_BYTES)  # a camera may send without end
    for number in (signal.SIGINT, signal.SIGHUP):  # Ctrl-C and a hangup reach the whole terminal; the courier decides
        signal.signal(number, signal.SIG_IGN)
    threading.excepthook = end_with_thread
    from edged.process.pipe import Pipe
    from edged.vision.process import Vision

    START.ended("libraries")

    Vision(Pipe.from_fd(pipe_fd)).run()
    os._exit(0)  # threads may hang inside a camera's library; there is nothing to save here


if __name__ == "__main__":
    main()
