"""A start: what is done first, what it loads, and that no phase of it leaves a process behind."""

import itertools
import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import tomlkit

from edged.config.reading import SYSTEM_FILE
from edged.config.settings import STATE_FOLDER
from edged.daemon import early
from edged.process.child import begin_vision
from edged.process.pipe import NotOursError
from edged.system.lock import claimed
from tests.e2e.running import HANG_S, Edged, Heard, alive, children, command_line, edged_with, turns, wait_for

# of the packages that are no part of Python; each takes its time and memory, so a new one is a decision
LOADED = {
    *("annotated_types", "pydantic", "pydantic_core", "typing_extensions", "typing_inspection"),
    *("click", "edged", "inotify_simple", "paho"),
}

_TELL = """
import json, sys
seen = []
def note(event, told):
    if event == "subprocess.Popen":
        seen.append("fork")
    elif event == "import" and told[0] in ("pydantic", "asyncio", "paho.mqtt.client", "edged.daemon.daemon", "sqlite3"):
        seen.append(told[0])
sys.addaudithook(note)
from edged.__main__ import _run
sys.argv = ["edged", "run", "-c", sys.argv[1]]
code = _run()
machines = {"__main__", "sitecustomize"}
own = {name.partition(".")[0] for name in sys.modules} - set(sys.stdlib_module_names) - machines
print(json.dumps({"code": code, "seen": seen, "own": sorted(own), "modules": sorted(sys.modules)}))
"""


def vision_of(pid: int) -> list[int]:
    return [one for one in children(pid) if b"\0edged.vision\0" in command_line(one)]


def all_visions() -> set[int]:
    """Of everybody on this machine."""
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and b"\0edged.vision\0" in command_line(int(entry.name)) and alive(int(entry.name)):
            found.add(int(entry.name))
    return found


def test_vision_is_forked_before_the_rest_is_imported_and_little_is_loaded(
    tmp_path: Path, config: dict[str, Any], heard: Heard
) -> None:
    file = tmp_path / "edged.toml"
    file.write_text(tomlkit.dumps(config))
    child = subprocess.Popen([sys.executable, "-c", _TELL, str(file)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    wait_for(lambda: heard.of("result"), 60, "a result")
    child.terminate()
    out, _ = child.communicate(timeout=HANG_S)
    told = json.loads(out.splitlines()[-1])
    assert told["code"] == 0 and told["seen"][0] == "fork"
    assert {"pydantic", "asyncio", "edged.daemon.daemon"} <= set(told["seen"])
    assert {name for name in told["own"] if not name.startswith("_")} == LOADED
    assert not {"numpy", "cv2", "tomlkit", "pooch", "requests", "edged.models.install", "edged.models.pull"} & set(told["modules"])


@pytest.mark.parametrize("what", ["faulty", "no toml", "model", "held"])
def test_a_start_that_is_refused_leaves_no_process(tmp_path: Path, config: dict[str, Any], what: str) -> None:
    file = tmp_path / "edged.toml"
    text = tomlkit.dumps(config | ({"model": {"name": "no-such-model"}} if what == "model" else {}))
    file.write_text({"faulty": text.replace("fps = 10.0", "fps = -1.0"), "no toml": text + "[broken"}.get(what, text))
    command = [sys.executable, "-m", "edged", "run", "-c", str(file)]

    def go() -> subprocess.CompletedProcess[str]:
        # whoever inherits stderr holds it open, so that this does not return before the last of them is gone
        return subprocess.run(command, capture_output=True, text=True, timeout=HANG_S, check=False)

    if what == "held":
        with claimed(Path(config["state_folder"])):
            ended = go()
    else:
        ended = go()
    assert ended.returncode == (75 if what == "held" else 78), ended.stderr
    assert "Traceback" not in ended.stderr and len(ended.stderr.splitlines()) <= 2


@pytest.mark.parametrize("turn", [0, 1, 3, 6, 10, 15, 25, 40])
def test_a_kill_at_any_moment_of_a_start_leaves_no_process(tmp_path: Path, config: dict[str, Any], turn: int) -> None:
    before = all_visions()
    edged = Edged(tmp_path, config)
    wait_for(lambda: vision_of(edged.process.pid), 30, "the vision process is forked")
    (vision,) = vision_of(edged.process.pid)
    at = turns(edged.process.pid)
    wait_for(lambda: turns(edged.process.pid) >= at + turn, 60, f"{turn} turns more")
    edged.process.send_signal(signal.SIGKILL)
    edged.process.wait()
    wait_for(lambda: not alive(vision), 10, "it dies with its parent")
    assert vision not in all_visions() - before


@pytest.mark.parametrize("turn", [0, 1, 3, 6, 10, 15, 25, 40])
def test_a_stop_at_any_moment_of_a_start_is_no_crash(tmp_path: Path, config: dict[str, Any], turn: int) -> None:
    """Before: three of them in a row, and the last good config ran in place of the file's."""
    edged = Edged(tmp_path, config)
    wait_for(lambda: vision_of(edged.process.pid), 30, "the vision process is forked")
    at = turns(edged.process.pid)
    wait_for(lambda: turns(edged.process.pid) >= at + turn, 60, f"{turn} turns more")
    assert edged.end() in (0, -signal.SIGTERM)
    starts = Path(config["state_folder"]) / "starts.json"
    assert not starts.exists() or json.loads(starts.read_text())["unfinished"] == 0
    assert "Traceback" not in edged.said.read_text()


@pytest.mark.parametrize("turn", [0, 3, 10, 25])
def test_a_hangup_at_any_moment_of_a_start_is_no_end(tmp_path: Path, config: dict[str, Any], heard: Heard, turn: int) -> None:
    with edged_with(tmp_path, config) as edged:
        wait_for(lambda: vision_of(edged.process.pid), 30, "the vision process is forked")
        at = turns(edged.process.pid)
        wait_for(lambda: turns(edged.process.pid) >= at + turn, 60, f"{turn} turns more")
        edged.process.send_signal(signal.SIGHUP)
        wait_for(lambda: heard.of("result") or edged.process.poll() is not None, 60, "results")
        assert edged.end() == 0


def test_an_end_that_is_asked_for_again_and_again_is_one_end(tmp_path: Path, config: dict[str, Any], heard: Heard) -> None:
    """By an init that has no patience, and a terminal that is closed; until nothing is left of the process."""
    edged, numbers = Edged(tmp_path, config), itertools.cycle((signal.SIGTERM, signal.SIGHUP, signal.SIGINT))
    wait_for(lambda: heard.of("result"), 60, "results")

    def has_ended() -> bool:
        edged.process.send_signal(next(numbers))
        return edged.process.poll() is not None

    wait_for(has_ended, 30, "the end")
    assert edged.process.returncode == 0, edged.said.read_text()
    assert json.loads((Path(config["state_folder"]) / "starts.json").read_text()) == {"unfinished": 0}
    wait_for(lambda: heard.of("status")[-1] == "offline", 10, "what is said last")


def test_the_first_process_is_the_one_that_is_used(tmp_path: Path, config: dict[str, Any], heard: Heard) -> None:
    with edged_with(tmp_path, config) as edged:
        wait_for(lambda: vision_of(edged.process.pid), 30, "the vision process is forked")
        first = vision_of(edged.process.pid)
        wait_for(lambda: heard.of("result"), 60, "a result")
        assert vision_of(edged.process.pid) == first and heard.of("health")[-1]["vision_restarts"] == 0


@pytest.mark.parametrize("as_json", [False, True])
def test_the_phases_of_a_start_are_told_at_the_first_result(
    tmp_path: Path, config: dict[str, Any], heard: Heard, as_json: bool
) -> None:
    file = tmp_path / "edged.toml"
    file.write_text(tomlkit.dumps(config))
    command = [sys.executable, "-m", "edged", "run", "-c", str(file), "--timings", *(["--json"] if as_json else [])]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    wait_for(lambda: heard.of("result"), 60, "a result")
    child.terminate()
    out, _ = child.communicate(timeout=HANG_S)
    assert child.returncode == 0
    if not as_json:
        assert len([line for line in out.splitlines() if line.endswith(" ms")]) == len(out.splitlines()) > 10
        return
    phases = json.loads(out)["phases"]
    for process, some in {
        "courier": ("interpreter", "vision forked", "modules", "config", "model chosen", "first result"),
        "vision": ("interpreter", "libraries", "configure", "camera opened", "first frame", "load", "first result"),
    }.items():
        own = [one for one in phases if one["process"] == process]
        assert {one["name"] for one in own} >= set(some)
        assert [one["at_ms"] for one in own] == sorted(one["at_ms"] for one in own)
        assert all(one["took_ms"] >= 0 for one in own) and own[-1]["name"] == "first result"


def test_timings_as_json_need_timings(tmp_path: Path) -> None:
    ended = subprocess.run([sys.executable, "-m", "edged", "run", "--json"], capture_output=True, text=True, check=False)
    assert ended.returncode == 2 and "--timings" in ended.stderr.splitlines()[-1]


def test_safe_mode_needs_no_vision_process(tmp_path: Path, config: dict[str, Any], heard: Heard) -> None:
    state = Path(config["state_folder"])
    state.mkdir()
    (state / "starts.json").write_text('{"unfinished": 6}')
    with edged_with(tmp_path, config) as edged:
        wait_for(lambda: [told for told in heard.of("camera") if told["fault"] == "safe_mode"], 60, "safe mode")
        wait_for(lambda: not vision_of(edged.process.pid), 10, "nothing is left of what was forked")
        assert edged.process.poll() is None


def test_nothing_is_opened_before_it_is_told_to() -> None:
    begun = begin_vision()
    try:
        while True:
            message = begun.pipe.receive()
            assert message is not None
            if message[0] == "ready":
                break
        opened = [str(fd.readlink()) for fd in Path(f"/proc/{begun.child.pid}/fd").iterdir()]
        assert [name for name in opened if not name.startswith(("socket:", "pipe:", "anon_inode:", "/dev/null"))] == []
    except NotOursError:
        pytest.fail("it says something else")
    finally:
        begun.end()
        begun.end()
        begun.child.close()
    assert not alive(begun.child.pid)


@pytest.mark.parametrize(
    ("text", "folder"),
    [
        ('state_folder = "/var/x"\n', "/var/x"),
        ('state_folder = "near"\n', "HERE/near"),
        ("", None),
        ('state_folder = "~/x"\n', None),
        ("state_folder = 7\n", None),
        ('state_folder = ""\n', None),
        ('state_folder = "a\\u0000b"\n', None),
        ("[broken", None),
        ("a" * 100_000, None),
    ],
)
def test_only_a_folder_in_plain_words_is_taken_early(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, folder: str | None
) -> None:
    monkeypatch.setattr(early, "_DEFAULT", tmp_path / "absent")
    file = tmp_path / "edged.toml"
    file.write_text(text)
    assert early.to_folder(file) == (Path(folder.replace("HERE", str(tmp_path))) if folder else None)


def test_the_default_folder_is_taken_where_it_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert (early._SYSTEM_FILE, str(early._DEFAULT)) == (SYSTEM_FILE, STATE_FOLDER)
    monkeypatch.setattr(early, "_DEFAULT", tmp_path / "state")
    monkeypatch.setattr(early, "_SYSTEM_FILE", tmp_path / "absent.toml")
    assert early.to_folder(None) is None
    (tmp_path / "state").mkdir()
    assert early.to_folder(None) == tmp_path / "state"
    file = tmp_path / "edged.toml"
    file.write_text("[camera]\nfps = 2.0\n")
    assert early.to_folder(file) == tmp_path / "state"
    assert early.to_folder(tmp_path / "other.toml") is None, "a file that is not there is a fault"
