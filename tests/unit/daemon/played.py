"""A daemon of all its real parts, in this process; the vision process is played by the test, over the real pipe."""

import asyncio
import contextlib
import os
import signal
import socket
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import tomlkit

from edged.daemon.daemon import Daemon
from edged.models.admission import Admission
from edged.models.measurements import Measured, Verdict
from edged.models.store import Store
from edged.process.child import Child
from edged.process.pipe import Pipe
from edged.rollout.startup import begin, find_config
from edged.system.clock import Clock
from tests.e2e.running import HANG_S

SMALL, LARGE = "home_0.25_96", "home_0.25_128"
BEAT_S = 1.0
FRAMES = dict.fromkeys(("captured", "inferred", "stale", "busy", "gated", "paused"), 0)
TIMING = {"capture": 1.0, "preprocess": 1.0, "invoke": 2.0, "postprocess": 0.0}


class PlayedVision(Child):
    """What the supervisor takes for the forked process. It loads what it is told to, unless `refuse` says why not."""

    def __init__(self, theirs: Pipe, refuse: dict[str, str]) -> None:
        self.pipe = Pipe.from_fd(os.dup(theirs.fileno()))
        self.pid, self.code, self._refuse = os.getpid(), None, refuse
        self.ended_fd, self._ends = os.pipe()
        self.stderr_fd, self._prints = os.pipe()
        self.heard: list[tuple[str, dict[str, Any]]] = []
        self.dies = True  # when it is killed
        self.answers = True  # what it is told to load
        self._models: list[dict[str, Any]] = []
        self._frames = 0
        self.memory_mb = 20.0
        asyncio.get_running_loop().add_reader(self.pipe.fileno(), self._hear)
        self.say("ready", pid=self.pid)
        self._beats = asyncio.get_running_loop().call_later(BEAT_S, self._beat)

    def say(self, kind: str, **fields: Any) -> None:
        with contextlib.suppress(OSError):  # the daemon has just ended it
            self.pipe.send(kind, fields)

    def print(self, line: bytes) -> None:
        os.write(self._prints, line)

    def results(self, count: int = 6, invoke_ms: float = 2.0) -> None:
        self.say("camera", state="ok", fault="", reason="")
        for _ in range(count):
            self._frames += 1
            timing_ms = TIMING | {"invoke": invoke_ms}
            size = {"width": 640, "height": 480, "picture": ""}
            said = {"index": self._frames, "captured_ns": time.monotonic_ns(), "scores": [[0, 0.9]]}
            self.say("result", timing_ms=timing_ms, frames=self._counts(), **size, **said)

    def _counts(self) -> dict[str, int]:
        return FRAMES | {"captured": self._frames, "inferred": self._frames}

    def _beat(self) -> None:
        """As the real one: whoever is silent is killed, however long a test takes on a slow machine."""
        self.say("beat", frames=self._counts(), memory_mb=self.memory_mb)
        self._beats = asyncio.get_running_loop().call_later(BEAT_S, self._beat)

    def end(self, code: int) -> None:
        if self.code is None:
            self.code = code
            self._beats.cancel()
            asyncio.get_running_loop().remove_reader(self.pipe.fileno())
            self.pipe.close()
            os.close(self._ends)
            os.close(self._prints)

    def told(self, kind: str) -> list[dict[str, Any]]:
        return [fields for one, fields in self.heard if one == kind]

    def _hear(self) -> None:
        try:
            message = self.pipe.receive(wait=False)
        except (BlockingIOError, ConnectionResetError):
            return
        if message is None:
            self.end(0)
            return
        kind, fields, _ = message
        self.heard.append((kind, fields))
        if kind == "stop":
            self.end(0)
        elif kind == "load" and self.answers:
            self.load(fields)
        elif kind == "settle" and not fields["keep"] and len(self._models) > 1:
            self._models.pop()
            self._say_loaded()

    def load(self, fields: dict[str, Any]) -> None:
        name = Path(fields["path"]).stem
        if (why := self._refuse.get(name)) is not None:
            self.say("load_failed", number=fields["number"], path=fields["path"], reason=why)
            return
        self._models = [*(self._models[:1] if fields["trial"] else []), fields]
        self._say_loaded()

    def _say_loaded(self) -> None:
        fields = self._models[-1]
        wanted = {"width": 96, "height": 96, "dtype": "uint8", "scale": 1.0, "zero": 0, "float_range": [0.0, 1.0]}
        facts = {"runtime": "litert", "delegate": "XNNPACK", "delegate_nodes": 9, "nodes": 9, "threads": 1}
        facts |= {"input": wanted, "label_count": fields["labels"], "output": "probabilities"}
        said = {key: fields[key] for key in ("number", "path", "sha256")}
        self.say("loaded", load_ms=1.0, facts=facts, **said)

    # what the supervisor does with it

    def kill(self) -> None:
        if self.dies:
            self.end(-signal.SIGKILL)

    def poll(self) -> int | None:
        return self.code

    def close(self) -> None:
        os.close(self.ended_fd)
        os.close(self.stderr_fd)


class Stage:
    """The daemon of one folder. `vision`: the newest vision process; `forks`: how many there were."""

    def __init__(self, folder: Path, config: dict[str, Any] | None = None, starts: int = 0) -> None:
        self.folder, self.state, self.path = folder, folder / "state", folder / "edged.toml"
        (folder / "album").mkdir(exist_ok=True)
        self.config: dict[str, Any] = {
            "device": "test",
            "state_folder": str(self.state),
            "camera": {"kind": "pictures", "source": str(folder / "album"), "fps": 10.0, "show_s": 0.0},
            "model": {"name": SMALL},
            "mqtt": {"host": "127.0.0.1", "port": closed_port()},
        } | (config or {})
        self.write(self.config)
        self.refuse: dict[str, str] = {}
        self.no_fork: OSError | None = None
        self.visions: list[PlayedVision] = []
        for name in (SMALL, LARGE):
            admit(self.state, name)
        self.starts = starts

    @property
    def vision(self) -> PlayedVision:
        return self.visions[-1]

    def write(self, config: dict[str, Any]) -> None:
        beside = self.path.with_suffix(".new")
        beside.write_text(tomlkit.dumps(config))
        beside.replace(self.path)

    def fork(self, theirs: Pipe) -> Child:
        if self.no_fork is not None:
            raise self.no_fork
        self.visions.append(PlayedVision(theirs, self.refuse))
        return self.vision

    def run(self, play: Callable[["Stage", Daemon], Coroutine[Any, Any, None]], *, plays: bool = True) -> None:
        """plays: only once the first model is loaded. An exception of any of its parts fails the test."""

        async def go() -> None:
            failed: list[BaseException] = []
            loop = asyncio.get_running_loop()
            loop.set_exception_handler(lambda _, context: failed.append(context.get("exception") or RuntimeError(str(context))))
            clock = Clock()
            daemon = Daemon(begin(find_config(self.path), clock, self.starts), clock, self.fork)
            daemon.start()
            try:
                if plays:
                    await until(lambda: self.visions and daemon._apply.active.facts, "the first model is loaded")
                await play(self, daemon)
            finally:
                await daemon.close()
            assert failed == []

        asyncio.run(go())


def admit(state: Path, name: str, verdict: Verdict | None = None) -> None:
    """As if it had been tried on this board before."""
    admission = Admission(state)
    installed = Store(state).find(name)
    admission.remember(admission._key(installed), verdict or Verdict(admitted=True))


def measure(state: Path, name: str, ms: float, wanted: Any) -> None:
    """As if it had been measured on this board before."""
    admission = Admission(state)
    key = admission.measurement_key_of(Store(state).find(name).sha256, wanted.scene, wanted.threads)
    admission.remember(key, Measured(p50_ms=ms, p95_ms=ms, memory_mb=20, threads=1, runs=20))


async def until(condition: Callable[[], Any], what: str, deadline_s: float = HANG_S) -> Any:
    """The condition's first true value."""
    ends = asyncio.get_running_loop().time() + deadline_s
    while asyncio.get_running_loop().time() < ends:
        if value := condition():
            return value
        await asyncio.sleep(0.005)
    raise AssertionError(f"not within {deadline_s:g} s: {what}")


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
