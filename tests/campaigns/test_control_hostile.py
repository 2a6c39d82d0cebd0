"""Whoever may open the control socket asks anything, and goes at any moment: the daemon answers in sentences, and works on."""

import contextlib
import json
import random
import socket
from pathlib import Path
from typing import Any

from edged.process.control import SOCKET
from tests.campaigns.size import SEED, count, report
from tests.e2e.conftest import album, broker, config, heard  # noqa: F401
from tests.e2e.paged import with_page
from tests.e2e.running import edged_with, wait_for

GROWTH_MB = 16  # an hour of rows for the page, models' table and all
VERBS = ("replay", "outbox", "reload", "use", "status", "log", "mark", "marks", "forget", "hour", "act", "tune", "models", "watch")
KEYS = ("wish", "level", "since_s", "since", "do", "which", "action", "values", "label", "progress", "region", "x")
NASTY: list[Any] = [
    None, True, False, 0, -1, 2**31, 2**53, -(2**63), 10**17, 1e308, -1e308, 1e-320, "", " ", "x" * 10_000, "\0", "\x1b[2J",
    "\ud800", "../../etc/passwd", "auto", "@night", "@file", "@nope", "all", "none", "other", "a\nb", "🐈", [], [1], [[[]]], {},
    {"a": {"b": []}}, [0, 0, 1, 1], [0.1] * 4, [1e308] * 4, [True] * 4, [None] * 4, "camera.region", {"decision.enter": 0.3},
    {"camera.region": [0, 0, 1, 1]}, {"camera.region": [0, 0, 0, 0]}, {"decision.enter": None}, {"decision.k": 2**60},
    {"decision.k": True}, {"x" * 5000: 1}, {"decision.groups": {"a": ["b"]}}, {"decision.hold_s": 1e308}, {"camera.fps": 1e308},
    {"": ""}, {"decision.margin": []}, {"decision.n": -1}, "pause", "resume", "snapshot", "list", "retry", "discard", "debug",
]  # fmt: skip
WATCHED = [*NASTY, "whole", "region", "model"]


def ask(folder: Path, request: dict[str, Any], more: bytes = b"") -> bytes:
    """The last line of the answer; with `more` whoever asked is gone at once."""
    with socket.socket(socket.AF_UNIX) as end:
        end.settimeout(120)
        end.connect(str(folder / SOCKET))
        end.sendall(json.dumps(request).encode() + b"\n" + more)
        if more:
            return b""
        answer = b""
        while part := end.recv(1 << 20):
            answer += part
        return answer.splitlines()[-1]


def test_the_daemon_answers_in_sentences(tmp_path: Path, config: dict[str, Any], heard: Any) -> None:  # noqa: F811
    wanted, rng, gone = count(1500, 60_000), random.Random(SEED), 0
    night = {"night": {"decision": {"enter": 0.9}}}
    with edged_with(tmp_path, with_page(config) | {"model": {"name": "home_0.25_96"}, "profile": night}) as edged:
        folder = Path(str(config["state_folder"]))
        wait_for(lambda: heard.of("camera") and heard.of("camera")[-1]["state"] == "ok", 60, "camera ok")
        before_mb = memory_mb(edged.process.pid)
        for _ in range(wanted):
            request: dict[str, Any] = {"verb": rng.choice(VERBS)}
            request |= {key: rng.choice(NASTY) for key in rng.sample(KEYS, rng.randrange(5))}
            more = b""
            if request["verb"] == "watch":
                asked = ({rng.choice(("picture", "try", "x")): rng.choice(WATCHED)} for _ in range(rng.randrange(1, 6)))
                more = b"".join(json.dumps(one).encode() + b"\n" for one in asked)
                gone += 1
            with contextlib.suppress(ConnectionError if more else ()):
                answer = ask(folder, request, more)
                assert more or isinstance(json.loads(answer)["ok"], bool), request
            assert edged.process.poll() is None, request
        ask(folder, {"verb": "act", "action": "resume"})
        ask(folder, {"verb": "use", "wish": "@file"})
        began = len(heard.of("result"))
        wait_for(lambda: len(heard.of("result")) > began, 60, "it goes on")
        grown_mb = memory_mb(edged.process.pid) - before_mb
        assert grown_mb < GROWTH_MB
        assert edged.end() == 0 and "Traceback" not in edged.said.read_text()
    report("control_hostile", {"requests": wanted, "watchers": gone, "grown_mb": round(grown_mb, 1), "seed": SEED})


def memory_mb(pid: int) -> float:
    line = next(one for one in Path(f"/proc/{pid}/status").read_text().splitlines() if one.startswith("VmRSS"))
    return int(line.split()[1]) / 1024
