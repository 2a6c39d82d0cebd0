"""What lies at the control socket's place need not be edged: no command prints its words raw, nor falls over what it answers."""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from socket import AF_UNIX, socket
from typing import Any

import pytest

from edged.process.control import SOCKET

ESCAPE = "\x1b]0;owned\x07\x1b[2J\u202e\x9b31m"
EVENTS = {"delivered": 1, "queued": 0, "dropped": {"ttl": 1}}
HEALTH = {
    "frames": {"captured": 1},
    "events": EVENTS,
    "latency_p95_ms": 1.0,
    "fps": 1.0,
    "uptime_s": 1.0,
    "temperature_c": 1.0,
    "degraded": [ESCAPE],
}
COMMANDS = {
    "status": ["status"],
    "status --json": ["status", "--json"],
    "reload": ["reload"],
    "reload --json": ["reload", "--json"],
    "use": ["use", "auto"],
    "use --json": ["use", "auto", "--json"],
    "replay": ["replay", "--since", "1h"],
    "outbox list": ["outbox", "list"],
    "outbox list --json": ["outbox", "list", "--json"],
    "outbox retry": ["outbox", "retry", "all"],
}
WHOLE: dict[str, Any] = {
    "ok": True,
    "device": ESCAPE,
    "version": ESCAPE,
    "label": ESCAPE,
    "score": 0.5,
    "label_since": None,
    "label_s": None,
    "result_age_s": 1.0,
    "wish": ESCAPE,
    "broker": ESCAPE,
    "board": ESCAPE,
    "model": ESCAPE,
    "chosen": ESCAPE,
    "note": ESCAPE,
    "decision": {"enter": 0.5, "leave": 0.4, "margin": 0.1, ESCAPE: ESCAPE},
    "camera": ESCAPE,
    "connected": True,
    "config": ESCAPE,
    "override": {"wish": ESCAPE, "door": ESCAPE},
    "health": HEALTH,
    "changed": [ESCAPE],
    "at_start": [ESCAPE],
    "replayed": 1,
    "dead": [{"id": ESCAPE, "size_bytes": 1, "what": ESCAPE, "reason": ESCAPE}],
    "dead_count": 1,
    "set_aside": [{"id": ESCAPE, "size_bytes": 1, "why": ESCAPE}],
    "waiting": 1,
    "count": 1,
}


def line(answer: Any) -> bytes:
    return json.dumps(answer).encode() + b"\n"


def all_as(value: Any) -> bytes:
    """Every field is this."""
    return line(dict.fromkeys(WHOLE, value) | {"ok": True})


def deeply_all_as(value: Any) -> bytes:
    """As a whole one, but every number and text in it is this."""

    def replaced(one: Any) -> Any:
        if isinstance(one, dict):
            return {key: replaced(inner) for key, inner in one.items()}
        return [replaced(inner) for inner in one] if isinstance(one, list) else value

    return line(replaced(WHOLE) | {"ok": True})


# name → what is sent, and whether all commands take it for an answer
ANSWERS: dict[str, tuple[bytes, bool]] = {
    "whole, with escapes": (line(WHOLE), True),
    "progress with escapes": (line({"progress": ESCAPE}) * 3 + line(WHOLE), True),
    "progress that is no text": (line({"progress": [ESCAPE]}) + line(WHOLE), True),
    "a refusal with escapes": (line({"ok": False, "error": ESCAPE, "code": 7}), False),
    "a refusal that is no text": (line({"ok": False, "error": [[ESCAPE]], "code": "7"}), False),
    "a refusal without a reason": (line({}), False),
    "nothing": (b"", False),
    "an empty answer": (line({"ok": True}), False),
    "no JSON": (ESCAPE.encode(), False),
    "a list": (line([ESCAPE]), False),
    "nested": (b'{"ok": true, "model": ' + b"[" * 30_000 + b"]" * 30_000 + b"}\n", False),
    "numbers": (all_as(5), False),
    "texts": (all_as(ESCAPE), False),
    "lists": (all_as([ESCAPE]), False),
    "lists of lists": (all_as([[[ESCAPE]]]), False),
    "objects": (all_as({ESCAPE: ESCAPE}), False),
    "null": (all_as(None), False),
    "huge numbers inside": (deeply_all_as(10**400), False),
    "infinite numbers inside": (deeply_all_as(float("inf")), False),
    "lone surrogates": (b'{"ok": true, "model": "\\ud800", "note": "\\udfff"}\n', False),
    "a line without end": (b"x" * 1_000_000, False),
}


# each command in a fork of one process, which has imported what takes long
RUN = """
import json, os, sys, tempfile
import edged.__main__, edged.config.reading, edged.delivery.outbox.repair
done = []
for words in json.loads(sys.argv[1]):
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        if (pid := os.fork()) == 0:
            os.dup2(out.fileno(), 1), os.dup2(err.fileno(), 2)
            sys.argv = ["edged", *words]
            edged.__main__.main()
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        said = [(file.seek(0), file.read().decode(errors="surrogateescape"))[1] for file in (out, err)]
        done.append([*said, code])
print(json.dumps(done))
"""


@contextmanager
def fake(folder: Path, answer: bytes | dict[str, bytes]) -> Iterator[None]:
    """Somebody who says this to whoever asks, or to whoever asks this verb."""
    with socket(AF_UNIX) as listening:
        listening.bind(str(folder / SOCKET))
        listening.listen()
        ended = threading.Event()

        def serve() -> None:
            while not ended.is_set():
                end, _ = listening.accept()
                with end:
                    try:
                        asked = end.recv(65536)
                        verb = json.loads(asked or b"{}").get("verb", "")
                        end.sendall(answer.get(verb, b"") if isinstance(answer, dict) else answer)
                    except OSError:  # it had heard enough
                        continue

        thread = threading.Thread(target=serve)
        thread.start()
        yield
        ended.set()
        with socket(AF_UNIX) as last:
            last.connect(str(folder / SOCKET))
        thread.join()


@pytest.mark.parametrize("name", ANSWERS)
def test_no_command_prints_it_raw_or_falls_over_it(tmp_path: Path, name: str) -> None:
    config = tmp_path / "edged.toml"
    config.write_text(f'state_folder = "{tmp_path}"\n')
    answer, is_taken = ANSWERS[name]
    with fake(tmp_path, answer):
        asked = json.dumps([[*words, "-c", str(config)] for words in COMMANDS.values()])
        run = subprocess.run([sys.executable, "-c", RUN, asked], capture_output=True, text=True, check=True, timeout=120)
    done = json.loads(run.stdout)
    assert len(done) == len(COMMANDS)
    for said, (out, err, code) in zip(COMMANDS, done, strict=True):
        printed = (out + err).replace("\n", "")
        assert printed.isprintable(), (said, printed)
        assert "Traceback" not in err, (said, err[-400:])
        assert code == 0 or err.strip(), said
        if is_taken:
            assert code == 0, (said, err)


@pytest.mark.parametrize("is_json", [False, True])
def test_use_says_what_it_wrote_also_when_the_daemon_does_not_follow(tmp_path: Path, *, is_json: bool) -> None:
    config = tmp_path / "edged.toml"
    config.write_text(f'state_folder = "{tmp_path}"\n[model]\nname = "gate.tflite"\nlabels = "gate.txt"\n')
    answers = {
        "status": line({"ok": True, "config": str(config)}),
        "use": line({"ok": True, "model": "home_0.25_96", "note": "", "changed": []}),
        "reload": line({"ok": False, "error": "overtaken by a newer wish: auto", "code": 1}),
    }
    words = ["use", "home_0.25_96", "--write", "-c", str(config), *(["--json"] if is_json else [])]
    with fake(tmp_path, answers):
        run = subprocess.run([sys.executable, "-m", "edged", *words], capture_output=True, text=True, check=False, timeout=120)
    note = f"written to {config}, without model.labels, which was the former model's"
    assert (json.loads(run.stdout)["note"] if is_json else run.stdout) == (note if is_json else f"home_0.25_96 is in use; {note}\n")
    assert run.stderr == "overtaken by a newer wish: auto\n" and run.returncode == 1
    assert config.read_text() == f'state_folder = "{tmp_path}"\n[model]\nname = "home_0.25_96"\n'


def test_use_leaves_a_file_that_would_be_refused_and_says_what_holds(tmp_path: Path) -> None:
    config = tmp_path / "edged.toml"
    text = f'state_folder = "{tmp_path}"\n[profile.night.model]\nlabels = "gate.txt"\n'
    config.write_text(text)
    (tmp_path / "gate.txt").write_text("open\nshut\n")
    answers = {
        "status": line({"ok": True, "config": str(config)}),
        "use": line({"ok": True, "model": "home_0.25_96", "note": "", "changed": []}),
    }
    with fake(tmp_path, answers):
        words = ["use", "home_0.25_96", "--write", "-c", str(config)]
        run = subprocess.run([sys.executable, "-m", "edged", *words], capture_output=True, text=True, check=False, timeout=120)
    assert run.stderr.startswith("home_0.25_96 is in use until 'edged use --clear', but the file is left as it was: ")
    assert f"{config}:3: profile.night.model.labels: " in run.stderr and run.returncode == 78 and not run.stdout
    assert config.read_text() == text
