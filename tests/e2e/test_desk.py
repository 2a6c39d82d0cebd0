"""What one wants to know of a running daemon from the desk: each line of `status`, `watch -c`, `classify`, `use --write`."""

import json
import os
import re
import signal
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import edged
from edged.commands.status import to_rows
from edged.commands.use import to_file
from edged.errors import EdgedError
from edged.models.admission import Admission, Scene
from edged.models.measurements import Measured, Measurements
from edged.models.store import Store
from edged.system.text import counted, to_duration
from tests.e2e.running import HANG_S, Broker, edged_with, free_port, wait_for
from tests.models import a_picture
from tests.system_folders import SystemFolders, needs_own_folders


def ask(*words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "edged", *map(str, words)], capture_output=True, text=True, timeout=HANG_S, check=False
    )


def test_status_says_all_that_one_wants_to_know(tmp_path, config, heard):
    with edged_with(tmp_path, config) as running:
        wait_for(lambda: heard.of("event"), 60, "an event")
        wait_for(lambda: "last result" in ask("status", "-c", running.config).stdout, 10, "a result")
        said = ask("status", "-c", running.config).stdout
        answer = json.loads(ask("status", "-c", running.config, "--json").stdout)
        running.end()
    rows = {line[:9].strip(): line[10:] for line in reversed(said.splitlines())}
    assert re.fullmatch(rf"test \(edged {re.escape(edged.__version__)}, up \d+ s\)", rows["device"])
    assert re.fullmatch(
        r"(\w+ \d\.\d\d|none \(nothing but background\)|unknown \(nothing for certain\)), since \d\d:\d\d:\d\d \(\d+ s\)",
        rows["label"],
    )
    assert re.fullmatch(r"ok, last result [\d.]+ s ago", rows["camera"])
    assert rows["wish"] == "auto"
    assert rows["broker"] == f"127.0.0.1:{config['mqtt']['port']}, connected"
    assert rows["board"].split(",")[0] == heard.of("info")[-1]["board"]
    assert rows["config"] == str(running.config)
    assert answer["device"] == "test" and answer["version"] == edged.__version__
    assert answer["label"] in {event["label"] for event in heard.of("event")} and answer["label_since"].endswith("Z")
    assert 0 <= answer["result_age_s"] <= answer["health"]["uptime_s"] and 0 <= answer["label_s"] <= answer["health"]["uptime_s"]
    assert {"board", "broker", "wish", "score", "health"} <= answer.keys()


def test_status_before_the_first_result_and_with_a_temperature():
    answer = {
        "device": "door", "version": "1", "label": "unknown", "score": 0.0, "label_since": None, "label_s": None,
        "result_age_s": None,
        "model": "m", "chosen": "c", "wish": "@night", "decision": {"enter": 0.6, "leave": 0.4, "margin": 0.1},
        "camera": "starting",
        "broker": "pi:1883", "connected": False, "board": "Pi", "config": "", "override": None,
        "health": {
            "frames": {"captured": 1234567, "inferred": 0}, "events": {"delivered": 1, "queued": 2, "dropped": {"quota": 3}},
            "latency_p95_ms": None, "temperature_c": 51.4, "uptime_s": 90000, "fps": 0, "degraded": [],
        },
    }  # fmt: skip
    rows = dict(to_rows(answer))
    assert rows["device"] == "door (edged 1, up 25 h 0 min)"
    assert rows["label"] == "unknown (nothing for certain)"
    assert rows["camera"] == "starting, no result yet"
    assert rows["board"] == "Pi, 51 °C" and rows["broker"] == "pi:1883, away" and rows["wish"] == "@night"
    assert rows["frames"] == "1,234,567 captured" and rows["events"] == "1 delivered, 2 waiting, 3 dropped"


def test_watch_takes_broker_and_device_of_a_config(tmp_path, config, broker):
    config["device"] = "mine"
    with edged_with(tmp_path, config) as running:
        command = [sys.executable, "-m", "edged", "watch", "-c", str(running.config), "--json"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as watch:
            first = json.loads(watch.stdout.readline())
            watch.send_signal(signal.SIGINT)
        running.end()
    assert first["topic"].startswith("edged/mine/")


@pytest.mark.parametrize("words", [["localhost"], ["localhost", "1883"]])
def test_watch_says_how_a_host_is_given(words):
    done = ask("watch", *words)
    assert done.returncode == 2 and done.stderr.endswith("edged: use -h HOST: edged watch -h localhost\n")


def test_watch_says_what_the_two_labels_without_a_thing_mean():
    from edged.commands.watch import to_line

    assert to_line("edged/door/label", b"none", 0).split(maxsplit=1)[1] == "none (nothing but background)"
    assert to_line("edged/door/label", b"unknown", 0).split(maxsplit=1)[1] == "unknown (nothing for certain)"
    assert to_line("edged/door/label", b"cat", 0).split(maxsplit=1)[1] == "cat"
    assert to_line("edged/door/status", b"none", 0).split(maxsplit=1)[1] == "none"


def test_classify_uses_the_model_that_the_daemon_runs_and_names_it_first(tmp_path, config, heard):
    config["model"] = {"name": "auto"}
    picture = a_picture(tmp_path)
    with edged_with(tmp_path, config) as running:
        wait_for(lambda: heard.of("result"), 60, "a result")
        assert ask("use", "home_0.5_128", "-c", running.config).returncode == 0
        said = ask("classify", picture, "-c", running.config).stdout.splitlines()
        assert said[0] == "model home_0.5_128: as the daemon runs"
        assert said[1].startswith(f"{picture}: ")
        lines = ask("classify", picture, "-c", running.config, "--json").stdout.splitlines()
        assert [json.loads(line)["model"] for line in lines] == ["home_0.5_128"]
        running.end()


def test_classify_without_a_daemon_takes_what_a_daemon_would_begin_with(tmp_path):
    path, picture = tmp_path / "edged.toml", a_picture(tmp_path)
    path.write_text(f"state_folder = '{tmp_path}/state'\n[camera]\nkind = 'pictures'\nsource = '{tmp_path}'\n")
    first = ask("classify", picture, "-c", path).stdout.splitlines()[0]
    assert first == "model home_0.25_96: auto: the smallest, for nothing was measured here yet (edged fit), or nothing larger fits"
    chosen = json.loads(ask("fit", "-c", path, "--json").stdout)["chosen"]
    second = ask("fit", "-c", path)
    assert "all of it was remembered from an earlier run; 'edged fit --again' measures anew" in second.stderr
    first = ask("classify", picture, "-c", path).stdout.splitlines()[0]
    assert first.startswith(f"model {chosen}: auto: ")
    assert chosen == "home_0.25_96" or first.endswith("the most accurate that was measured to fit here")
    asked = ask("classify", picture, "-c", path, "-m", "home_0.25_128").stdout.splitlines()[0]
    assert asked == "model home_0.25_128: as asked for"


def test_models_list_is_what_is_here_and_says_what_is_measured(tmp_path):
    path = tmp_path / "edged.toml"
    path.write_text(f"state_folder = '{tmp_path}/state'\n")
    short, long = ask("models", "list", "-c", path), ask("models", "list", "--all", "-c", path)
    rows = [line.split("\t") for line in short.stdout.splitlines()]
    assert rows[0] == ["name", "px", "million MACs", "million weights", "top-1 (card)", "file MB", "installed", "p95 measured here"]
    assert len(rows) > 3 and all(row[6] == "bundled" for row in rows[1:])
    everything = [line.split("\t") for line in long.stdout.splitlines()]
    more = len(everything) - len(rows)
    assert everything[: len(rows)] == rows and more >= 20, "installed first"
    assert not any(row[6] for row in everything[len(rows) :])
    assert (
        short.stderr == f"{more} more models can be fetched with 'edged models pull NAME': 'edged models list --all' names them\n"
    )
    assert long.stderr == ""


def test_what_was_measured_is_words_for_people_and_figures_for_programs(tmp_path):
    state, path = tmp_path / "state", tmp_path / "edged.toml"
    path.write_text(f"state_folder = '{state}'\n")
    one = Store(state).find("home_0.25_128")
    key = Admission(state).measurement_key_of(one.sha256, Scene(), (1,))
    state.mkdir()
    Measurements(state).enter(key, Measured(p50_ms=1.04, p95_ms=1.26, memory_mb=50, threads=1, runs=20))
    rows = [line.split("\t") for line in ask("models", "list", "-c", path).stdout.splitlines()]
    assert {row[0]: row[7] for row in rows if row[7]} == {"name": "p95 measured here", "home_0.25_128": "1.3 ms, 1 thread"}
    told = {row["name"]: row["measured"] for row in json.loads(ask("models", "list", "--json", "-c", path).stdout)}
    assert told["home_0.25_128"] == {"p95_ms": 1.3, "threads": 1} and told["home_0.5_128"] is None
    shown = json.loads(ask("models", "show", "home_0.25_128", "--json", "-c", path).stdout)
    assert shown["measured"] == told["home_0.25_128"]


@needs_own_folders
def test_use_write_asks_the_daemon_for_its_file(tmp_path):
    """Without -c: the daemon of this machine runs another file than the one that a command would look into."""
    broker, folders = Broker(tmp_path), SystemFolders(tmp_path / "system")
    text = f"device = 'x' # kept\n[camera]\nkind = 'pictures'\nsource = '{tmp_path}'\n"
    text += f"[mqtt]\nhost = '127.0.0.1'\nport = {broker.port}\n"
    a_picture(tmp_path)
    path = folders.config("edged.toml", text)
    run = folders.command(sys.executable, "-m", "edged", "run")
    running = subprocess.Popen(run, stderr=subprocess.DEVNULL)
    try:
        socket = tmp_path / "system/lib/edged/control.sock"
        wait_for(socket.exists, 30, "the daemon listens")
        asked = (sys.executable, "-m", "edged", "status", "--json")
        wait_for(lambda: (json.loads(folders.run(*asked).stdout or "{}")).get("result_age_s") is not None, 30, "it sees")
        done = folders.run(sys.executable, "-m", "edged", "use", "home_0.25_128", "--write")
        assert done.returncode == 0, done.stderr
        assert f"written to {path}" in done.stdout
        written = (tmp_path / "system/etc/edged/edged.toml").read_text()
        assert tomllib.loads(written)["model"]["name"] == "home_0.25_128" and "# kept" in written
    finally:
        running.terminate()
        running.wait(HANG_S)
        broker.end()


@pytest.mark.parametrize(
    ("told", "config", "is_root", "file"),
    [
        ("/etc/edged/edged.toml", None, True, "/etc/edged/edged.toml"),
        ("/etc/edged/front.toml", None, True, "/etc/edged/front.toml"),
        ("/home/pi/door.toml", None, False, "/home/pi/door.toml"),
        ("/home/pi/door.toml", "/home/pi/door.toml", True, "/home/pi/door.toml"),
        ("", "/home/pi/door.toml", True, "/home/pi/door.toml"),
        ("/root/.config/other.toml", None, True, "name it: -c /root/.config/other.toml"),
        ("/etc/edged/../shadow.toml", None, True, "name it: -c"),
        ("/etc/edged/x\n", None, True, "name it: -c"),
        ("", None, False, "has no config file"),
    ],
)
def test_root_does_not_write_where_a_socket_says(told, config, is_root, file):
    if file.startswith("/"):
        assert to_file(told, Path(config) if config else None, is_root=is_root) == Path(file)
        return
    with pytest.raises(EdgedError) as refused:
        to_file(told, None, is_root=is_root)
    assert file in str(refused.value) and "\n" not in str(refused.value)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs a network namespace of its own")
def test_without_a_network_a_fetch_says_so(tmp_path):
    path = tmp_path / "edged.toml"
    path.write_text(f"state_folder = '{tmp_path}/state'\n")
    command = ["unshare", "--net", sys.executable, "-m", "edged", "models", "pull", "mobilenet_v1_0.25_128", "-c", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=HANG_S, check=False)
    assert done.returncode == 69 and "the download failed (no network" in done.stderr and "Unknown error" not in done.stderr


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(-3, "0 s"), (5.4, "5 s"), (119, "119 s"), (120, "2 min"), (7199, "119 min"), (7200, "2 h 0 min"), (200_000, "2 days 7 h")],
)
def test_durations_are_for_people(seconds, said):
    assert to_duration(seconds) == said


def test_one_is_no_plural():
    assert [counted(number, "key") for number in (0, 1, 2, 1234)] == ["0 keys", "1 key", "2 keys", "1,234 keys"]


def test_no_broker_is_one_sentence_for_watch_with_a_config(tmp_path):
    path = tmp_path / "edged.toml"
    path.write_text(f"[mqtt]\nhost = '127.0.0.1'\nport = {free_port()}\n")
    done = ask("watch", "-c", path)
    assert done.returncode == 69 and done.stderr.startswith("no broker at 127.0.0.1:") and len(done.stderr.splitlines()) == 1
