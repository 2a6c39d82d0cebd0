"""`edged demo` as a stranger meets it, and a plain folder of photographs as a camera."""

import importlib.resources
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from edged.commands.demo import PHOTOGRAPHS, to_config
from edged.errors import FAILED, IO_FAILED
from edged.models.store import Store
from tests.e2e.judge_demo import SHOWN, judged
from tests.e2e.running import HANG_S, alive, children, descendants, edged_with, wait_for


def test_the_demo_shows_the_sure_ones_first_and_says_where_to_go_on():
    """Until every photograph was seen, and Ctrl-C."""
    album = [f"{number}_{name}" for number, name in enumerate(PHOTOGRAPHS)]
    heeded = lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)  # noqa: E731  # whoever runs the tests in the background ignores it
    with subprocess.Popen(
        [sys.executable, "-m", "edged", "demo", "--seconds", "0", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=heeded,
        start_new_session=True,
    ) as running:
        first, second = running.stderr.readline(), running.stderr.readline()
        port = re.search(r"127\.0\.0\.1:(\d+)", first)[1]
        listen = second.strip()
        assert listen == f"mosquitto_sub -h 127.0.0.1 -p {port} -v -t 'edged/demo/#'"
        heard = subprocess.run(["sh", "-c", f"{listen} -C 5 -W 100"], capture_output=True, text=True, timeout=HANG_S, check=False)
        assert heard.returncode == 0 and len(heard.stdout.splitlines()) == 5, "the line can be copied into a second terminal"
        lines = []
        while running.poll() is None and not (set(album) <= set(shown(lines)) and "cat" in named(lines)):
            lines.append(json.loads(running.stdout.readline()))
        os.killpg(running.pid, signal.SIGINT)  # as a terminal does it: all of them get it
        said, rest = running.communicate(timeout=HANG_S)
    assert running.returncode == 0, rest
    lines += [json.loads(line) for line in said.splitlines()]
    assert lines[-1] == {"topic": "edged/demo/status", "payload": "offline"}, "what is said at the end is heard too"
    results = [line["payload"] for line in lines if line["topic"] == "edged/demo/result"]
    assert set(shown(lines)) == set(album)
    cats = [result["top"][0]["label"] for result in results if result["frame"]["picture"] == album[0]]
    assert cats.count("cat") * 2 > len(cats)
    verdict = judged(lines)
    assert verdict["right"] * 4 >= verdict["shown"] * 3, verdict
    if shown(lines)[0] == album[0]:  # a slow machine loads its model while the first one is shown already
        assert named(lines)[0] == "cat", "the first one is named, for certain; the others wait for a model that knows them"
    seen, config, then = rest.splitlines()[-3:]
    most, counts = seen.removeprefix("seen: ").split(" ")[0].rstrip(","), Counter(named(lines))
    assert counts[most] == max(counts.values()), "the one that was named most stands first"
    assert all(f"{label[:12]} × {count}" in seen for label, count in counts.items())
    assert Path(config.rpartition(": ")[2]).read_text().startswith("# edged.toml: every key with its default")
    assert then.startswith("next: edged init ")


def test_what_cannot_be_printed_ends_the_demo_with_the_reason():
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run(
            [sys.executable, "-m", "edged", "demo", "--seconds", "0"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=HANG_S,
        )
    assert ended.returncode == IO_FAILED
    assert ended.stderr.splitlines()[-1] == "the output cannot be written: No space left on device"


def test_a_daemon_that_is_killed_ends_the_demo_with_the_reason():
    with subprocess.Popen(
        [sys.executable, "-m", "edged", "demo", "--seconds", "0"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as running:
        running.stdout.readline()  # the daemon has said something
        for child in children(running.pid):
            if b"run" in Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0"):
                os.kill(child, signal.SIGKILL)
        said, rest = running.communicate(timeout=HANG_S)
    assert running.returncode == FAILED
    assert rest.splitlines()[-1] == "the daemon of the demo was ended by SIGKILL; 'journalctl -k' says whether memory was short"
    assert said.splitlines()[-1].split() == ["edged/demo/status", "offline"]


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM, signal.SIGKILL])
def test_however_the_demo_ends_nothing_of_it_is_left(tmp_path, number):
    """Asked for again and again where that is possible, as by a terminal that is closed or somebody without patience."""
    with subprocess.Popen(
        [sys.executable, "-m", "edged", "demo", "--seconds", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=os.environ | {"TMPDIR": str(tmp_path)},
    ) as running:
        running.stdout.readline()  # the daemon has said something
        started = descendants(running.pid)
        assert len(started) >= 3, "the daemon, its vision process and a subscriber"

        def has_ended() -> bool:
            running.send_signal(number)
            return running.poll() is not None

        wait_for(has_ended, 30, "the end")
    is_clean = number in (signal.SIGHUP, signal.SIGTERM)
    assert running.returncode == (128 + number if is_clean else -number)
    wait_for(lambda: not any(alive(one) for one in started), 10, "they end with it")
    assert not is_clean or not list(tmp_path.iterdir())


def test_the_first_photographs_are_certain_for_the_network_that_it_begins_with(tmp_path):
    """Before anything is measured, which takes half a minute on a small board: so nothing is `unknown` at first sight."""
    smallest = Store(tmp_path).smallest("home").card
    data = Path(str(importlib.resources.files("skimage.data")))
    for name in PHOTOGRAPHS[:2]:
        words = ["classify", "--json", "--model", smallest.name, str(data / name)]
        told = subprocess.run([sys.executable, "-m", "edged", *words], capture_output=True, text=True, timeout=HANG_S, check=True)
        best, second = json.loads(told.stdout)["top"][:2]
        assert best["label"] == SHOWN[Path(name).stem]
        assert best["score"] >= smallest.enter and best["score"] - second["score"] >= smallest.margin


def shown(lines):
    """The pictures of the results, in order."""
    return [line["payload"]["frame"]["picture"] for line in lines if line["topic"] == "edged/demo/result"]


def named(lines):
    """The labels of things that were entered, in order."""
    entered = [
        line["payload"] for line in lines if line["topic"] == "edged/demo/event" and line["payload"]["event_type"] == "entered"
    ]
    return [event["label"] for event in entered if event["label"] not in ("none", "unknown")]


def test_the_demo_decides_as_a_users_own_config_does(tmp_path):
    assert set(to_config(tmp_path, 1, "rtsp://x")) == {"device", "state_folder", "camera", "mqtt"}
    assert set(to_config(tmp_path, 1, "rtsp://x")["camera"]) == {"kind", "source"}
    assert sorted(PHOTOGRAPHS) == sorted(f"{name}.png" for name in SHOWN)


def test_a_plain_folder_of_photographs_makes_one_change_for_each(tmp_path, config, heard):
    """Each is shown so long that k of n agree: no more changes of the label than there were photographs."""
    album = tmp_path / "plain"
    album.mkdir()
    for name in ("chelsea", "coffee", "motorcycle_left"):
        shutil.copy(Path(str(importlib.resources.files("skimage.data"))) / f"{name}.png", album)
    config["camera"] = {"kind": "pictures", "source": str(album), "fps": 5.0}
    config["model"] = {"name": "home_0.25_128"}  # which is sure of all three, and not only just
    wanted = {"cat", "two_wheeler", "none"}
    del config["decision"]
    with edged_with(tmp_path, config) as edged:
        shows = lambda: [r["frame"]["picture"] for r in heard.of("result")]  # noqa: E731
        turns = lambda: 1 + sum(a != b for a, b in zip(shows(), shows()[1:], strict=False))  # noqa: E731
        entered = lambda: [event["label"] for event in heard.of("event") if event["event_type"] == "entered"]  # noqa: E731
        wait_for(lambda: shows() and turns() >= 7 and wanted <= set(entered()), 60, "seven photographs, and what they are")
        edged.end()
    assert len(entered()) <= turns() + 2, "unknown at the beginning and at the end, and one for each photograph"
