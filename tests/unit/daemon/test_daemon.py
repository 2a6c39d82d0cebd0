"""The daemon in this process: every part is the real one, but the vision process, which the test plays over the real pipe."""

import asyncio
import contextlib
import errno
import json
import os
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from edged.daemon.daemon import Daemon
from edged.daemon.early import EarlyStart
from edged.daemon.run import run
from edged.errors import ConfigError, EdgedError, ModelError, RunningError
from edged.models.admission import Admission
from edged.models.fit.fit import Fitting
from edged.models.install import Wish, add
from edged.models.measurements import Verdict
from edged.models.store import Store
from edged.process.control import ask
from edged.rollout.governor import Governor, Rung
from edged.rollout.recovery import Behind, GoneBack, Good, Probation, Safe
from edged.rollout.startup import begin, find_config
from edged.system.clock import Clock
from edged.system.files import shipped
from edged.system.heat import Heat
from edged.system.lock import claimed, holder_pid
from tests.unit.daemon.played import LARGE, SMALL, Stage, admit, measure, until


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


def kinds(daemon: Daemon) -> list[str]:
    return [fault["kind"] for fault in daemon._report.health().faults if fault["kind"] not in ("broker", "camera")]


def refusals(daemon: Daemon) -> int:
    """Of `model/error`: no broker is there to take them."""
    return int(daemon._dispatch._stamps._seq["model/error"])


def unwatched(daemon: Daemon) -> None:
    """From now on the file is followed when the test asks for it, and not beside that."""
    assert daemon._watch is not None
    daemon._watch.close()
    daemon._watch = None


async def use(stage: Stage, daemon: Daemon, wish: str) -> dict[str, Any]:
    """As `edged use`; the played vision gives results until it is decided."""
    asked = asyncio.ensure_future(daemon._changes.wish(wish, "use"))
    return await give_frames(stage, asked)


async def give_frames(stage: Stage, asked: "asyncio.Future[dict[str, Any]]", invoke_ms: float = 2.0) -> dict[str, Any]:
    while not asked.done():
        if stage.vision.told("load") and stage.vision.code is None:
            stage.vision.results(1, invoke_ms)
        await asyncio.sleep(0.01)
    return await asked


def test_a_camera_that_may_choose_is_told_the_side_of_the_model(stage: Stage) -> None:
    async def play(stage: Stage, daemon: Daemon) -> None:
        (told,) = stage.vision.told("configure")
        assert told["camera"]["px"] == daemon._apply.active.installed.card.px == 96

    stage.run(play)


def test_a_start_and_an_end(stage: Stage) -> None:
    async def play(stage: Stage, daemon: Daemon) -> None:
        stage.vision.results()
        await until(lambda: daemon._publisher.camera_state == "ok", "frames")
        stage.vision.memory_mb = 42.0
        await until(lambda: daemon._report.health().vision_memory_mb == 42.0, "a beat")
        stage.vision.print(b"INFO: chatter\nsomething broke\nunfinished")
        status = daemon._report.status()
        assert status["model"] == SMALL and status["chosen"] == f"config: model.name = {SMALL}" and kinds(daemon) == []

    stage.run(play)
    assert len(stage.visions) == 1 and stage.vision.code == 0


def test_a_state_folder_that_is_taken_away_comes_back_with_its_door(stage: Stage) -> None:
    """Before: nobody could ask the daemon any more, `health` said nothing of it, and a second daemon could start beside it."""

    async def play(stage: Stage, daemon: Daemon) -> None:
        shutil.rmtree(stage.state)
        await until(lambda: daemon._control.is_there and holder_pid(stage.state) == os.getpid(), "the lock and the door")
        assert (await asyncio.to_thread(ask, stage.state, {"verb": "status"}))["ok"]
        assert not {"state_folder", "control"} & set(kinds(daemon))
        shutil.rmtree(stage.state)
        stage.state.write_text("in the way")
        await until(lambda: {"state_folder", "control"} <= set(kinds(daemon)), "it is told")

    with claimed(stage.state):
        stage.run(play)


def test_a_wish_is_proven_and_kept(stage: Stage) -> None:
    async def play(stage: Stage, daemon: Daemon) -> None:
        done = await use(stage, daemon, LARGE)
        assert done["model"] == LARGE and done["note"] == "" and daemon._apply.active.why.startswith("use: ")
        assert json.loads((stage.state / "override.json").read_text())["wish"] == LARGE
        assert (await use(stage, daemon, "@file"))["model"] == SMALL
        assert not (stage.state / "override.json").exists()

    stage.run(play)


@pytest.mark.parametrize("why", ["slow", "load", "crash", "fails", "verdict"])
def test_a_wish_that_is_refused_changes_nothing(stage: Stage, why: str) -> None:
    if why == "verdict":
        admit(stage.state, LARGE, Verdict(admitted=False, reason="it gave nonsense"))
    stage.write(stage.config | {"budget": {"latency_ms": 50.0}})

    async def play(stage: Stage, daemon: Daemon) -> None:
        if why == "load":
            stage.refuse[LARGE] = "damaged"
        asked = asyncio.ensure_future(daemon._changes.wish(LARGE, "use"))
        if why in ("crash", "fails"):
            await until(lambda: len(stage.vision.told("load")) == 2, "on trial")
            await until(lambda: daemon._apply.switcher.used.name == LARGE, "in use")
            if why == "fails":
                stage.vision.say("model_failed", reason="invoke failed")
            else:
                stage.vision.end(-11)
        with pytest.raises(ModelError, match=f"model {LARGE} is refused"):
            await give_frames(stage, asked, 100.0 if why == "slow" else 2.0)
        assert daemon._apply.active.name == SMALL and refusals(daemon) >= 1
        assert not (stage.state / "override.json").exists() and kinds(daemon) == []
        if why == "crash":
            await until(lambda: len(stage.visions) == 2 and stage.vision.told("load"), "the next vision process, at once", 5)
            assert [fields["path"].endswith(f"{SMALL}.tflite") for fields in stage.vision.told("load")] == [True]

    stage.run(play)


def test_the_newest_wish_wins_at_once(stage: Stage) -> None:
    """The first one waits for frames that never come."""

    async def play(stage: Stage, daemon: Daemon) -> None:
        first = asyncio.ensure_future(daemon._changes.wish(LARGE, "use"))
        await until(lambda: daemon._apply.switcher.used.name == LARGE, "on trial")
        done = await daemon._changes.wish(SMALL, "model/set")
        assert done["model"] == SMALL and not daemon._apply.switcher.on_trial
        with pytest.raises(EdgedError, match=f"overtaken by a newer wish: {SMALL}"):
            await first

    stage.run(play)


def test_whoever_waits_hears_why_the_way_back_was_taken(stage: Stage) -> None:
    async def play(stage: Stage, daemon: Daemon) -> None:
        waits = asyncio.ensure_future(daemon._changes.wish(LARGE, "use"))
        await until(lambda: daemon._apply.switcher.used.name == LARGE, "on trial")
        number = stage.vision.told("load")[0]["number"]
        stage.vision.say("load_failed", number=number, path="/x", reason="damaged")
        with pytest.raises(EdgedError, match=f"model {SMALL} can not be loaded any more: damaged"):
            await waits
        await until(lambda: kinds(daemon) == ["model_refused"], "told")
        assert daemon._apply.active.why.startswith("the smallest: ")

    stage.run(play)


@pytest.mark.parametrize(
    ("change", "live"),
    [
        ({"gate": {"enabled": True}}, True),
        ({"camera": {"region": [0.1, 0.1, 0.5, 0.5]}}, True),
        ({"camera": {"max_age_ms": 900}}, True),
        ({"camera": {"fps": 3.0}}, True),
        ({"camera": {"frozen_s": 9.0}}, False),
    ],
    ids=["gate", "region", "max_age_ms", "fps", "frozen_s"],
)
def test_what_can_be_told_live_starts_no_vision_process(stage: Stage, change: dict[str, Any], live: bool) -> None:
    async def play(stage: Stage, daemon: Daemon) -> None:
        config = {**stage.config, **change}
        config["camera"] = {**stage.config["camera"], **change.get("camera", {})}
        stage.write(config)
        done = await daemon._changes.reload()
        assert len(done["changed"]) == 1
        if live:
            tuning = (await until(lambda: stage.vision.told("tune"), "told"))[-1]
            assert tuning["fps"] == config["camera"]["fps"] and (tuning["gate"] is not None) == ("gate" in change)
            assert len(stage.visions) == 1
        else:
            await until(lambda: len(stage.visions) == 2, "a new vision process")

    stage.run(play)


@pytest.mark.parametrize("older", [{"decision": {"enter": 0.9}}, {"decision": {"enter": "no number"}}], ids=["sound", "faulty"])
def test_a_reading_of_the_file_that_took_long_does_not_undo_a_later_one(stage: Stage, older: dict[str, Any]) -> None:
    """Two at once: the daemon has seen an edit, and somebody asks for the next one. Before: the older one was followed last."""

    async def play(stage: Stage, daemon: Daemon) -> None:
        intent, was_read, may_go_on = daemon._apply.intent, asyncio.Event(), asyncio.Event()
        read = intent._read

        async def read_slowly() -> Any:
            try:
                return await read()
            finally:
                was_read.set()
                await may_go_on.wait()

        unwatched(daemon)
        stage.write(stage.config | older)
        intent._read = read_slowly  # type: ignore[method-assign]
        slow = asyncio.ensure_future(daemon._changes.reload())
        await was_read.wait()
        intent._read = read  # type: ignore[method-assign]
        stage.write(stage.config | {"decision": {"enter": 0.8}})
        await daemon._changes.reload()
        may_go_on.set()
        await slow
        assert daemon._apply.settings.decision.enter == 0.8 and kinds(daemon) == []

    stage.run(play)


def test_a_model_that_is_refused_holds_no_other_edit_up(stage: Stage) -> None:
    async def play(stage: Stage, daemon: Daemon) -> None:
        unwatched(daemon)
        stage.refuse[LARGE] = "damaged"
        stage.write(stage.config | {"model": {"name": LARGE}, "decision": {"enter": 0.9}})
        with pytest.raises(ModelError, match=r"is refused: damaged"):
            await daemon._changes.reload()
        assert daemon._apply.settings.decision.enter == 0.9 and daemon._apply.active.name == SMALL
        assert kinds(daemon) == ["model_refused"]
        stage.write(stage.config | {"model": {"name": LARGE}, "decision": {"enter": 0.8}})
        with pytest.raises(ModelError):
            await daemon._changes.reload()
        assert daemon._apply.settings.decision.enter == 0.8
        tried = len(stage.vision.told("load"))
        await daemon._changes.look_again()  # what was refused is not tried for ever
        assert len(stage.vision.told("load")) == tried and daemon._apply.settings.decision.enter == 0.8
        stage.write(stage.config)
        await daemon._changes.reload()
        assert kinds(daemon) == [] and daemon._apply.settings.decision.enter is None

    stage.run(play)


def test_a_model_that_is_damaged_later_holds_no_other_edit_up(stage: Stage) -> None:
    add(Store(stage.state), shipped("models", f"{LARGE}.tflite"), Wish(name="mine"), None)
    admit(stage.state, "mine")
    stage.config["model"] = {"name": "mine"}
    stage.write(stage.config)

    async def play(stage: Stage, daemon: Daemon) -> None:
        (stage.state / "models/mine.tflite").write_bytes(b"x")
        stage.write(stage.config | {"decision": {"enter": 0.9}})
        done = await daemon._changes.reload()
        assert daemon._apply.settings.decision.enter == 0.9 and "mine" in done["note"] and kinds(daemon) == ["config"]

    stage.run(play)


@pytest.mark.parametrize("door", ["reload", "use"])
def test_a_file_that_was_replaced_is_tried_when_somebody_asks_again(stage: Stage, door: str) -> None:
    """As after training it once more. Until then the one that was proven runs."""
    mine = stage.folder / "mine.tflite"

    def put(name: str) -> None:
        beside = mine.with_suffix(".new")
        shutil.copy(shipped("models", f"{name}.tflite"), beside)
        beside.replace(mine)

    async def ask_again(stage: Stage, daemon: Daemon) -> dict[str, Any]:
        if door == "use":
            return await use(stage, daemon, str(mine))
        return await give_frames(stage, asyncio.ensure_future(daemon._changes.reload()))

    put(SMALL)
    stage.write(stage.config | {"model": {"name": str(mine)}})

    async def play(stage: Stage, daemon: Daemon) -> None:
        unwatched(daemon)
        await ask_again(stage, daemon)
        loads, small = len(stage.vision.told("load")), daemon._apply.active.installed.sha256
        await ask_again(stage, daemon)
        assert len(stage.vision.told("load")) == loads, "it is the same file"
        put(LARGE)
        done = await ask_again(stage, daemon)
        assert door == "use" or done["changed"] == ["model.name"]
        running = daemon._apply.active.installed
        assert running.card.px == 128 and running.sha256 != small and stage.vision.told("load")[-1]["trial"]
        mine.write_bytes(b"x")
        with pytest.raises(EdgedError) if door == "use" else contextlib.nullcontext():
            await ask_again(stage, daemon)
        assert daemon._apply.active.installed.sha256 == running.sha256

    stage.run(play)


def test_an_edit_that_names_a_damaged_model_is_told_on_model_error_too(stage: Stage) -> None:
    add(Store(stage.state), shipped("models", f"{LARGE}.tflite"), Wish(name="mine"), None)
    (stage.state / "models/mine.tflite").write_bytes(b"x")

    async def play(stage: Stage, daemon: Daemon) -> None:
        unwatched(daemon)
        stage.write(stage.config | {"model": {"name": "mine"}, "decision": {"enter": 0.9}})
        before = refusals(daemon)
        with pytest.raises(ConfigError, match=r"edged\.toml:\d+: model\.name: "):
            await daemon._changes.reload()
        assert refusals(daemon) == before + 1 and kinds(daemon) == ["config"]
        assert daemon._apply.settings.decision.enter is None

    stage.run(play)


def test_three_losses_go_back_to_the_last_good_pair_and_no_further(stage: Stage) -> None:
    async def play(stage: Stage, daemon: Daemon) -> None:
        stage.vision.results()
        await until(lambda: daemon._publisher.camera_state == "ok", "frames")
        clock = daemon._apply
        good_s = clock.now_s() + 61
        clock.now_s = lambda: good_s
        clock.tick(is_good=True)
        await until(lambda: isinstance(clock.recovery.state, Good), "remembered")
        stage.write(stage.config | {"model": {"name": LARGE}})
        await give_frames(stage, asyncio.ensure_future(daemon._changes.reload()))
        assert clock.active.name == LARGE
        for number in range(3):
            forks = len(stage.visions)
            stage.vision.end(-9)
            await until(lambda: stage.vision.code is None or clock.recovery.is_behind, f"loss {number}")
            daemon._vision.hurry()
            await until(lambda n=forks: len(stage.visions) > n, "the next one")
        assert isinstance(clock.recovery.state, GoneBack) and kinds(daemon) == ["last_good"]
        assert clock.active.name == SMALL and clock.active.why.startswith("last good: ")
        await daemon._changes.look_again()
        assert clock.active.name == SMALL
        for _ in range(6):
            stage.vision.end(-9)
            await until(lambda: daemon._vision.due_s and daemon._vision.pid is None, "waited for")
            daemon._vision.hurry()
        assert not clock.recovery.is_safe

    stage.run(play)


def test_safe_mode_after_six_starts_and_out_of_it(stage: Stage) -> None:
    stage.starts = 6

    async def play(stage: Stage, daemon: Daemon) -> None:
        assert isinstance(daemon._apply.recovery.state, Safe) and stage.visions == []
        await until(lambda: daemon._publisher.camera_state == "lost", "told")
        assert kinds(daemon) == ["safe_mode"]
        stage.write(stage.config | {"decision": {"enter": 0.7}})
        await daemon._changes.reload()
        await until(lambda: stage.visions, "vision again")
        assert isinstance(daemon._apply.recovery.state, Probation)

    stage.run(play, plays=False)


def test_a_fork_that_fails_is_tried_again(stage: Stage) -> None:
    stage.no_fork = OSError(errno.EAGAIN, "Resource temporarily unavailable")

    async def play(stage: Stage, daemon: Daemon) -> None:
        await until(lambda: "could not be started (Resource temporarily unavailable)" in daemon._publisher.camera_reason, "told")
        stage.no_fork = None
        await until(lambda: stage.visions, "it was started")

    stage.run(play, plays=False)


def test_a_child_in_the_kernels_hands_does_not_hold_up_the_end_which_is_a_clean_one(stage: Stage) -> None:
    """In D state neither `stop` nor SIGKILL ends it. SIGTERM has 3 s, and the start does not count as a crash."""

    def too_late(*_: object) -> None:
        raise AssertionError("SIGTERM was obeyed later than after 3 s")

    def term() -> None:
        signal.setitimer(signal.ITIMER_REAL, 3.0)
        os.kill(os.getpid(), signal.SIGTERM)

    def fork(theirs: Any) -> Any:
        child = stage.fork(theirs)
        stage.vision.dies = False
        loop = asyncio.get_running_loop()
        loop.remove_reader(stage.vision.pipe.fileno())
        loop.call_later(0.2, term)
        return child

    before = signal.signal(signal.SIGALRM, too_late)
    try:
        assert run(stage.path, fork) == 0
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert stage.vision.code is None and json.loads((stage.state / "starts.json").read_text()) == {"unfinished": 0}


def test_a_governor_step_that_is_refused_is_not_told_as_taken(stage: Stage) -> None:
    async def play(stage: Stage, daemon: Daemon) -> None:
        apply = daemon._apply
        apply.governor = Governor([Rung(SMALL, 40.0), Rung(LARGE, 20.0)], 60.0, 0.0)
        now_s = [apply.now_s()]
        apply.now_s = lambda: now_s[0]
        stage.refuse[LARGE] = "damaged"
        for _ in range(20):
            now_s[0] += 1
            for _ in range(5):
                apply.governor.see(now_s[0], 100.0)
            daemon._changes.govern(Heat(50.0))
            if apply.turns.is_busy or apply.governor.is_asking:
                break
        await until(lambda: apply.step_fault is not None, "refused")
        assert apply.active.name == SMALL and not apply.governor.reason and kinds(daemon) == ["governor_step"]
        stage.refuse.clear()
        apply.governor = Governor([Rung(SMALL, 40.0), Rung(LARGE, 20.0)], 60.0, now_s[0])
        for _ in range(20):
            now_s[0] += 1
            for _ in range(5):
                apply.governor.see(now_s[0], 100.0)
            daemon._changes.govern(Heat(50.0))
            if apply.governor.is_asking:
                break
        taken = until(lambda: apply.active.name == LARGE and apply.step_fault is None, "taken")
        await give_frames(stage, asyncio.ensure_future(taken))
        assert "smaller model" in apply.active.governed and apply.active.why == f"config: model.name = {SMALL}"
        assert apply.step_fault is None and kinds(daemon) == ["governor"]

    stage.run(play)


def test_heat_lowers_the_rate_and_the_choice_keeps_its_reason(stage: Stage) -> None:
    async def play(stage: Stage, daemon: Daemon) -> None:
        apply = daemon._apply
        now_s = [apply.now_s()]
        apply.now_s = lambda: now_s[0]
        for _ in range(10):
            now_s[0] += 1
            daemon._changes.govern(Heat(90.0))
        assert apply.active.rate == 0.5 and "hot" in apply.active.governed and apply.active.why == f"config: model.name = {SMALL}"
        await until(lambda: stage.vision.told("pace")[-1]["fps"] == 5.0, "told")
        for _ in range(100):
            now_s[0] += 1
            daemon._changes.govern(Heat(50.0))
        assert apply.active.rate == 1.0 and apply.active.governed == "" and kinds(daemon) == []

    stage.run(play)


def test_a_full_card_is_told_and_remembered_later(stage: Stage) -> None:
    async def play(stage: Stage, daemon: Daemon) -> None:
        apply = daemon._apply
        now_s = [apply.now_s() + 61]
        apply.now_s = lambda: now_s[0]
        (stage.state / "last_good").write_text("in the way")
        apply.tick(is_good=True)
        await until(lambda: kinds(daemon) == ["last_good_not_kept"], "told")
        (stage.state / "last_good").unlink()
        now_s[0] += 31
        apply.tick(is_good=True)
        await until(lambda: isinstance(apply.recovery.state, Good), "remembered")
        assert kinds(daemon) == []

    stage.run(play)


def test_the_doors(stage: Stage) -> None:
    """control, model/set, the file and SIGHUP."""

    async def play(stage: Stage, daemon: Daemon) -> None:
        requests, changes = daemon._requests, daemon._changes
        for payload in (b"\xff", b"/etc/passwd", b""):
            before = refusals(daemon)
            requests._on_model_set(payload)
            assert refusals(daemon) == before + 1
        for _ in range(3):
            requests._on_model_set(LARGE.encode())
        await give_frames(stage, asyncio.ensure_future(until(lambda: daemon._apply.active.name == LARGE, "the newest")))
        requests._on_control(b'{"action": "pause"}')
        assert daemon._publisher.paused
        requests._on_control(b'{"action": "pause"}')
        requests._on_control(b'{"action": "resume"}')
        requests._on_control(b'{"action": "snapshot"}')  # not allowed by default
        requests._on_control(b"[]")
        assert not daemon._publisher.paused
        stage.write(stage.config | {"snapshot": {"on_control": True, "on_event": True}})
        await until(lambda: daemon._apply.settings.snapshot.on_control, "the watch sees the file")
        requests._on_control(b'{"action": "snapshot"}')
        await until(lambda: stage.vision.told("snapshot"), "asked for")
        live = daemon._dispatch.results_dropped.get("offline", 0)
        now = {"captured_ns": time.monotonic_ns()}
        stage.vision.pipe.send("snapshot", now | {"last": False}, b"\xff\xd8\xff")
        stage.vision.pipe.send("snapshot", now | {"last": True}, b"\xff\xd9")
        await until(lambda: daemon._dispatch.results_dropped.get("offline", 0) > live, "it would have been sent")
        stage.path.write_text("[broken")
        requests.on_file()
        await until(lambda: kinds(daemon) == ["config"], "told")
        with pytest.raises(EdgedError, match="use needs"):
            await requests._use({"wish": "/etc/passwd"})
        with pytest.raises(EdgedError, match="replay needs"):
            await requests._replay({"since_s": -1})
        assert await requests._replay({"since_s": 10}) == {"replayed": 0}
        with pytest.raises(ConfigError, match="no profile"):
            await changes.wish("@nobody", "use")
        await changes.wish_quietly("@nobody", "model/set")
        await changes.wish_quietly("no-such-model", "model/set")
        answer = await asyncio.to_thread(ask, stage.state, {"verb": "status"})
        assert answer["model"] == LARGE
        told: list[str] = []
        waits = asyncio.ensure_future(asyncio.to_thread(ask, stage.state, {"verb": "use", "wish": SMALL}, on_progress=told.append))
        await until(lambda: told, "progress")
        assert (await give_frames(stage, waits))["model"] == SMALL and SMALL in told[0]

    stage.run(play)


def test_a_picture_from_before_a_pause_is_not_sent_after_it(stage: Stage) -> None:
    """It was asked for before the pause, and comes when the pause is over again."""
    stage.write(stage.config | {"snapshot": {"on_control": True}})

    async def play(stage: Stage, daemon: Daemon) -> None:
        def would_be_sent() -> int:  # no broker is there
            return daemon._dispatch.results_dropped.get("offline", 0)

        def picture(captured_ns: int) -> None:
            stage.vision.pipe.send("snapshot", {"last": True, "captured_ns": captured_ns}, b"\xff\xd8\xff\xff\xd9")

        requests, before, before_ns = daemon._requests, would_be_sent(), time.monotonic_ns()
        for action in (b"snapshot", b"pause", b"resume", b"snapshot"):
            requests._on_control(b'{"action": "' + action + b'"}')
        await until(lambda: len(stage.vision.told("snapshot")) == 2, "asked for")
        picture(before_ns)
        picture(time.monotonic_ns())
        await until(would_be_sent, "the newer one")
        assert would_be_sent() == before + 1
        requests._on_control(b'{"action": "snapshot"}')
        requests._on_control(b'{"action": "pause"}')
        picture(time.monotonic_ns())
        stage.vision.memory_mb = 77.0
        await until(lambda: daemon._report.health().vision_memory_mb == 77.0, "the word after it")
        assert would_be_sent() == before + 1 and stage.vision.code is None

    stage.run(play)


def test_a_profile_of_the_hour(stage: Stage) -> None:
    stage.config["profile"] = {"always": {"from": "00:00", "until": "23:59", "camera": {"fps": 2.0}, "model": {"name": LARGE}}}

    async def play(stage: Stage, daemon: Daemon) -> None:
        unwatched(daemon)
        apply = daemon._apply
        apply.intent._local = lambda: type("T", (), {"tm_hour": 12, "tm_min": 0})()
        apply.intent._was_set = True
        stage.write(stage.config)
        stage.refuse[LARGE] = "damaged"
        with pytest.raises(ModelError):
            await daemon._changes.reload()
        assert apply.settings.camera.fps == 2.0 and apply.active.name == SMALL
        stage.refuse.clear()
        apply.refused = None
        await give_frames(stage, asyncio.ensure_future(daemon._changes.look_again()))  # type: ignore[arg-type]
        assert apply.active.name == LARGE and kinds(daemon) == []
        apply.intent._local = lambda: type("T", (), {"tm_hour": 23, "tm_min": 59})()
        stage.refuse[SMALL] = "damaged"
        await daemon._changes.look_again()
        assert apply.active.name == LARGE and isinstance(apply.recovery.state, Behind)

    stage.run(play)


def test_a_model_without_frames_is_on_trial_and_may_be_refused_late(stage: Stage) -> None:
    async def play(stage: Stage, daemon: Daemon) -> None:
        apply = daemon._apply
        now_s = [apply.now_s()]
        apply.now_s = lambda: now_s[0]
        asked = asyncio.ensure_future(daemon._changes.wish(LARGE, "use"))
        await until(lambda: apply.switcher.used.name == LARGE, "on trial")
        now_s[0] += 11
        apply.tick(is_good=False)
        done = await asked
        assert (done["model"], done["trial"]) == (SMALL, LARGE)
        assert done["note"] == f"it is proven when the camera gives frames; if it fails then, {SMALL} runs again"
        forks = len(stage.visions)
        stage.vision.end(-11)
        await until(lambda: len(stage.visions) > forks, "the next one")
        assert apply.active.name == SMALL and kinds(daemon) == ["model_refused"]

    stage.run(play)


def test_a_load_that_hangs_ends_the_process(stage: Stage) -> None:
    async def play(stage: Stage, daemon: Daemon) -> None:
        apply = daemon._apply
        now_s = [apply.now_s()]
        apply.now_s = lambda: now_s[0]
        stage.vision.answers = False
        asked = asyncio.ensure_future(daemon._changes.wish(LARGE, "use"))
        await until(lambda: apply.switcher.on_trial, "asked for")
        now_s[0] += 31
        apply.tick(is_good=False)
        with pytest.raises(ModelError, match="did not load within 30 s"):
            await asked
        await until(lambda: len(stage.visions) == 2, "the next one")

    stage.run(play)


def test_what_is_no_word_ends_the_vision_process(stage: Stage) -> None:
    async def play(stage: Stage, daemon: Daemon) -> None:
        stage.vision.pipe.send("nonsense", {})
        await until(lambda: "no word of ours" in daemon._publisher.camera_reason, "told")
        await until(lambda: len(stage.visions) == 2, "the next one")

    stage.run(play)


def test_a_start_without_a_last_good_pair_says_what_is_wrong(stage: Stage) -> None:
    stage.path.write_text("[camera]\nkind = 7\n")
    with pytest.raises(ConfigError):
        begin(find_config(stage.path), Clock(), 0)


def test_a_start_with_a_last_good_pair(stage: Stage) -> None:
    """Remembered once; then a broken file, a model that is refused, and starts that came to nothing."""

    async def remember(stage: Stage, daemon: Daemon) -> None:
        good_s = daemon._apply.now_s() + 61
        daemon._apply.now_s = lambda: good_s
        daemon._apply.tick(is_good=True)
        await until(lambda: isinstance(daemon._apply.recovery.state, Good), "remembered")

    stage.run(remember)
    good = stage.path.read_text()

    def start(text: str, starts: int = 0) -> Any:
        stage.path.write_text(text)
        return begin(find_config(stage.path), Clock(), starts)

    assert start(good).fault is None and not start(good).is_untried
    broken = start(good.replace('kind = "pictures"', 'kind = "eye"').replace("state_folder", "state_folder"))
    assert broken.fault.kind == "last_good_config" and isinstance(broken.to_state(0), GoneBack)
    other = good.replace(SMALL, LARGE)
    untried = start(other)
    assert untried.is_untried and untried.active.name == SMALL and untried.fault is None
    assert isinstance(untried.to_state(0), Behind)
    admit(stage.state, LARGE, Verdict(admitted=False, reason="nonsense"))
    refused = start(other)
    assert refused.fault.kind == "last_good_model" and refused.active.name == SMALL
    ended = start(other, 3)
    assert ended.fault.kind == "last_good_config" and not ended.is_untried
    assert start(good, 6).fault.kind == "safe_mode"


def test_a_run_claims_its_folder_counts_its_start_and_ends_with_a_signal(stage: Stage) -> None:
    count = stage.state / "starts.json"

    def fork(theirs: Any) -> Any:
        assert json.loads(count.read_text()) == {"unfinished": 1}
        with pytest.raises(RunningError):
            run(stage.path)
        asyncio.get_running_loop().call_later(0.2, os.kill, os.getpid(), signal.SIGTERM)
        return stage.fork(theirs)

    assert run(stage.path, fork) == 0
    assert json.loads(count.read_text()) == {"unfinished": 0} and not (stage.state / "control.sock").exists()


@pytest.mark.parametrize("folder", ["state", "other"])
def test_what_was_begun_early_for_another_folder_is_let_go(stage: Stage, folder: str) -> None:
    released: list[str] = []

    def fork(theirs: Any) -> Any:
        assert released == ([] if folder == "state" else ["other"])
        asyncio.get_running_loop().call_later(0.1, os.kill, os.getpid(), signal.SIGTERM)
        return stage.fork(theirs)

    assert run(stage.path, fork, EarlyStart(stage.folder / folder, None, lambda: released.append(folder))) == 0


@pytest.mark.parametrize("bug", [ZeroDivisionError("a bug"), EdgedError("a refusal that nobody took")])
def test_a_bug_in_a_part_ends_the_run_with_its_traceback(stage: Stage, bug: Exception) -> None:
    def fail() -> None:
        raise bug

    def fork(theirs: Any) -> Any:
        asyncio.get_running_loop().call_later(0.1, fail)
        return stage.fork(theirs)

    with pytest.raises(type(bug)):
        run(stage.path, fork)
    assert json.loads((stage.state / "starts.json").read_text()) == {"unfinished": 1}


def test_a_start_that_is_refused_counts_as_none(stage: Stage) -> None:
    stage.path.write_text("[broken")
    with pytest.raises(ConfigError):
        run(stage.path)


def test_an_edit_while_the_same_goes_on_waits_for_it(stage: Stage) -> None:
    """The watch sees what `edged reload` is already about."""

    async def play(stage: Stage, daemon: Daemon) -> None:
        stage.write(stage.config | {"model": {"name": LARGE}})
        asked = [asyncio.ensure_future(daemon._changes.reload()) for _ in range(3)]
        for one in asked:
            assert (await give_frames(stage, one))["model"] == LARGE

    stage.run(play)


def test_auto_is_measured_beside_what_runs_and_a_fit_that_fails_is_tried_again(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process that measures is played: what it found out is in the ledger."""
    stage.write(stage.config | {"model": {"name": "auto"}, "budget": {"latency_ms": 50.0, "memory_mb": 500.0}})
    told, asked = asyncio.Event(), list[str]()

    async def fit_beside(wanted: Any) -> None:
        asked.append(wanted.name)
        if len(asked) == 1:
            raise ModelError("the process that tries models ended with -9")
        await told.wait()
        for held in Store(stage.state).held():
            if held.card.family == "home":
                admit(stage.state, held.card.name)
                measure(stage.state, held.card.name, 10.0 if held.card.name in (SMALL, LARGE) else 400.0, wanted)

    monkeypatch.setattr("edged.rollout.selector.fit_beside", fit_beside)
    monkeypatch.setattr("edged.rollout.selector.FIRST_PAUSE_S", 0.5)

    async def play(stage: Stage, daemon: Daemon) -> None:
        await until(lambda: kinds(daemon) == ["fit_failed"] and refusals(daemon) == 1, "told")
        told.set()
        apply = daemon._apply
        await until(lambda: apply.switcher.on_trial, "what was chosen is on trial")
        assert kinds(daemon) == [] and apply.selector.needs_fit is False
        await give_frames(stage, asyncio.ensure_future(until(lambda: apply.active.name == LARGE, "it runs")))
        assert apply.active.why.startswith("auto: the most accurate of home")

    stage.run(play)
    assert asked == ["auto", "auto"]


def test_a_bug_in_the_fit_is_not_passed_over_in_silence(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """It ends the courier with its traceback, as every other bug, and systemd starts a healthy one."""
    stage.write(stage.config | {"model": {"name": "auto"}})

    async def fit_beside(_wanted: Any) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr("edged.rollout.selector.fit_beside", fit_beside)
    with pytest.raises(ZeroDivisionError, match="a bug"):
        run(stage.path, stage.fork)


@pytest.mark.parametrize("how", ["refused", "overtaken", "nothing fits"])
def test_what_a_fit_chose_may_come_to_nothing(stage: Stage, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    stage.write(stage.config | {"model": {"name": "auto"}, "budget": {"latency_ms": 50.0, "memory_mb": 500.0}})

    async def fit_beside(wanted: Any) -> None:
        for held in Store(stage.state).held():
            if held.card.family == "home":
                admit(stage.state, held.card.name)
                fast = how != "nothing fits" and held.card.name in (SMALL, LARGE)
                measure(stage.state, held.card.name, 10.0 if fast else 400.0, wanted)
        fitting = Fitting(Store(stage.state), Admission(stage.state), wanted.scene, wanted.threads)
        Admission(stage.state).remember(fitting._key(wanted.family, wanted.budget), "")

    monkeypatch.setattr("edged.rollout.selector.fit_beside", fit_beside)
    if how == "refused":
        stage.refuse[LARGE] = "damaged"

    async def play(stage: Stage, daemon: Daemon) -> None:
        apply = daemon._apply
        if how == "overtaken":
            await until(lambda: apply.switcher.on_trial, "what was chosen is on trial")
            await use(stage, daemon, SMALL)
            assert apply.active.name == SMALL and kinds(daemon) == []
        else:
            wanted = "model_refused" if how == "refused" else "nothing_fits"
            await until(lambda: kinds(daemon) == [wanted], "told")
            assert apply.active.name == SMALL and refusals(daemon) >= 1

    stage.run(play)


def test_a_wish_that_can_not_be_written_is_used_and_says_so(stage: Stage) -> None:
    async def play(stage: Stage, daemon: Daemon) -> None:
        (stage.state / "override.json").mkdir()
        done = await use(stage, daemon, LARGE)
        assert done["model"] == LARGE and "after the next start the file decides again" in done["note"]

    stage.run(play)


def test_a_state_folder_moves_only_with_the_next_start(stage: Stage) -> None:
    async def play(stage: Stage, daemon: Daemon) -> None:
        stage.write(stage.config | {"state_folder": str(stage.folder / "other")})
        assert "state_folder" in (await daemon._changes.reload())["at_start"]

    stage.run(play)


def test_what_was_put_off_at_the_start_is_tried_later(stage: Stage) -> None:
    """Another model than the last good one; it is refused, and what was kept goes on."""

    async def good(stage: Stage, daemon: Daemon) -> None:
        daemon._apply._last_good.remember(daemon._apply.intent.source, "", daemon._apply.active)

    stage.run(good)
    stage.write(stage.config | {"model": {"name": LARGE}})
    stage.refuse[LARGE] = "damaged"

    async def play(stage: Stage, daemon: Daemon) -> None:
        apply = daemon._apply
        assert apply.active.name == SMALL
        await until(lambda: not apply.recovery.is_untried, "it was tried")
        assert apply.active.name == SMALL and kinds(daemon) == ["model_refused"]
        loads = len(stage.vision.told("load"))
        await daemon._changes.look_again()
        assert len(stage.vision.told("load")) == loads, "not again before something changes"

    stage.run(play)


def test_a_governors_step_without_frames_may_be_refused_late(stage: Stage) -> None:
    async def play(stage: Stage, daemon: Daemon) -> None:
        apply = daemon._apply
        apply.governor = Governor([Rung(SMALL, 40.0), Rung(LARGE, 20.0)], 60.0, 0.0)
        now_s = [apply.now_s()]
        apply.now_s = lambda: now_s[0]
        while not apply.governor.is_asking:
            now_s[0] += 1
            for _ in range(5):
                apply.governor.see(now_s[0], 100.0)
            daemon._changes.govern(Heat(50.0))
        await until(lambda: apply.switcher.used.name == LARGE, "on trial")
        now_s[0] += 11
        apply.tick(is_good=False)
        await until(lambda: not apply.turns.is_busy, "it waits for frames")
        assert apply.governor.is_asking
        daemon._changes.govern(Heat(50.0))
        stage.vision.say("model_failed", reason="invoke failed")
        await until(lambda: kinds(daemon) == ["governor_step"], "told")
        assert not apply.governor.is_asking and apply.active.name == SMALL

    stage.run(play)


def test_profiles_wait_for_a_clock_that_somebody_has_set(stage: Stage) -> None:
    stage.config["profile"] = {"always": {"from": "00:00", "until": "23:59", "camera": {"fps": 2.0}}}
    stage.write(stage.config)

    async def play(_: Stage, daemon: Daemon) -> None:
        intent = daemon._apply.intent
        intent._was_set, intent._clock = False, Clock(synced=lambda: False)
        if intent.minute() is None:  # no battery beside this clock
            assert kinds(daemon) == ["clock"]

    stage.run(play)


def test_a_wish_that_can_not_be_used_gives_way_to_the_file_where_nothing_was_kept(stage: Stage) -> None:
    async def wished(stage: Stage, daemon: Daemon) -> None:
        await use(stage, daemon, LARGE)

    stage.run(wished)
    admit(stage.state, LARGE, Verdict(admitted=False, reason="it gave nonsense"))
    start = begin(find_config(stage.path), Clock(), 0)
    assert start.active.name == SMALL and "it was wished for beside the file (use), and what the file says runs" in start.damaged[0]
    stage.write(stage.config | {"model": {"name": LARGE}})
    with pytest.raises(ModelError, match="it gave nonsense"):
        begin(find_config(stage.path), Clock(), 0)
