"""Every door at once: edits, half-written files, `use`, `reload`, SIGHUP, `model/set`, and SIGKILL of the vision process."""

import json
import os
import random
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tomlkit

from edged.errors import EdgedError
from edged.process.control import ask
from tests.campaigns.size import SEED, count, report
from tests.campaigns.test_following_live import balanced, fds
from tests.e2e.conftest import album, broker, config, heard  # noqa: F401  # the same fixtures
from tests.e2e.running import Edged, Heard, edged_with, wait_for, works_on

SMALL, LARGE = "home_0.25_96", "home_0.25_128"
_AT_LAST_S = 60.0


def threads(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/task").iterdir()))


class Storm:
    """A hundred small things a minute, in a seeded order. `now`: the config that was written last and is whole."""

    def __init__(self, edged: Edged, heard: Heard, start: dict[str, Any], seed: int) -> None:  # noqa: F811
        self.edged, self.heard, self.now, self.rng = edged, heard, json.loads(json.dumps(start)), random.Random(seed)
        self.state = Path(start["state_folder"])
        self.asking: list[threading.Thread] = []
        self.done: dict[str, int] = {}

    def one(self) -> None:
        things: dict[str, Callable[[], None]] = {
            "edit": self.edit,
            "half": self.half,
            "use": lambda: self.ask({"verb": "use", "wish": self.rng.choice((SMALL, LARGE, "@file"))}),
            "reload": lambda: self.ask({"verb": "reload"}),
            "hup": lambda: self.edged.process.send_signal(signal.SIGHUP),
            "set": lambda: self.heard.publish("edged/test/model/set", self.rng.choice((SMALL, LARGE, "nonsense")).encode()),
            "kill": self.kill,
        }
        (name,) = self.rng.choices(list(things), (30, 10, 20, 10, 10, 15, 5))
        self.done[name] = self.done.get(name, 0) + 1
        things[name]()

    def edit(self) -> None:
        chance = self.rng.random()
        if chance < 0.3:
            self.now["model"] = {"name": self.rng.choice((SMALL, LARGE))}
        elif chance < 0.6:
            self.now["decision"]["enter"] = self.rng.choice((0.3, 0.5, 0.7))
        elif chance < 0.8:
            self.now["gate"] = {"enabled": self.rng.random() < 0.5}
        else:
            self.now["camera"]["region"] = self.rng.choice(([0.0, 0.0, 1.0, 1.0], [0.1, 0.1, 0.8, 0.8]))
        self.write()

    def write(self) -> None:
        beside = self.edged.config.with_suffix(".new")
        beside.write_text(tomlkit.dumps(self.now))
        beside.replace(self.edged.config)

    def half(self) -> None:
        text = tomlkit.dumps(self.now)
        self.edged.config.write_text(text[: self.rng.randrange(len(text))])

    def ask(self, request: dict[str, Any]) -> None:
        def go() -> None:
            try:
                ask(self.state, request)
            except EdgedError:
                return  # overtaken, refused, or the file is half: each is an answer

        self.asking = [one for one in self.asking if one.is_alive()]
        if len(self.asking) < 8:
            self.asking.append(threading.Thread(target=go))
            self.asking[-1].start()

    def kill(self) -> None:
        if (pid := self.edged.vision_pid()) is not None:
            os.kill(pid, signal.SIGKILL)


def test_everything_at_once(tmp_path: Path, config: dict[str, Any], heard: Heard) -> None:  # noqa: F811
    seeds, seconds = count(1, 10), count(8, 120)
    for seed in range(SEED, SEED + seeds):
        folder = tmp_path / str(seed)
        folder.mkdir()
        start = config | {"model": {"name": SMALL}, "state_folder": str(folder / "state")}
        heard.messages.clear()
        with edged_with(folder, start) as edged:
            wait_for(lambda: heard.of("result"), 30, "a result")
            storm = Storm(edged, heard, start, seed)
            for _ in range(3):  # what is opened once is there
                storm.write()
                ask(storm.state, {"verb": "reload"})
            before = fds(edged.process.pid), threads(edged.process.pid)
            ends_s = time.monotonic() + seconds
            while time.monotonic() < ends_s:
                storm.one()
                works_on(edged.process.pid, storm.rng.randrange(0, 10))
            for one in storm.asking:
                one.join(_AT_LAST_S)
                assert not one.is_alive(), "an asker was forgotten"
            figures = the_end(edged, heard, storm, before)
            assert edged.end(10) == 0
        balanced(heard)
        report(f"everything_at_once_{seed}", {"seed": seed, "seconds": seconds, "done": storm.done} | figures)


def the_end(edged: Edged, heard: Heard, storm: Storm, before: tuple[int, int]) -> dict[str, Any]:  # noqa: F811
    """File, override, the retained model and the results agree; nothing is left open."""
    storm.write()

    def settled() -> Any:
        """What was asked for last over MQTT may still be on trial: then the results are of one model and the status of another."""
        try:
            ask(storm.state, {"verb": "reload"})
            seen = len(heard.of("result"))
            wait_for(lambda: len(heard.of("result")) > seen + 5, 30, "results")
            status = ask(storm.state, {"verb": "status"})
        except EdgedError:
            return None
        override = status["override"]
        wanted = override["wish"] if override is not None and override["wish"] != "auto" else storm.now["model"]["name"]
        kept = storm.state / "override.json"
        agree = {
            status["model"],
            heard.of("model")[-1]["card"],
            *(result["model"] for result in heard.of("result")[seen + 1 :]),
        } == {wanted} and (json.loads(kept.read_text())["wish"] if kept.exists() else None) == (
            override["wish"] if override else None
        )
        return status if agree and not status["health"]["faults"] else None

    status = wait_for(settled, _AT_LAST_S, "the file is followed, nothing is wrong, and file, override, model and results agree")
    wanted = status["model"]
    wait_for(
        lambda: fds(edged.process.pid) <= before[0] and threads(edged.process.pid) <= before[1] + 4, 30, "nothing more is open"
    )
    return {"model": wanted, "fds": [before[0], fds(edged.process.pid)], "threads": [before[1], threads(edged.process.pid)]}
