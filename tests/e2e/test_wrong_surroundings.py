"""`edged run` where something is wrong around it: one sentence each, and what docs/exit-codes.md says."""

import contextlib
import importlib.util
import os
import signal
import socketserver
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.running import HANG_S, Edged, edged_with, free_port, wait_for
from tests.models import model_table

FAULTS_OF_PYTHON = ("Traceback", "Error:")


@pytest.fixture
def config(config: dict[str, Any]) -> dict[str, Any]:
    return config | {"model": model_table()}


def said(edged: Edged) -> list[str]:
    """What it told the operator: errors and warnings, without the level."""
    lines = edged.said.read_text().splitlines()
    return [line.partition(" ")[2] for line in lines if line.startswith(("WARNING ", "ERROR "))]


def sentences(edged: Edged) -> list[str]:
    """What it printed before it ended by itself."""
    return [line for line in edged.said.read_text().splitlines() if not line.startswith("INFO ")]


@pytest.mark.parametrize("host", ["127.0.0.1", "nowhere.invalid"])
def test_a_wrong_broker_is_told_once_and_tried_for_ever(tmp_path: Path, config: dict[str, Any], host: str) -> None:
    port = free_port()
    config["mqtt"] |= {"host": host, "port": port}
    with edged_with(tmp_path, config) as edged:
        about = wait_for(lambda: [line for line in said(edged) if f"{host}:{port}" in line], 20, "the broker is told about")
        assert len(about) == 1
        assert edged.process.poll() is None and edged.vision_pid() is not None
        assert edged.end() == 0
    assert len([line for line in said(edged) if f"{host}:{port}" in line]) == 1, "told once, not at each attempt"
    assert not any(word in edged.said.read_text() for word in FAULTS_OF_PYTHON)


def test_a_broker_that_speaks_something_else(tmp_path: Path, config: dict[str, Any]) -> None:
    class Parrot(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    with socketserver.TCPServer(("127.0.0.1", 0), Parrot) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        config["mqtt"] |= {"port": server.server_address[1]}
        with edged_with(tmp_path, config) as edged:
            wait_for(lambda: any(str(server.server_address[1]) in line for line in said(edged)), 20, "the broker is told about")
            assert edged.end() == 0
        server.shutdown()
    assert not any(word in edged.said.read_text() for word in FAULTS_OF_PYTHON)


@pytest.mark.parametrize(
    ("camera", "fault"),
    [
        ({"kind": "v4l2", "source": "/dev/video87"}, "absent"),
        ({"kind": "pictures", "source": "/nowhere/pictures"}, "absent"),
        ({"kind": "stream", "source": "rtsp://127.0.0.1:1/x"}, "absent"),
    ],
)
def test_a_wrong_camera_is_a_state_and_not_an_end(
    tmp_path: Path, config: dict[str, Any], heard: Any, camera: dict[str, str], fault: str
) -> None:
    config["camera"] = camera
    with edged_with(tmp_path, config) as edged:
        lost = wait_for(lambda: [state for state in heard.of("camera") if state["state"] == "lost"], 20, "camera: lost")
        assert lost[0]["fault"] == fault and camera["source"] in lost[0]["reason"]
        assert heard.of("status")[-1] == "online" and edged.process.poll() is None
        assert edged.end() == 0
    assert not any(word in edged.said.read_text() for word in FAULTS_OF_PYTHON)


def test_a_missing_camera_library_is_the_cameras_fault(tmp_path: Path, config: dict[str, Any], heard: Any) -> None:
    if importlib.util.find_spec("picamera2"):
        pytest.skip("picamera2 is installed here")
    config["camera"] = {"kind": "picamera2"}
    with edged_with(tmp_path, config) as edged:
        lost = wait_for(lambda: [state for state in heard.of("camera") if state["state"] == "lost"], 20, "camera: lost")
        assert lost[0]["fault"] == "library_missing" and "picamera2" in lost[0]["reason"]
        assert edged.end() == 0


@pytest.mark.parametrize("folder", ["/proc/edged", "/dev/null/edged"])
def test_a_state_folder_that_cannot_be_written(tmp_path: Path, config: dict[str, Any], heard: Any, folder: str) -> None:
    """Not even root may write there. It works on, from memory, and says so, in the log and in health."""
    config["state_folder"] = folder
    with edged_with(tmp_path, config) as edged:
        wait_for(lambda: heard.of("event"), 30, "it works")
        assert edged.end() == 0
    told = said(edged)
    assert any("memory" in one for one in told)
    assert all(folder in one for one in told) and len(set(told)) == len(told), "each told once"
    assert any(folder in one for one in heard.of("health")[-1]["degraded"])
    assert not any(word in edged.said.read_text() for word in FAULTS_OF_PYTHON)


def test_a_second_copy_ends_and_the_first_goes_on(tmp_path: Path, config: dict[str, Any], heard: Any) -> None:
    (tmp_path / "second").mkdir()
    with edged_with(tmp_path, config) as first:
        wait_for(lambda: heard.of("result"), 30, "the first one works")
        with edged_with(tmp_path / "second", config) as second:
            assert second.process.wait(HANG_S) == 75
        (sentence,) = sentences(second)
        assert "another edged" in sentence and config["state_folder"] in sentence
        before = len(heard.of("result"))
        wait_for(lambda: len(heard.of("result")) > before, 10, "the first one still works")
        assert heard.of("status") == ["online"]
        assert first.end() == 0


def test_a_copy_that_was_killed_leaves_no_lock(tmp_path: Path, config: dict[str, Any], heard: Any) -> None:
    with edged_with(tmp_path, config) as first:
        wait_for(lambda: heard.of("result"), 30, "it works")
        os.kill(first.process.pid, signal.SIGKILL)
        first.process.wait()
    with edged_with(tmp_path, config) as again:
        before = len(heard.of("result"))
        wait_for(lambda: len(heard.of("result")) > before, 30, "it works again")
        assert again.end() == 0


def test_a_wrong_model_is_the_configs_fault(tmp_path: Path, config: dict[str, Any]) -> None:
    config["model"] = {"name": "mobilenet_v9"}
    with edged_with(tmp_path, config) as edged:
        assert edged.process.wait(HANG_S) == 78
    (sentence,) = sentences(edged)
    assert sentence.startswith(f"{edged.config}:") and "model.name" in sentence


@pytest.mark.parametrize(
    "surroundings",
    [
        "exec <&- >&- 2>&-",  # the numbers of the closed streams go to files of ours
        "unset PYTHONUNBUFFERED; exec > /dev/full 2> /dev/full",  # what can not be written is still buffered at the end
        "ulimit -f 0; exec > /dev/null 2>&1",  # no file may grow, also none in /tmp
        "ulimit -n 24",
        "ulimit -d 500000",
        "umask 777",
        "cd $(mktemp -d) && rmdir $PWD",
        "unset HOME; export LC_ALL=C PYTHONUTF8=0 PYTHONIOENCODING=ascii",
        "export NOTIFY_SOCKET=/nowhere WATCHDOG_USEC=" + "9" * 400,
        "export TMPDIR=/nowhere CREDENTIALS_DIRECTORY=/dev RUNTIME_DIRECTORY=/proc TZ=../../dev/zero",
    ],
)
def test_odd_surroundings_of_a_process_keep_nothing_from_working(
    tmp_path: Path, config: dict[str, Any], heard: Any, surroundings: str
) -> None:
    python = ["bash", "-c", f'{surroundings}; exec "$@"', "bash", sys.executable]
    with edged_with(tmp_path, config, python=python) as edged:
        wait_for(lambda: heard.of("result") or edged.process.poll() is not None, 60, "it sees")
        assert edged.process.poll() is None, edged.said.read_text()
        assert edged.end() == 0
    assert not any(word in edged.said.read_text() for word in FAULTS_OF_PYTHON)


def test_a_stderr_that_nobody_reads_holds_up_nobody(tmp_path: Path, config: dict[str, Any], heard: Any) -> None:
    """Ctrl-S in a terminal, a log driver that stalls: it is full before the first line, and stays so."""
    pipe = tmp_path / "stalled"
    os.mkfifo(pipe)
    stalled = os.open(pipe, os.O_RDWR | os.O_NONBLOCK)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(stalled, bytes(4096))
    python = ["bash", "-c", 'exec 2>"$0"; exec "$@"', str(pipe), sys.executable]
    try:
        with edged_with(tmp_path, config, python=python) as edged:
            wait_for(lambda: heard.of("result") or edged.process.poll() is not None, 60, "it sees")
            for _ in range(20):  # of each there is a line
                heard.publish("edged/test/control", b"nonsense")
            seen = len(heard.of("result"))
            wait_for(lambda: len(heard.of("result")) > seen + 5, 30, "it goes on")
            edged.process.terminate()
            assert edged.process.wait(HANG_S) == 0
    finally:
        os.close(stalled)
