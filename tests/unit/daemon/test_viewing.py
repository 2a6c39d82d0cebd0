"""watch, hour, act and tune on the control socket, of a daemon whose vision process is played."""

import asyncio
import contextlib
import json
import socket
from pathlib import Path
from typing import Any

import pytest

from edged.daemon.daemon import Daemon
from edged.errors import ConfigError, EdgedError
from edged.process.control import SOCKET, ask
from edged.system.heat import Heat
from edged.system.hour import read_rows
from tests.e2e.running import HANG_S
from tests.unit.daemon.played import SMALL, Stage, until

JPEG = b"\xff\xd8\xff" + bytes(200)


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path, {"page": {"enabled": True}})


class Watch:
    """A watcher as the page is one."""

    @classmethod
    async def open(cls, state: Path) -> "Watch":
        watch = cls()
        watch.reader, watch.writer = await asyncio.open_unix_connection(state / SOCKET, limit=1 << 20)
        watch.say({"verb": "watch"})
        return watch

    def say(self, asked: dict[str, Any]) -> None:
        self.writer.write(json.dumps(asked).encode() + b"\n")

    async def next(self, key: str, value: str = "") -> dict[str, Any]:
        async with asyncio.timeout(HANG_S):
            while line := await self.reader.readline():
                told = json.loads(line)
                if key in told and (not value or told[key] == value):
                    return told
        raise EOFError

    async def ended(self) -> bool:
        with contextlib.suppress(EOFError, ConnectionError):
            await self.next("never")
        return True


def test_a_watcher_hears_what_is_published_also_with_no_broker(stage: Stage) -> None:
    async def play(stage: Stage, daemon: Daemon) -> None:
        stage.vision.results()
        await until(lambda: daemon._publisher.decided().label == "background" or daemon._publisher.looks > 3, "looked")
        watch = await Watch.open(stage.state)
        assert (await watch.next("topic", "info"))["body"]["page"] == "http://127.0.0.1:8080/"
        result = asyncio.ensure_future(watch.next("topic", "result"))
        while not result.done():  # at most one a second is published
            stage.vision.results(1)
            await asyncio.sleep(0.05)
        assert (await result)["body"]["model"] == SMALL
        await asyncio.to_thread(ask, stage.state, {"verb": "act", "action": "pause"})
        event = await watch.next("topic", "event")
        assert event["body"]["event_type"] in ("entered", "left") and event["time"].endswith("Z")
        again = await Watch.open(stage.state)
        assert (await again.next("topic", "event"))["body"]["label"], "one that comes later hears the last ones"

    stage.run(play)


def test_the_third_watcher_takes_the_place_of_the_oldest(stage: Stage) -> None:
    async def play(stage: Stage, daemon: Daemon) -> None:
        first, second = await Watch.open(stage.state), await Watch.open(stage.state)
        await first.next("topic")
        await second.next("topic")
        third = await Watch.open(stage.state)
        await third.next("topic", "camera")
        assert await first.ended()
        await asyncio.to_thread(ask, stage.state, {"verb": "act", "action": "pause"})
        while (await second.next("topic", "camera"))["body"]["state"] != "paused":
            pass

    stage.run(play)


def test_whoever_does_not_read_is_dropped_and_holds_nothing_up(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edged.delivery.watching._SLOW_S", 0.2)

    async def play(stage: Stage, daemon: Daemon) -> None:
        watching = daemon._viewing._watching
        with socket.socket(socket.AF_UNIX) as deaf:
            deaf.connect(str(stage.state / SOCKET))
            deaf.sendall(b'{"verb": "watch"}\n')
            await until(lambda: watching._watchers, "it watches")
            watcher = watching._watchers[0]
            told = 0
            while watching._watchers:
                for _ in range(50):  # as much as anybody can hand in before the loop turns
                    watching.on_doing("x" * 5000)
                    watching.on_said("event", daemon._report.health(), 0)
                    told += 1
                assert len(watcher._events) <= 64 and len(watcher._newest) <= 12
                await asyncio.sleep(0)
        assert told

    stage.run(play)


@pytest.mark.parametrize("line", [b"[]", b"{", b'{"picture": "/etc/passwd"}', b'{"try": [0, 0, 2, 1]}', b"x" * 100_000])
def test_what_a_watcher_says_wrongly_asks_for_nothing(stage: Stage, line: bytes) -> None:
    async def play(stage: Stage, daemon: Daemon) -> None:
        watch = await Watch.open(stage.state)
        await watch.next("topic")
        watch.writer.write(line + b"\n")
        later = await Watch.open(stage.state)
        later.say({"picture": "whole"})
        await until(lambda: stage.vision.told("snapshot"), "the sound one is asked")
        assert len(stage.vision.told("snapshot")) == 1 and not stage.vision.told("try")

    stage.run(play)


def test_a_picture_comes_with_what_is_decided_and_only_to_who_asked(stage: Stage) -> None:
    async def play(stage: Stage, daemon: Daemon) -> None:
        stage.vision.results()
        watch, other = await Watch.open(stage.state), await Watch.open(stage.state)
        await until(lambda: daemon._publisher.looks, "looked")
        watch.say({"picture": "whole"})
        await until(lambda: stage.vision.told("snapshot"), "asked")
        asked = stage.vision.told("snapshot")[0]
        assert asked["why"] == "local" and asked["view"] == "whole" and asked["number"] > 0
        about = {"index": 1, "captured_ns": 1, "event_ns": 0, "shows": [0, 0, 1, 1]}
        stage.vision.pipe.send("snapshot", about | {"number": asked["number"], "last": True}, JPEG)
        told = (await watch.next("picture"))["picture"]
        assert told["jpeg"].startswith("/9j/") and told["shows"] == [0, 0, 1, 1] and told["top"][0][1] == 0.9
        assert daemon._dispatch.results_dropped.get("offline", 0) >= 0
        other.say({"try": [0.1, 0.1, 0.5, 0.5]})
        await until(lambda: stage.vision.told("try"), "tried")
        number = stage.vision.told("try")[0]["number"]
        stage.vision.say("tried", number=number, scores=[[1, 0.7], [5000, 0.2]], reason="")
        tried = (await other.next("tried"))["tried"]
        assert tried["scores"] == {daemon._apply.active.installed.labels[1]: 0.7} and tried["asked"] == [0.1, 0.1, 0.5, 0.5]
        looks = daemon._publisher.looks
        assert looks == daemon._publisher.looks, "a try is no result"

    stage.run(play)


def test_no_picture_while_paused_or_not_allowed_and_one_that_never_comes_is_told(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edged.delivery.watching._UNANSWERED_S", 0.1)

    async def play(stage: Stage, daemon: Daemon) -> None:
        watch = await Watch.open(stage.state)
        watch.say({"picture": "region"})
        assert "no picture now" in (await watch.next("picture"))["picture"]["reason"]
        await asyncio.to_thread(ask, stage.state, {"verb": "act", "action": "pause"})
        before = len(stage.vision.told("snapshot"))
        await asyncio.sleep(0.1)
        watch.say({"picture": "region"})
        assert "no picture may be shown" in (await watch.next("picture"))["picture"]["reason"]
        await asyncio.to_thread(ask, stage.state, {"verb": "act", "action": "resume"})
        stage.write(stage.config | {"snapshot": {"local": False}})
        await asyncio.to_thread(ask, stage.state, {"verb": "reload"})
        watch.say({"picture": "region"})
        while "may be shown" not in (await watch.next("picture"))["picture"]["reason"]:
            watch.say({"picture": "region"})
        assert len(stage.vision.told("snapshot")) == before
        with pytest.raises(EdgedError, match="on_control is false"):
            await asyncio.to_thread(ask, stage.state, {"verb": "act", "action": "snapshot"})
        with pytest.raises(EdgedError, match="one of pause"):
            await asyncio.to_thread(ask, stage.state, {"verb": "act", "action": "reboot"})

    stage.run(play)


def test_the_hour_is_kept_while_the_page_is_enabled(stage: Stage) -> None:
    async def play(stage: Stage, daemon: Daemon) -> None:
        stage.vision.results()
        await until(lambda: daemon._publisher.looks, "looked")
        await until(lambda: any(row.looks for row in read_rows(daemon._viewing._hour.to_dict())), "a row of it")
        told = await asyncio.to_thread(ask, stage.state, {"verb": "hour"})
        row = next(row for row in read_rows(told) if row.looks)
        assert abs(next(iter(row.scores.values())) - 0.9) < 0.001 and row.state == "ok" and told["rules"]["k"] == 2
        for none in ("x", dict.fromkeys(map(str, range(21)), 0)):
            with pytest.raises(EdgedError, match="hour takes tried"):
                await asyncio.to_thread(ask, stage.state, {"verb": "hour", "tried": none})
        with pytest.raises(EdgedError, match="whole number"):
            await asyncio.to_thread(ask, stage.state, {"verb": "hour", "since": "x"})
        stage.write(stage.config | {"page": {"enabled": False}})
        await asyncio.to_thread(ask, stage.state, {"verb": "reload"})
        daemon._viewing.each_second(Heat())
        assert daemon._viewing._hour.size_bytes == 0
        assert not (await asyncio.to_thread(ask, stage.state, {"verb": "hour"}))["kept"]

    stage.run(play)


async def tune(stage: Stage, **values: Any) -> dict[str, Any]:
    named = {key.replace("__", "."): value for key, value in values.items()}
    return await asyncio.to_thread(ask, stage.state, {"verb": "tune", "values": named})


def test_a_key_beside_the_file_holds_until_that_key_in_the_file_changes(stage: Stage) -> None:
    async def play(stage: Stage, daemon: Daemon) -> None:
        forks = len(stage.visions)
        done = await tune(stage, camera__region=[0.2, 0.2, 0.5, 0.5], decision__enter=0.7)
        assert sorted(done["changed"]) == ["camera.region", "decision.enter"]
        assert daemon._publisher.rules.enter == 0.7
        await until(lambda: stage.vision.told("tune"), "told live")
        assert stage.vision.told("tune")[-1]["region"] == [0.2, 0.2, 0.5, 0.5] and len(stage.visions) == forks
        assert daemon._apply.active.name == SMALL and len(stage.vision.told("load")) == 1, "the same model runs on"
        with pytest.raises(EdgedError, match="above enter"):
            await tune(stage, decision__leave=0.9)
        assert (await asyncio.to_thread(ask, stage.state, {"verb": "status"}))["tuned"] == {
            "camera.region": [0.2, 0.2, 0.5, 0.5],
            "decision.enter": 0.7,
        }
        # an edit of another key leaves both; of one of them takes that one back
        stage.write(stage.config | {"decision": {"hold_s": 2.0}})
        await asyncio.to_thread(ask, stage.state, {"verb": "reload"})
        assert daemon._publisher.rules.enter == 0.7 and daemon._publisher.rules.hold_s == 2.0
        stage.write(stage.config | {"decision": {"enter": 0.65}})
        await asyncio.to_thread(ask, stage.state, {"verb": "reload"})
        assert daemon._publisher.rules.enter == 0.65
        assert daemon._apply.settings.camera.region == (0.2, 0.2, 0.5, 0.5)
        # undone for itself, and with the wish
        await tune(stage, camera__region=None)
        assert daemon._apply.settings.camera.region == (0.0, 0.0, 1.0, 1.0)
        assert not (stage.state / "tuned.json").exists()
        await tune(stage, decision__margin=0.3)
        assert (stage.state / "tuned.json").stat().st_mode & 0o777 == 0o600
        await asyncio.to_thread(ask, stage.state, {"verb": "use", "wish": "@file"})
        assert daemon._publisher.rules.margin != 0.3 and not (stage.state / "tuned.json").exists()

    stage.run(play)


@pytest.mark.parametrize(
    ("file", "values"),
    [
        ({}, {"decision.enter": 0.3}),  # below what the card says of leave, which gives way
        ({}, {"decision.leave": 0.9}),  # above the card's enter
        ({}, {"decision.margin": 0.2, "decision.k": 3, "decision.n": 4, "decision.hold_s": 2}),
        ({"enter": 0.3}, {"decision.enter": 0.5}),  # leave had given way further than it has to now
        ({"leave": 0.4}, {"decision.enter": 0.3}),  # what the file says does not give way
        ({}, {"decision.enter": 0.5, "decision.leave": 0.6}),
        ({}, {"decision.k": 9}),
        ({}, {"decision.enter": 2}),
        ({}, {"decision.enter": 0, "decision.margin": 0}),
    ],
)
def test_a_trial_takes_and_refuses_what_saving_does(stage: Stage, file: dict[str, Any], values: dict[str, Any]) -> None:
    async def play(stage: Stage, daemon: Daemon) -> None:
        outcomes = []
        for asked, key in (({"verb": "hour", "tried": values}, "would"), ({"verb": "tune", "values": values}, "")):
            before = (await asyncio.to_thread(ask, stage.state, {"verb": "hour"}))["rules"]
            try:
                told = await asyncio.to_thread(ask, stage.state, asked)
                outcomes.append(told[key] if key else (await asyncio.to_thread(ask, stage.state, {"verb": "hour"}))["rules"])
                assert outcomes[-1] != before
            except EdgedError as error:
                outcomes.append(str(error))
        assert outcomes[0] == outcomes[1]

    stage.write(stage.config | {"decision": file})
    stage.run(play)


def test_it_holds_after_a_restart_and_a_file_that_contradicts_it_wins(stage: Stage) -> None:
    async def first(stage: Stage, daemon: Daemon) -> None:
        await tune(stage, decision__enter=0.55)

    async def second(stage: Stage, daemon: Daemon) -> None:
        assert daemon._publisher.rules.enter == 0.55
        stage.write(stage.config | {"decision": {"leave": 0.58}})  # above what is beside the file
        await asyncio.to_thread(ask, stage.state, {"verb": "reload"})
        assert daemon._publisher.rules.leave == 0.58 <= daemon._publisher.rules.enter
        assert daemon._apply.intent.tuned.values == {} and not (stage.state / "tuned.json").exists()

    stage.run(first)
    stage.run(second)


@pytest.mark.parametrize(
    "content",
    [
        b"[]",
        b"{",
        b'{"values": {"mqtt.host": "x"}, "was": {"mqtt.host": null}}',
        b"\xff" * 9,
        b'{"values": {"decision.enter": "x"}, "was": {"decision.enter": null}}',
        b'{"values": {"decision.k": 9}, "was": {"decision.k": 2}}',
        b'{"values": {"camera.region": [[[[]]]]}, "was": {"camera.region": [0.0, 0.0, 1.0, 1.0]}}',
        b'{"values": ' + b'{"a":' * 3000,
    ],
)
def test_a_damaged_file_of_keys_is_none(stage: Stage, content: bytes) -> None:
    stage.state.mkdir(exist_ok=True)
    (stage.state / "tuned.json").write_bytes(content)

    async def play(stage: Stage, daemon: Daemon) -> None:
        assert daemon._apply.intent.tuned.values == {}
        with pytest.raises(ConfigError):
            daemon._apply.intent.tune({"mqtt.host": "x"}, "page")

    stage.run(play)
