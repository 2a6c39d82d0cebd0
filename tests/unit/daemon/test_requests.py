"""What may be asked, by whom, how often, and what is answered: with the real parts, and vision played by the test."""

import asyncio
import contextlib
import json
import socket
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edged.daemon.daemon import Daemon
from edged.daemon.requests import LARGEST_BYTES, _Newest, to_action, to_wish
from edged.errors import EdgedError
from edged.system.tasks import Tasks
from tests.unit.daemon.played import Stage, until
from tests.unit.simulated_loop import simulate


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


def asked(stage: Stage, play: Callable[[Daemon], Coroutine[Any, Any, None]]) -> None:
    async def go(_: Stage, daemon: Daemon) -> None:
        await play(daemon)

    stage.run(go)


def answers(daemon: Daemon, topic: str) -> int:
    return int(daemon._dispatch._stamps._seq[topic])


@given(st.binary(max_size=300) | st.text(max_size=100).map(lambda text: text.encode(errors="replace")))
def test_a_wish_is_a_word_and_never_a_path(payload: bytes) -> None:
    wish = to_wish(payload)
    assert wish is None or (wish.isprintable() and wish and "/" not in wish and not wish.startswith((".", "~")))


@given(st.recursive(st.none() | st.booleans() | st.text(max_size=9), lambda inner: st.dictionaries(st.text(max_size=9), inner)))
def test_only_exactly_an_action_is_one(command: Any) -> None:
    action = to_action(json.dumps(command).encode())
    assert action is None or command == {"action": action}


@pytest.mark.parametrize(
    "payload",
    [
        *(b"", b"[" * 5000, b"\xff", b'{"action": ["pause"]}', b" " * LARGEST_BYTES + b"{}", b"null", b'[["action", "pause"]]'),
        *('{"action": "pause"}'.encode(encoding) for encoding in ("utf-8-sig", "utf-16", "utf-32-be")),
        *(b'{"action": "pause", "action": "resume"}', b'{"action": "pause", "action": "pause"}'),
    ],
)
def test_what_is_no_action_is_none(payload: bytes) -> None:
    assert to_action(payload) is None


def test_more_than_a_few_commands_a_second_are_counted_and_answered_once(stage: Stage) -> None:
    async def play(daemon: Daemon) -> None:
        requests = daemon._requests
        for _ in range(100):
            requests._on_control(b'{"action": "resume"}')
        refused = daemon._report.health().commands_refused
        assert 70 <= refused <= 81
        await until(lambda: answers(daemon, "control/error") == 1, "one answer for all")
        requests._on_control(b"nonsense")
        assert daemon._report.health().commands_refused == refused + 1
        await until(lambda: answers(daemon, "control/error") == 2, "the next answer")

    asked(stage, play)


def test_each_wish_that_is_not_followed_is_counted_and_answered(stage: Stage) -> None:
    wishes = (b"", b"\xff", b"../x", b"x" * 201, b"nope", b"@nope")

    async def play(daemon: Daemon) -> None:
        before = daemon._report.health().commands_refused
        for number, wish in enumerate(wishes, 1):
            daemon._requests._on_model_set(wish)
            await until(lambda number=number: answers(daemon, "model/error") == number, f"the answer to {wish!r}")
        await until(lambda: daemon._report.health().commands_refused == before + len(wishes), "all are counted")
        assert answers(daemon, "control/error") == 0

    asked(stage, play)


def test_of_many_wishes_the_newest_is_worked_on() -> None:
    worked: list[tuple[float, str]] = []

    async def work(wish: str) -> None:
        worked.append((asyncio.get_running_loop().time(), wish))

    async def play() -> None:
        newest = _Newest(work, Tasks())
        for wish in "abc":
            newest.ask(wish)
        await asyncio.sleep(0.1)
        for wish in "defg":
            newest.ask(wish)
        await asyncio.sleep(60)
        newest.ask("h")
        await asyncio.sleep(60)

    simulate(play)
    assert [wish for _, wish in worked] == ["c", "g", "h"]
    assert worked[1][0] - worked[0][0] == pytest.approx(0.2)


def test_what_is_no_wish_is_answered(stage: Stage) -> None:
    async def play(daemon: Daemon) -> None:
        for number, payload in enumerate((b"", b"/etc/passwd", b"\xff\xfe", b"x" * 1000), 1):
            daemon._requests._on_model_set(payload)
            assert answers(daemon, "model/error") == number

    asked(stage, play)


@pytest.mark.parametrize("request_", [{}, {"wish": 7}, {"wish": "../x"}, {"wish": " x"}, {"wish": None}, {"wish": ["x"]}])
def test_use_takes_what_model_set_takes(stage: Stage, request_: dict[str, Any]) -> None:
    async def play(daemon: Daemon) -> None:
        with pytest.raises(EdgedError, match="use needs an installed model's name"):
            await daemon._requests._use(request_)

    asked(stage, play)


@pytest.mark.parametrize("since_s", [None, -1, 1e18, "1", float("nan"), [1]])
def test_a_replay_needs_a_time(stage: Stage, since_s: Any) -> None:
    async def play(daemon: Daemon) -> None:
        with pytest.raises(EdgedError, match="replay needs since_s"):
            await daemon._requests._replay({"since_s": since_s})

    asked(stage, play)


def test_systemd_hears_of_a_reload_around_all_that_go_on(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    heard = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    heard.bind(str(stage.folder / "notify"))
    heard.setblocking(False)
    monkeypatch.setenv("NOTIFY_SOCKET", str(stage.folder / "notify"))

    def said() -> list[str]:
        found = []
        with contextlib.suppress(BlockingIOError):
            while True:
                found.append(heard.recv(4096).partition(b"\n")[0].decode())
        return [word for word in found if word in ("RELOADING=1", "READY=1")]

    async def play(daemon: Daemon) -> None:
        assert daemon._requests._notify.up()
        said()
        first, second = (asyncio.ensure_future(daemon._requests._reload()) for _ in range(2))
        assert (await first)["changed"] == (await second)["changed"] == []
        assert said() == ["RELOADING=1", "READY=1"]
        stage.path.write_text("[broken")
        with pytest.raises(EdgedError):
            await daemon._requests._reload()
        assert said()[-1] == "READY=1", "also where it is refused"

    asked(stage, play)
    heard.close()


def test_the_letters_of_the_outbox_are_asked_for(stage: Stage) -> None:
    async def play(daemon: Daemon) -> None:
        assert await daemon._requests._outbox({"do": "list"})
        with pytest.raises(EdgedError):
            await daemon._requests._outbox({"do": "nonsense"})

    asked(stage, play)
