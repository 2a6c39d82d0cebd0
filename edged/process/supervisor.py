"""The courier's end of the vision process: start it, believe only its beats, kill it, start it again.

libcamera, V4L2 and RTSP hang inside C where no thread can be stopped; a process that can be killed is the only sure cure.
"""

import asyncio
import contextlib
import logging
import os
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from edged.process.child import BegunVision, Child, begin_vision, fork_vision
from edged.process.pipe import NotOursError, Pipe
from edged.process.protocol import Allowance

log = logging.getLogger("edged")

GOOD_RUN_S = 60.0  # a minute that went well: what runs is good, and what went wrong before is forgiven
BEAT_LIMIT_S = 5.0  # beats come every second; the loop that sends them is the one that classifies
START_LIMIT_S = 22.0  # importing OpenCV and the runtime from a slow card
_FIRST_DELAY_S, _LONGEST_DELAY_S = 0.5, 8.0  # a camera that is back must be seen within 15 s
_MOST_RELAYED, _RELAY_S, _LONGEST_LINE = 100, 60.0, 1000  # lines of its stderr, and bytes of one
_KILLED_S = 0.5
_RENEW_LIMIT_S = 2.0  # a camera's library that does not let it end is not waited for

OnMessage = Callable[[str, dict[str, Any], bytes], None]


@dataclass(frozen=True, slots=True)
class Gone:
    """The end of a vision process. `why`: a few words; `again_s`: when the next one is started.

    crashed: it died, or was killed because it hung; not when it ended by itself, as it does for some cameras, nor when it
    could not be started at all. asked: it was told to end, because the next one is to begin with something else.
    """

    why: str
    again_s: float
    crashed: bool
    asked: bool


class Supervision:
    """Thread: the event loop's, which must be the main thread (the death signal follows the thread that forks)."""

    def __init__(self, fork: Callable[[Pipe], Child] = fork_vision, begun: BegunVision | None = None) -> None:
        """fork: starts the process that has the other end of the pipe. Raises OSError. begun: the first one, if it runs already."""
        self._loop = asyncio.get_running_loop()
        self._fork, self._begun = fork, begun
        self._on_message: OnMessage = lambda *_: None
        self._on_gone: Callable[[Gone], None] = lambda _: None
        self._child: Child | None = None
        self._pipe: Pipe | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._again: asyncio.TimerHandle | None = None
        self._why_killed = ""
        self._allowance = Allowance()
        self._told: list[tuple[str, dict[str, Any]]] = []  # to the first one, before anybody listened
        self.is_distrusted = False  # it said what is no word of ours, and nothing more is heard of it
        self._relayed, self._relayed_s = 0, 0.0
        self._unfinished = b""  # a line of its stderr that has not ended yet
        self._started_at = 0.0
        self._delay_s = _FIRST_DELAY_S
        self._renewing = False
        self.restarts = 0

    def listen(self, on_message: OnMessage, on_gone: Callable[[Gone], None]) -> None:
        """Before `start`. on_message gets every message of ours; on_gone each end of the process, but not after `stop`."""
        self._on_message, self._on_gone = on_message, on_gone

    def start(self) -> None:
        """Fork the vision process; it says `ready` when it can be configured. A fork that fails is tried again."""
        self._again, self._renewing = None, False
        begun, self._begun = self._begun, None
        try:
            begun = begun or begin_vision(self._fork)
        except OSError as error:  # no memory, or no more processes: it may pass
            self._start_later()
            why = f"it could not be started ({error.strerror or error})"
            self._on_gone(Gone(why, self._delay_of_next(), crashed=False, asked=False))
            return
        child, ours, self._told = begun.child, begun.pipe, begun.told
        self._allowance, self.is_distrusted = Allowance(), False
        self._child, self._pipe, self._why_killed, self._started_at = child, ours, "", self._loop.time()
        os.set_blocking(child.stderr_fd, False)
        self._loop.add_reader(ours.fileno(), self._receive)
        self._loop.add_reader(child.ended_fd, self._ended)
        self._loop.add_reader(child.stderr_fd, self._relay)
        self._expect_beat(START_LIMIT_S)

    @property
    def pid(self) -> int | None:
        return self._child.pid if self._child else None

    @property
    def due_s(self) -> float | None:
        """By when it must give a sign or be started again, in the loop's time; None: it was stopped, or never started."""
        timer = self._deadline if self._child is not None else self._again
        return timer.when() if timer is not None else None

    def send(self, kind: str, fields: Mapping[str, Any]) -> bool:
        """False when the process is away or does not read; it is then told again after its restart.

        What the first one was told before is not said twice; one that was configured otherwise makes room for another.
        """
        if self._told:
            if (kind, fields) in self._told:
                self._told.remove((kind, dict(fields)))
                return True
            if kind == "configure":
                self.renew()
                return True
        return self._pipe is not None and self._pipe.try_send(kind, fields)

    def kill(self, why: str) -> None:
        """SIGKILL; on_gone follows with this reason."""
        if self._child is not None:
            self._why_killed = self._why_killed or why
            self._child.kill()

    def distrust(self, why: str) -> None:
        """Kill it for what it said, and hear nothing more of it."""
        self.is_distrusted = True
        self.kill(why)

    def renew(self) -> None:
        """End it and start the next one at once: for what only a new process can be told."""
        if self._child is None:
            self.hurry()
            return
        self._renewing = True
        self.send("stop", {})
        self._expect_beat(_RENEW_LIMIT_S)

    def hurry(self) -> None:
        """Start the next one now if it is only waited for."""
        if self._again is not None:
            self._again.cancel()
            self.start()

    def postpone(self, pause_s: float) -> None:
        """Where the next one is waited for, not to start it before this."""
        if self._again is not None and self._again.when() < self._loop.time() + pause_s:
            self._again.cancel()
            self._again = self._loop.call_later(pause_s, self.start)

    async def stop(self, deadline_s: float) -> None:
        """Ask it to end, and kill it when it does not. One that hangs in the kernel is not waited for: it dies with us anyway."""
        if self._again is not None:
            self._again.cancel()
            self._again = None
        begun, self._begun = self._begun, None
        if begun is not None:  # nobody ever listened to it
            begun.end()
        child = self._child
        if child is None:
            return
        self._forget()
        try:
            if not await _until_ended(child.ended_fd, deadline_s):
                child.kill()
                await _until_ended(child.ended_fd, _KILLED_S)
            child.poll()
        finally:
            child.close()

    def _receive(self) -> bool:
        """One message; False when none is there."""
        assert self._pipe is not None
        if self.is_distrusted:
            return False
        try:
            message = self._pipe.receive(wait=False)
            if message is not None and not self._allowance.has_room(message[0]):
                raise NotOursError("more words than there is work")
        except BlockingIOError:
            return False
        except ConnectionResetError:  # said once, when it died with our commands unread; its last words follow
            return self._receive()
        except (OSError, NotOursError):  # torn down, or not our words: the process is not to be believed any more
            self.distrust("it said something that is no word of ours")
            message = None
        if message is None:
            self._loop.remove_reader(self._pipe.fileno())
            return False
        kind, fields, attachment = message
        if kind in ("beat", "ready") and not self._renewing:
            self._expect_beat(BEAT_LIMIT_S)
        self._on_message(kind, fields, attachment)
        return True

    def _expect_beat(self, within_s: float) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline = self._loop.call_later(within_s, self.kill, f"no sign of life for {within_s:.0f} s")

    def _relay(self) -> None:
        """What native libraries print, into the log; the runtime's INFO chatter is left out."""
        assert self._child is not None
        try:
            said = os.read(self._child.stderr_fd, 65536)
        except BlockingIOError:
            return
        if not said:
            self._loop.remove_reader(self._child.stderr_fd)
            return
        *lines, self._unfinished = (self._unfinished + said)[-65536:].split(b"\n")
        now_s = self._loop.time()
        if now_s - self._relayed_s > _RELAY_S:
            self._relayed, self._relayed_s = 0, now_s
        for line in lines:
            self._relayed += 1
            if self._relayed == _MOST_RELAYED:
                log.warning("vision: says too much; the rest of %g s is left out", _RELAY_S)
            if self._relayed >= _MOST_RELAYED:
                continue
            level = logging.DEBUG if line.startswith((b"INFO:", b"W0000", b"I0000")) else logging.WARNING
            log.log(level, "vision: %s", _cut(line).decode(errors="replace"))

    def _ended(self) -> None:
        child = self._child
        assert child is not None
        while self._receive():  # its last words explain its end
            pass
        code = child.poll() or 0
        why = self._why_killed or (f"it died of {signal.Signals(-code).name}" if code < 0 else f"it ended with exit code {code}")
        ran_s = self._loop.time() - self._started_at
        asked = self._renewing
        self._forget()
        child.close()
        if asked or ran_s > GOOD_RUN_S:
            self._delay_s = _FIRST_DELAY_S
        if asked:
            self._again = self._loop.call_later(0.0, self.start)
        else:
            self._start_later()
        self._on_gone(Gone(why, self._delay_of_next(), crashed=not asked and code != 0, asked=asked))

    def _start_later(self) -> None:
        self.restarts += 1
        self._again = self._loop.call_later(self._delay_s, self.start)
        self._delay_s = min(self._delay_s * 2, _LONGEST_DELAY_S)

    def _delay_of_next(self) -> float:
        return round(max(0.0, self._again.when() - self._loop.time()), 1) if self._again is not None else 0.0

    def _forget(self) -> None:
        """What is of this process only. Its descriptors are closed by whoever waits for its end."""
        assert self._child is not None and self._pipe is not None
        if self._deadline is not None:
            self._deadline.cancel()
        self._relay()
        for fd in (self._pipe.fileno(), self._child.ended_fd, self._child.stderr_fd):
            self._loop.remove_reader(fd)
        self._pipe.close()  # which also tells it to end, if it still listens
        self._child, self._pipe, self._told = None, None, []


async def _until_ended(ended_fd: int, deadline_s: float) -> bool:
    """False when it lives on. No thread waits, so that nothing holds up the end of the loop."""
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(ended_fd, ended.set)
    try:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(deadline_s):
                await ended.wait()
    finally:
        loop.remove_reader(ended_fd)
    return ended.is_set()


def _cut(line: bytes) -> bytes:
    """Between words: half of an address looks like another one, in which the log would see no secret. Pure."""
    if len(line) <= _LONGEST_LINE:
        return line
    head, space, _ = line[: _LONGEST_LINE + 1].rpartition(b" ")
    return head if space else line[:_LONGEST_LINE]
