"""What systemd is told, over a real notify socket, while the test moves the time: looks that would take minutes."""

import asyncio
import contextlib
import socket
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from edged.config.settings import MqttSection, OutboxSection
from edged.daemon.delivery import open_dispatch
from edged.daemon.memory import MemoryLimits
from edged.daemon.watchdog import FIRST_FRAME_LIMIT_S, Service
from edged.decision import Rules
from edged.delivery.publisher import Courier
from edged.errors import EdgedError
from edged.process.supervisor import Supervision
from edged.system.clock import Clock
from edged.system.systemd import Notify
from tests.unit.daemon.played import FRAMES, TIMING, PlayedVision, closed_port, until

PLENTY = MemoryLimits(courier_mb=1e6, vision_mb=1e6)


class Looked:
    """A service with its parts, whose looks the test takes itself. `heard`: every word, without the status lines."""

    def __init__(self, folder: Path, limits: MemoryLimits, watchdog_s: float) -> None:
        self.heard: list[str] = []
        self.lines: list[str] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(folder / "notify"))
        self._socket.setblocking(False)
        self.now_s = time.monotonic()
        clock, nobody = Clock(), MqttSection(host="127.0.0.1", port=closed_port())
        self.dispatch = open_dispatch(device="x", state_folder=folder, mqtt=nobody, outbox=OutboxSection(), clock=clock)
        self.dispatch.start()
        self.courier = Courier(self.dispatch, clock, Rules(), result_fps=0)
        self.vision = Supervision(lambda theirs: PlayedVision(theirs, {}))
        notify = Notify(str(folder / "notify"), watchdog_s)
        self.service = Service(notify, self.dispatch, self.vision, self.courier, lambda: "m", limits, lambda: self.now_s)

    def look(self, seconds: int = 1, *, turns: bool = True) -> None:
        """turns: the broker's clockwork ticks."""
        for _ in range(seconds):
            self.now_s += 1
            if turns:
                self.dispatch._broker.turned_s = self.now_s
            self.service._timer.cancel()
            self.service._look()
            self.hear()

    def hear(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while True:
                word = self._socket.recv(4096).decode()
                (self.lines if word.startswith("STATUS=") else self.heard).append(word.removeprefix("STATUS="))

    def see(self) -> None:
        self.courier.camera("ok")
        self.courier.result(1, time.monotonic_ns(), 640, 480, "", [], TIMING, FRAMES)

    async def close(self) -> None:
        self.service.close()
        self.hear()
        self._socket.close()
        await self.vision.stop(0.5)
        await self.dispatch.close(0.5)


@pytest.fixture
def looked(tmp_path: Path) -> Callable[..., None]:
    def play(scene: Callable[[Looked], Coroutine[Any, Any, None]], limits: MemoryLimits = PLENTY, watchdog_s: float = 30.0) -> None:
        async def go() -> None:
            one = Looked(tmp_path, limits, watchdog_s)
            one.service.start()
            try:
                await scene(one)
            finally:
                await one.close()
            assert one.heard[-1] == "STOPPING=1"

        asyncio.run(go())

    return play


def test_it_works_when_a_frame_was_classified_and_asks_for_time_until_then(looked: Callable[..., None]) -> None:
    async def scene(one: Looked) -> None:
        one.look(3)
        assert "EXTEND_TIMEOUT_USEC=10000000" in one.heard and "READY=1" not in one.heard
        one.see()
        one.look(2)
        assert one.heard.count("READY=1") == 1 and one.heard[-1] == "WATCHDOG=1"
        assert "fps, m, broker away, 0 waiting" in one.lines[-1]

    looked(scene)


def test_a_loss_that_is_over_before_the_next_look_is_told_too(looked: Callable[..., None]) -> None:
    """Before: the state was looked at once a second, and a vision process that was soon back had never been lost."""

    async def scene(one: Looked) -> None:
        one.see()
        one.look()
        one.courier.vision_gone("it hung", 0.1, asked=False)
        one.see()
        one.hear()
        lost = [line for line in one.lines if line.startswith("camera: the vision process was lost: it hung")]
        assert len(lost) == 1 and "fps, m" in one.lines[-1]

    looked(scene)


@pytest.mark.parametrize("what", ["camera", "paused", "nothing"])
def test_it_works_also_where_it_is_known_why_no_frame_comes(looked: Callable[..., None], what: str) -> None:
    async def scene(one: Looked) -> None:
        if what == "camera":
            one.courier.camera("lost", "absent", "no camera")
        elif what == "paused":
            one.courier.pause(True)
        else:
            for _ in range(int(FIRST_FRAME_LIMIT_S) - 1):
                one.look(1)
                await until(lambda: not one.service._asked_writer, "the writer lives")
            assert "READY=1" not in one.heard
        one.look(2)
        assert one.heard.count("READY=1") == 1
        assert one.lines[-1].startswith({"camera": "camera: no camera", "paused": "paused", "nothing": "0.0 fps"}[what])

    looked(scene)


def test_a_part_that_is_stuck_is_named_and_the_watchdog_bites(looked: Callable[..., None]) -> None:
    async def scene(one: Looked) -> None:
        one.see()
        one.look(2)
        one.look(12, turns=False)
        assert "WATCHDOG=trigger" in one.heard and one.lines[-1].startswith("the broker's clockwork gives no sign of life")
        told = one.lines.count(one.lines[-1])
        one.look(3, turns=False)
        assert one.lines.count(one.lines[-1]) == told, "it is told once"
        one.look(1)
        assert one.heard[-1] == "WATCHDOG=1"

    looked(scene)


def test_without_a_watchdog_nothing_is_fed(looked: Callable[..., None]) -> None:
    async def scene(one: Looked) -> None:
        one.see()
        one.look(2)
        one.look(12, turns=False)
        assert not [word for word in one.heard if word.startswith("WATCHDOG")]

    looked(scene, watchdog_s=0.0)


def test_the_outbox_is_asked_again_when_it_has_answered(looked: Callable[..., None]) -> None:
    async def scene(one: Looked) -> None:
        await until(lambda: not one.service._asked_writer, "an answer")
        one.look(1)
        assert one.service._asked_writer

    looked(scene)


def test_a_good_minute_is_forgiveness(looked: Callable[..., None]) -> None:
    async def scene(one: Looked) -> None:
        one.see()
        for _ in range(70):
            one.look(1)
            await until(lambda: not one.service._asked_writer, "the writer lives")
        assert one.heard.count("RESTART_RESET=1") == 1

    looked(scene)


def test_a_vision_process_that_grows_is_ended(looked: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    used_mb = [50.0]
    monkeypatch.setattr("edged.daemon.watchdog.memory_mb", lambda _pid=0: used_mb[0])

    async def scene(one: Looked) -> None:
        one.vision.start()
        one.see()
        one.look(75)
        used_mb[0] = 400.0
        one.look(11)
        await until(lambda: one.vision.pid is None, "it is ended")

    looked(scene, limits=MemoryLimits(courier_mb=1e6, vision_mb=100.0))


def test_a_courier_that_grows_ends(looked: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    used_mb = [50.0]
    monkeypatch.setattr("edged.daemon.watchdog.memory_mb", lambda _pid=0: used_mb[0])

    async def scene(one: Looked) -> None:
        one.see()
        one.look(75)
        used_mb[0] = 400.0
        with pytest.raises(EdgedError, match="the courier ends, to be started again"):
            one.look(11)

    looked(scene, limits=MemoryLimits(courier_mb=100.0, vision_mb=1e6))
