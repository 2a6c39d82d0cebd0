"""The local socket: who waits is told what goes on, slowness is told from absence, and who asks for no progress gets one line."""

import asyncio
import json
import socket
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from edged.errors import ConfigError, EdgedError, UnavailableError
from edged.models.admission import CHECK_LIMIT_S
from edged.models.fit.fit import MEASURE_S
from edged.process import control
from edged.process.control import LONGEST_S, SOCKET, Control, ask
from edged.rollout.switcher import LOAD_LIMIT_S, PROOF_LIMIT_S

Handler = Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]


def served(folder: Path, handler: Handler, asks: Callable[[], Any], progress: str = "it is tried") -> Any:
    """What `asks` came to in another thread, with a daemon's end that answers `do`."""

    async def go() -> Any:
        door = Control(folder, lambda: progress)
        door.on("do", handler)
        await door.start()
        assert door.fault is None
        try:
            return await asyncio.to_thread(asks)
        finally:
            await door.close()

    return asyncio.run(go())


def test_who_waits_is_told_what_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "_PROGRESS_S", 0.01)
    told: list[str] = []
    heard = asyncio.Event()

    async def slow(_: dict[str, Any]) -> dict[str, Any]:
        await heard.wait()
        return {"done": 1}

    async def go() -> dict[str, Any]:
        loop = asyncio.get_running_loop()
        door = Control(tmp_path, lambda: "it is tried")
        door.on("do", slow)
        await door.start()

        def hear(line: str) -> None:
            told.append(line)
            loop.call_soon_threadsafe(heard.set)

        answer = await asyncio.to_thread(ask, tmp_path, {"verb": "do"}, on_progress=hear)
        await door.close()
        return answer

    assert asyncio.run(go()) == {"ok": True, "done": 1} and told == ["it is tried"]


def test_a_daemon_that_is_slow_is_not_told_as_absent(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / SOCKET))
        listening.listen()
        with pytest.raises(UnavailableError, match=r"edged is there at .*, but gave no sign of life for 0\.1 s"):
            ask(tmp_path, {"verb": "do"}, silence_s=0.1)


def test_a_daemon_that_never_ends_is_given_up(tmp_path: Path) -> None:
    def serve(listening: socket.socket) -> None:
        end, _ = listening.accept()
        with end:
            end.recv(1000)
            end.sendall(b'{"progress": "on and on"}\n')
            end.recv(1000)  # until the other end is closed

    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / SOCKET))
        listening.listen()
        thread = threading.Thread(target=serve, args=(listening,))
        thread.start()
        with pytest.raises(UnavailableError, match=r"is not done after 0\.5 s"):
            ask(tmp_path, {"verb": "do"}, longest_s=0.5)
        thread.join()


def test_an_asker_waits_as_long_as_the_longest_switch_may_take() -> None:
    """The model is tried, and measured in both its forms; it is loaded, and proves itself."""
    trial_s = CHECK_LIMIT_S + 2 * (CHECK_LIMIT_S + 10 * MEASURE_S)
    assert trial_s + LOAD_LIMIT_S + PROOF_LIMIT_S <= LONGEST_S
    assert control._PROGRESS_S * 3 < control._SILENCE_S, "and a word that is late is no silence"


def test_no_daemon_is_told_as_absent(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match=r"no edged answers at .* is it running\?"):
        ask(tmp_path, {"verb": "do"})


def test_who_asks_for_no_progress_gets_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As commands of an older edged do."""
    monkeypatch.setattr(control, "_PROGRESS_S", 0.001)

    async def soon(_: dict[str, Any]) -> dict[str, Any]:
        for _n in range(20):
            await asyncio.sleep(0)
        return {"done": 1}

    def asks() -> list[bytes]:
        with socket.socket(socket.AF_UNIX) as end:
            end.connect(str(tmp_path / SOCKET))
            end.sendall(b'{"verb": "do"}\n')
            return end.makefile("rb").readlines()

    lines = served(tmp_path, soon, asks)
    assert [json.loads(line) for line in lines] == [{"ok": True, "done": 1}]


def test_a_refusal_keeps_its_exit_code(tmp_path: Path) -> None:
    async def refuses(_: dict[str, Any]) -> dict[str, Any]:
        raise ConfigError(["x.toml:1: a: b"])

    with pytest.raises(EdgedError, match=r"x\.toml:1: a: b") as refused:
        served(tmp_path, refuses, lambda: ask(tmp_path, {"verb": "do"}))
    assert refused.value.exit_code == 78
    with pytest.raises(EdgedError, match="knows no such verb; it knows do"):
        served(tmp_path, refuses, lambda: ask(tmp_path, {"verb": "undo"}))


def test_a_door_that_can_not_be_opened_is_a_fault(tmp_path: Path) -> None:
    async def go() -> None:
        door = Control(tmp_path / "absent")
        await door.start()
        assert door.fault is not None and door.fault.kind == "control"
        await door.close()

    asyncio.run(go())


def test_a_socket_that_was_taken_away_is_made_anew(tmp_path: Path) -> None:
    async def done(_: dict[str, Any]) -> dict[str, Any]:
        return {"done": 1}

    async def go() -> None:
        door = Control(tmp_path)
        door.on("do", done)
        await door.start()
        assert door.is_there
        (tmp_path / SOCKET).unlink()
        assert not door.is_there
        for _ in range(2):
            await door.start()
            assert door.is_there and await asyncio.to_thread(ask, tmp_path, {"verb": "do"}) == {"ok": True, "done": 1}
        await door.close()
        assert not (tmp_path / SOCKET).exists()

    asyncio.run(go())


def test_the_end_leaves_a_socket_alone_that_is_another_ones(tmp_path: Path) -> None:
    """Before: it was removed with the own one's name, and the other daemon could not be reached any more."""

    async def go() -> None:
        first, second = Control(tmp_path), Control(tmp_path)
        await first.start()
        await second.start()
        assert second.is_there and not first.is_there
        await first.close()
        assert second.is_there
        await second.close()
        assert not (tmp_path / SOCKET).exists()

    asyncio.run(go())


def test_a_door_that_opens_later_is_no_fault_any_more(tmp_path: Path) -> None:
    async def go() -> None:
        door = Control(tmp_path / "later")
        await door.start()
        assert door.fault is not None
        (tmp_path / "later").mkdir()
        await door.start()
        assert door.fault is None and door.is_there
        await door.close()

    asyncio.run(go())
