"""A process that may crash, hang or eat memory in our place: started for one errand, asked, and thrown away.

Native decoders and runtimes can't be trusted with files of unknown origin; whatever such a file does to them ends here
as a `SandboxError` with its reason. The module that is started calls `begin` first.
"""

import contextlib
import os
import resource
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from edged.process.lifeline import die_with
from edged.process.limits import limit
from edged.process.pipe import NotOursError, Pipe
from edged.process.protocol import FROM_SANDBOX, TO_SANDBOX, Vocabulary

# what a process dies of that did something wrong itself
_OF_ITS_OWN = (signal.SIGSEGV, signal.SIGBUS, signal.SIGILL, signal.SIGFPE, signal.SIGABRT, signal.SIGSYS, signal.SIGTRAP)
START_LIMIT_S = 60.0  # importing OpenCV and the runtime from a slow card


class SandboxError(Exception):
    """The process is no more. how: what happened to it; number: of the signal that it died of; `str()`: for people."""

    def __init__(
        self, how: Literal["not_started", "silent", "crashed", "ended", "nonsense"], sentence: str, number: int = 0
    ) -> None:
        super().__init__(sentence)
        self.how, self.number = how, number

    @property
    def says_nothing(self) -> bool:
        """Of what was tried: the board may have been busy, or short of memory, or somebody else ended the process."""
        return self.how in ("not_started", "silent") or (self.how == "crashed" and self.number not in _OF_ITS_OWN)


class ThrowAway:
    """The asking end. Start it from the main thread: the child's death signal follows the thread that forks."""

    def __init__(
        self,
        module: str,
        environment: Mapping[str, str],
        owned: Path | None = None,
        *,
        hears: Vocabulary = FROM_SANDBOX,
        passed: int | None = None,
    ) -> None:
        """`module` is run as `python -m MODULE PARENT_PID PIPE_FD`, calls `begin` and sends "ready". Raises SandboxError.

        owned: the file that it will open; where root asks, its owner's rights are all that the process gets.
        hears: what it may answer. passed: a descriptor that it has too, under the same number.
        """
        ours, theirs = Pipe.pair(hears, TO_SANDBOX)
        self._pipe = ours
        self._said = os.fdopen(os.memfd_create("said"), "w+b")  # in memory: no disk takes part in a trial
        # one thread for BLAS: its buffers for each core count as memory, and nothing here multiplies matrices with it
        environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", **environment}
        command = [sys.executable, "-P", "-m", module, str(os.getpid()), str(theirs.fileno())]
        try:
            self._child = subprocess.Popen(
                command,
                pass_fds=(theirs.fileno(), *([] if passed is None else [passed])),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self._said,
                env=environment,
                **_rights_of(owned),
            )
        except OSError as error:
            for end in (ours, theirs, self._said):
                end.close()
            raise SandboxError("not_started", f"could not be started: {error.strerror or error}") from None
        theirs.close()
        self._answer(START_LIMIT_S)

    def ask(self, kind: str, fields: Mapping[str, Any], within_s: float) -> tuple[str, dict[str, Any]]:
        """The answer: kind, fields. Raises SandboxError when the process dies over it or is silent too long; then it is dead."""
        kind, fields, _ = self._ask(kind, fields, within_s)
        return kind, fields

    def exchange(
        self, kind: str, fields: Mapping[str, Any], within_s: float, attachment: bytes = b""
    ) -> tuple[str, dict[str, Any], bytes]:
        """As `ask`, with bytes beside the fields both ways; less than a packet of them."""
        return self._ask(kind, fields, within_s, attachment)

    def hear(self, within_s: float) -> tuple[str, dict[str, Any]]:
        """What it says next, for one that says more than one thing to a question. Raises SandboxError as `ask`."""
        kind, fields, _ = self._answer(within_s)
        return kind, fields

    def fetch(self, kind: str, within_s: float, most_bytes: int) -> bytes:
        """What is larger than a packet, in parts: asked with `{"at": N}` until one is the `last`. Raises SandboxError as `ask`."""
        whole = b""
        while True:
            said, fields, part = self._ask(kind, {"at": len(whole)}, within_s)
            whole += part
            if said != kind or not (part or fields["last"]) or len(whole) > most_bytes:
                self.close()
                raise SandboxError("nonsense", "gave an answer that is none of ours")
            if fields["last"]:
                return whole

    def close(self) -> None:
        """End the process, whatever it does. May be called twice."""
        self._child.kill()
        self._child.wait()
        self._pipe.close()
        self._said.close()

    def _ask(
        self, kind: str, fields: Mapping[str, Any], within_s: float, attachment: bytes = b""
    ) -> tuple[str, dict[str, Any], bytes]:
        with contextlib.suppress(OSError):  # it is gone, and the next line finds out how
            self._pipe.send(kind, fields, attachment)
        return self._answer(within_s)

    def _answer(self, within_s: float) -> tuple[str, dict[str, Any], bytes]:
        poll = select.poll()
        poll.register(self._pipe.fileno(), select.POLLIN)
        if not poll.poll(within_s * 1000):
            self.close()
            raise SandboxError("silent", f"gave no answer within {within_s:g} s")
        try:
            message = self._pipe.receive()
        except NotOursError:
            self.close()
            raise SandboxError("nonsense", "gave an answer that is none of ours") from None
        except OSError:
            message = None
        if message is None:
            raise self._obituary()
        return message

    def _obituary(self) -> SandboxError:
        try:
            code = self._child.wait(5)
        except subprocess.TimeoutExpired:
            code = -signal.SIGKILL
        self._said.seek(0)
        said = self._said.read().decode(errors="replace")
        self.close()
        if code < 0:
            return SandboxError("crashed", f"crashed ({signal.Signals(-code).name})", -code)
        last = next((line for line in reversed(said.splitlines()) if line.strip()), "")
        return SandboxError("ended", f"ended with exit code {code}{f': {last}' if last else ''}")


def to_owner(file: Path) -> int:
    """Whose rights a process gets that root starts for this file: 0 for root's own, and where nobody else's are needed."""
    return int(_rights_of(file).get("user", 0))


@contextlib.contextmanager
def handed_over(file: Path, content: Callable[[], bytes], owner: int) -> Iterator[tuple[Path, int | None]]:
    """A path under which a process with the rights of `owner` can read the file, though that one may not, and what to pass it.

    Raises what `content`, which gives the file's bytes, raises.
    """
    if not owner:
        yield file.absolute(), None
        return
    with os.fdopen(os.memfd_create("handed over"), "wb") as memory:
        memory.write(content())
        memory.flush()
        yield Path(f"/proc/self/fd/{memory.fileno()}"), memory.fileno()


def _rights_of(file: Path | None) -> dict[str, Any]:
    """What the service's user may have put there is not opened with root's rights."""
    if file is None or os.geteuid() != 0:
        return {}
    try:
        found = file.lstat()
    except OSError:
        return {}
    return {} if found.st_uid == 0 else {"user": found.st_uid, "group": found.st_gid, "extra_groups": []}


def begin(memory_mb: int, hears: Vocabulary = TO_SANDBOX) -> Pipe:
    """Called first by the module that was started: its limits, its death with its parent, and its end of the pipe.

    `memory_mb` bounds what the process may write to (RLIMIT_DATA), Python and the libraries included.
    """
    parent, fd = int(sys.argv[1]), int(sys.argv[2])
    die_with(parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole terminal; the parent decides
    limit(resource.RLIMIT_DATA, memory_mb << 20)
    limit(resource.RLIMIT_CORE, 0)
    limit(resource.RLIMIT_FSIZE, 1 << 20)  # what it prints, and nothing else
    return Pipe.from_fd(fd, hears)
