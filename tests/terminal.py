"""A command in a terminal of its own: of any width, with a person who answers its questions."""

import contextlib
import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Sequence
from pathlib import Path

END, INTERRUPT = b"\x04", b"\x03"  # what Ctrl-D and Ctrl-C send
_DEADLINE_S = 60.0
_AGAIN_S = 5.0


def _as_a_login_does() -> None:
    """The terminal is the process's own, and Ctrl-C is heard, also where the tests run in the background of a script."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def in_terminal(
    *arguments: object, columns: int = 80, answers: Sequence[tuple[str, bytes]] = (), cwd: Path | None = None
) -> tuple[int, str]:
    """The exit code of `edged ARGUMENTS`, and all that the terminal showed. answers: what is typed once that text was shown."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    command = [sys.executable, "-m", "edged", *map(str, arguments)]
    environment = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
    running = subprocess.Popen(
        command,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        cwd=cwd,
        env=environment,
        start_new_session=True,
        preexec_fn=_as_a_login_does,
    )
    os.close(theirs)
    killer = threading.Timer(_DEADLINE_S, running.kill)
    killer.start()
    said, seen, left, typed = b"", 0, list(answers), b""
    try:
        with contextlib.suppress(OSError):  # the terminal's end
            while True:
                # one that comes just before the wait for an answer begins does not end that wait: a person presses again
                if typed == INTERRUPT and not select.select([ours], [], [], _AGAIN_S)[0]:
                    os.write(ours, INTERRUPT)
                    continue
                if not (part := os.read(ours, 4096)):
                    break
                said += part
                while left and (at := said.find(left[0][0].encode(), seen)) >= 0:
                    seen = at + len(left[0][0].encode())
                    typed = left.pop(0)[1]
                    os.write(ours, typed)
        code = running.wait()
    finally:
        killer.cancel()
        os.close(ours)
    assert code != -signal.SIGKILL, f"it waits: {said.decode()}"
    assert not left, f"it never said {left[0][0]}: {said.decode()}"
    return code, said.decode().replace("\r\n", "\n")
