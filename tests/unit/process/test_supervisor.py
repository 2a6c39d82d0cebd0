"""The courier's end of the vision process, over a simulated clock: what it believes, when it kills, how soon it starts again."""

import asyncio
import contextlib
import errno
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import pytest

from edged.process.child import Child, begin_vision
from edged.process.pipe import Pipe
from edged.process.supervisor import BEAT_LIMIT_S, GOOD_RUN_S, START_LIMIT_S, Gone, Supervision
from edged.system.text import PrintableFormatter
from tests.unit.simulated_loop import simulate

FRAMES = dict.fromkeys(("captured", "inferred", "stale", "busy", "gated", "paused"), 0)
BEAT = {"frames": FRAMES, "memory_mb": 1.0}


class PlayedChild(Child):
    """The other end, as the test plays it. `dies`: when it is killed; `obeys`: a stop, or the end of the pipe."""

    def __init__(self, theirs: Pipe, *, dies: bool = True, obeys: bool = True) -> None:
        self.pipe = Pipe.from_fd(os.dup(theirs.fileno()))
        self.pid, self.code, self._dies = os.getpid(), None, dies
        self.ended_fd, self._ends = os.pipe()
        self.stderr_fd, self.prints = os.pipe()
        self.is_closed = False
        self.heard: list[str] = []
        if obeys:
            asyncio.get_running_loop().add_reader(self.pipe.fileno(), self._hear)

    def say(self, kind: str, **fields: Any) -> None:
        with contextlib.suppress(OSError):  # the supervisor has just ended it
            self.pipe.send(kind, fields)

    def _hear(self) -> None:
        message = None
        with contextlib.suppress(ConnectionResetError):
            message = self.pipe.receive(wait=False)
        if message is None or message[0] == "stop":
            self.end(0)
        else:
            self.heard.append(message[0])

    def end(self, code: int) -> None:
        if self.code is None:
            self.code = code
            asyncio.get_running_loop().remove_reader(self.pipe.fileno())
            self.pipe.close()
            os.close(self._ends)
            os.close(self.prints)

    def kill(self) -> None:
        if self._dies:
            self.end(-signal.SIGKILL)

    def poll(self) -> int | None:
        return self.code

    def close(self) -> None:
        self.is_closed = True
        os.close(self.ended_fd)
        os.close(self.stderr_fd)


class Watch:
    """A supervisor, the processes that it started with the time of each, and what it told."""

    def __init__(self, told: Sequence[tuple[str, dict[str, Any]]] = (), **how: Any) -> None:
        """told: to the first process, before anybody listens to it."""
        self.how, self.no_fork = how, None
        self.started: list[tuple[float, PlayedChild]] = []
        self.gone: list[Gone] = []
        self.words: list[str] = []
        begun = begin_vision(self._fork) if told else None
        for kind, fields in told if begun is not None else ():
            begun.tell(kind, fields)
        self.supervision = Supervision(self._fork, begun)
        self.supervision.listen(lambda kind, _fields, _attachment: self.words.append(kind), self.gone.append)

    def _fork(self, theirs: Pipe) -> Child:
        if self.no_fork is not None:
            raise self.no_fork
        self.started.append((now(), PlayedChild(theirs, **self.how)))
        return self.child

    @property
    def child(self) -> PlayedChild:
        return self.started[-1][1]

    @property
    def times_s(self) -> list[float]:
        return [round(at, 2) for at, _ in self.started]

    async def beats(self, seconds: int) -> None:
        for _ in range(seconds):
            self.child.say("beat", **BEAT)
            await asyncio.sleep(1)


def now() -> float:
    return asyncio.get_running_loop().time()


def watched(play: Callable[[Watch], Coroutine[Any, Any, None]], **how: Any) -> Watch:
    """The watch after a play; every process was closed, and none is left."""
    seen: list[Watch] = []

    async def go() -> None:
        watch = Watch(**how)
        seen.append(watch)
        watch.supervision.start()
        try:
            await play(watch)
        finally:
            await watch.supervision.stop(1.0)

    simulate(go)
    assert all(child.is_closed for _, child in seen[0].started) and seen[0].supervision.pid is None
    return seen[0]


def test_what_beats_lives() -> None:
    async def play(watch: Watch) -> None:
        watch.child.say("ready", pid=1)
        await watch.beats(100)
        assert watch.supervision.pid == os.getpid() and watch.supervision.send("pause", {"paused": True})
        await asyncio.sleep(0.1)
        assert watch.child.heard == ["pause"]
        assert watch.supervision.due_s is not None and watch.supervision.due_s > now()

    watch = watched(play)
    assert watch.words == ["ready", *["beat"] * 100] and watch.gone == [] and watch.child.code == 0
    assert watch.supervision.due_s is None and not watch.supervision.send("pause", {"paused": True})


CONFIGURED = {"camera": {"kind": "pictures"}, "region": [0, 0, 1, 1], "crop": "full", "max_age_ms": 500}


@pytest.mark.parametrize("same", [True, False])
def test_what_was_told_before_anybody_listened_is_not_said_twice(same: bool) -> None:
    """Where it is not the same, the first process makes room for one that is told rightly."""
    wanted = CONFIGURED if same else CONFIGURED | {"max_age_ms": 7}

    async def play(watch: Watch) -> None:
        first = watch.child
        first.say("ready", pid=1)
        await asyncio.sleep(0.1)
        assert watch.supervision.send("configure", wanted) and watch.supervision.send("pace", {"fps": 0.0})
        await asyncio.sleep(0.1)
        assert first.heard == (["configure", "pace"] if same else ["configure"])
        if same:
            assert watch.supervision.send("configure", wanted)
            await asyncio.sleep(0.1)
            assert first.heard == ["configure", "pace", "configure"], "only once was it told before"
            return
        await asyncio.sleep(0.5)
        assert watch.child is not first and watch.gone[0].asked
        assert watch.supervision.send("configure", wanted)
        await asyncio.sleep(0.1)
        assert watch.child.heard == ["configure"]

    watched(play, told=[("configure", CONFIGURED)])


@pytest.mark.parametrize(("says", "limit_s"), [([], START_LIMIT_S), (["ready"], BEAT_LIMIT_S)])
def test_silence_is_killed_in_time(says: list[str], limit_s: float) -> None:
    async def play(watch: Watch) -> None:
        for kind in says:
            watch.child.say(kind, pid=1)
        await asyncio.sleep(limit_s - 0.1)
        assert watch.child.code is None
        await asyncio.sleep(0.2)
        assert watch.gone == [Gone(f"no sign of life for {limit_s:.0f} s", 0.5, crashed=True, asked=False)]

    watched(play)


def test_other_words_than_beats_are_no_sign_of_life() -> None:
    """The thread that gives camera's words may live on while the loop that classifies hangs."""

    async def play(watch: Watch) -> None:
        watch.child.say("ready", pid=1)
        for _ in range(60):
            watch.child.say("camera", state="ok", fault="", reason="")
            await asyncio.sleep(0.1)
        assert watch.gone[0].why == "no sign of life for 5 s"

    watched(play)


def test_crashes_are_started_again_with_growing_pauses_and_a_good_run_forgives_them() -> None:
    async def play(watch: Watch) -> None:
        for _ in range(7):
            seen = len(watch.started)
            watch.child.end(-signal.SIGSEGV)
            while len(watch.started) == seen:
                await asyncio.sleep(0.1)
        pauses = [round(after - before, 1) for before, after in zip(watch.times_s, watch.times_s[1:], strict=False)]
        assert pauses == [0.5, 1.0, 2.0, 4.0, 8.0, 8.0, 8.0]
        assert [gone.again_s for gone in watch.gone] == pauses and watch.gone[0].why == "it died of SIGSEGV"
        watch.child.say("ready", pid=1)
        await watch.beats(int(GOOD_RUN_S) + 1)
        watch.child.end(1)
        await asyncio.sleep(0)
        await asyncio.sleep(0.1)
        assert watch.gone[-1] == Gone("it ended with exit code 1", 0.5, crashed=True, asked=False)
        assert watch.supervision.restarts == 8

    watched(play)


def test_one_that_ends_by_itself_did_not_crash() -> None:
    async def play(watch: Watch) -> None:
        watch.child.end(0)
        await asyncio.sleep(0.1)
        assert watch.gone == [Gone("it ended with exit code 0", 0.5, crashed=False, asked=False)]

    watched(play)


@pytest.mark.parametrize("number", [errno.EAGAIN, errno.ENOMEM, errno.EMFILE])
def test_a_fork_that_fails_is_a_pause_and_not_the_end(number: int) -> None:
    async def play(watch: Watch) -> None:
        watch.no_fork = OSError(number, os.strerror(number))  # type: ignore[assignment]
        watch.child.end(-9)
        await asyncio.sleep(60)
        assert len(watch.gone) > 5 and not any(gone.crashed for gone in watch.gone[1:])
        assert watch.gone[1].why == f"it could not be started ({os.strerror(number)})" and watch.gone[-1].again_s == 8.0
        assert watch.supervision.pid is None and watch.supervision.due_s is not None
        watch.no_fork = None
        await asyncio.sleep(8)
        assert len(watch.started) == 2

    watched(play)


def test_a_process_that_nobody_could_wait_for_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel gives no descriptor for it any more."""

    def no_descriptor(_pid: int) -> int:
        raise OSError(errno.EMFILE, "Too many open files")

    popen = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], stderr=subprocess.PIPE)
    monkeypatch.setattr(os, "pidfd_open", no_descriptor)
    with pytest.raises(OSError, match="Too many open files"):
        Child(popen)
    assert popen.returncode == -signal.SIGKILL and popen.stderr is not None and popen.stderr.closed


@pytest.mark.parametrize("obeys", [True, False])
def test_a_new_one_is_begun_at_once_also_where_the_old_one_does_not_end(obeys: bool) -> None:
    async def play(watch: Watch) -> None:
        watch.child.say("ready", pid=1)
        await watch.beats(3)
        watch.supervision.renew()
        if not obeys:
            await watch.beats(1)  # a sign of life does not spare it
        await asyncio.sleep(2.5)
        assert len(watch.started) == 2 and watch.gone[0].asked and not watch.gone[0].crashed
        assert watch.supervision.restarts == 0
        watch.how = {}

    watched(play, obeys=obeys)


def test_who_waits_for_the_next_one_may_hurry_it_or_put_it_off() -> None:
    async def play(watch: Watch) -> None:
        watch.child.end(-9)
        await asyncio.sleep(0.1)
        watch.supervision.postpone(30.0)
        watch.supervision.postpone(1.0)  # not sooner than what was said before
        await asyncio.sleep(29)
        assert len(watch.started) == 1
        await asyncio.sleep(2)
        assert len(watch.started) == 2
        watch.child.end(-9)
        await asyncio.sleep(0.1)
        watch.supervision.hurry()
        assert len(watch.started) == 3
        watch.supervision.hurry()
        watch.supervision.postpone(30.0)
        assert len(watch.started) == 3 and watch.supervision.pid is not None
        watch.child.end(-9)
        await asyncio.sleep(0.1)
        watch.supervision.renew()
        assert len(watch.started) == 4

    watched(play)


@pytest.mark.parametrize(
    ("packet", "why"),
    [
        (b"[]", "it said something that is no word of ours"),
        (b"\xff" * 2000, "it said something that is no word of ours"),
        (b"[" * 100_000, "it said something that is no word of ours"),
        (b'{"kind": "stop"}', "it said something that is no word of ours"),
        (b'{"kind": "beat", "frames": {}, "memory_mb": 1}', "it said something that is no word of ours"),
    ],
)
def test_what_says_no_word_of_ours_is_killed_and_nothing_more_is_heard(packet: bytes, why: str) -> None:
    async def play(watch: Watch) -> None:
        os.write(watch.child.pipe.fileno(), packet)
        watch.child.say("ready", pid=1)
        await asyncio.sleep(0.1)
        assert watch.gone == [Gone(why, 0.5, crashed=True, asked=False)] and watch.words == []
        await asyncio.sleep(1)
        watch.child.say("ready", pid=1)
        await asyncio.sleep(0.1)
        assert watch.words == ["ready"], "the next one is believed"

    watched(play)


def test_who_says_more_than_there_is_work_is_killed() -> None:
    async def play(watch: Watch) -> None:
        watch.child.say("ready", pid=1)
        for _ in range(200):
            watch.child.say("camera", state="ok", fault="", reason="")
            await asyncio.sleep(0)
        await asyncio.sleep(0.1)
        assert watch.gone and len(watch.words) < 100

    watched(play)


def test_last_words_are_heard() -> None:
    """Also where it died with what it was told unread."""

    async def play(watch: Watch) -> None:
        watch.supervision.send("pause", {"paused": True})
        watch.child.say("model_failed", reason="the runtime failed")
        watch.child.end(0)
        await asyncio.sleep(0.1)
        assert watch.words == ["model_failed"] and len(watch.gone) == 1

    watched(play, obeys=False)


def test_a_stop_is_no_end_that_is_told() -> None:
    async def play(watch: Watch) -> None:
        watch.child.say("ready", pid=1)
        await asyncio.sleep(0.1)
        await watch.supervision.stop(1.0)
        await asyncio.sleep(60)
        assert watch.gone == [] and len(watch.started) == 1 and watch.child.code == 0

    watched(play)


@pytest.mark.parametrize("dies", [True, False])
def test_a_stop_has_its_time_and_no_more(dies: bool) -> None:
    """One that does not listen is killed; one that hangs in the kernel is left, for it dies with us."""

    async def play(watch: Watch) -> None:
        began_s = now()
        await watch.supervision.stop(1.0)
        assert now() - began_s == pytest.approx(1.0 if dies else 1.5, abs=0.01)
        assert watch.child.code == (-signal.SIGKILL if dies else None)

    watched(play, obeys=False, dies=dies)


def test_a_stop_while_the_next_one_is_waited_for_starts_none() -> None:
    async def play(watch: Watch) -> None:
        watch.child.end(-9)
        await asyncio.sleep(0.1)
        await watch.supervision.stop(1.0)
        await asyncio.sleep(60)
        assert len(watch.started) == 1 and watch.supervision.due_s is None

    watched(play)


def test_what_it_prints_is_relayed_within_bounds(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "edged")

    async def play(watch: Watch) -> None:
        os.write(watch.child.prints, b"INFO: chatter\nbro")
        await asyncio.sleep(0.1)
        os.write(watch.child.prints, b"ken\n" + b"x" * 5000 + b"\n")
        await asyncio.sleep(0.1)
        os.write(watch.child.prints, b"again\n" * 500)
        await asyncio.sleep(0.1)
        watch.child.end(1)
        await asyncio.sleep(0.1)

    watched(play)
    said = [(record.levelno, record.getMessage()) for record in caplog.records if record.getMessage().startswith("vision: ")]
    assert said[:2] == [(logging.DEBUG, "vision: INFO: chatter"), (logging.WARNING, "vision: broken")]
    assert len(said[2][1]) == len("vision: ") + 1000
    assert said[-1] == (logging.WARNING, "vision: says too much; the rest of 60 s is left out") and len(said) == 100


def test_an_address_is_not_cut_before_its_secret_is_taken_out(caplog: pytest.LogCaptureFixture) -> None:
    """`rtsp://admin:12345` would be a host and its port."""

    async def play(watch: Watch) -> None:
        for room in range(940, 1000):
            os.write(watch.child.prints, b"x" * room + b" rtsp://admin:12345678@camera/live\n")
        await asyncio.sleep(0.1)
        watch.child.end(1)
        await asyncio.sleep(0.1)

    watched(play)
    told = PrintableFormatter("%(message)s").format  # as the log writes it
    said = [told(record) for record in caplog.records if record.getMessage().startswith("vision: x")]
    assert len(said) == 60 and not any("admin" in line or "1234" in line for line in said)
