"""`edged init` on machines with a camera and without, with a broker and without: a config that `check` accepts, or one sentence."""

import contextlib
import os
import pty
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from edged.vision.cameras.attached import AttachedCamera, find_attached, to_attached
from tests.contract.commands.test_check import edged
from tests.e2e.running import Broker, Heard, free_port
from tests.models import a_picture

HAS_CAMERA = bool(find_attached().cameras)


@pytest.fixture
def album(tmp_path: Path) -> Path:
    folder = tmp_path / "album"
    folder.mkdir()
    a_picture(folder)
    return folder


def is_sound(path: Path) -> bool:
    done = edged("check", "-c", path)
    return done.returncode == 0 and "Traceback" not in done.stderr


@pytest.mark.skipif(HAS_CAMERA, reason="this machine has a camera")
def test_without_a_camera_it_is_one_sentence_and_no_file(tmp_path: Path) -> None:
    done = edged("init", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (69, "")
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("no camera was found: ") and "edged init --camera" in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not HAS_CAMERA, reason="this machine has no camera; tests/beds/vm/run brings one")
def test_a_camera_that_is_here_is_found_and_looked_through(tmp_path: Path) -> None:
    camera = find_attached().cameras[0]
    done = edged("init", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    text = (tmp_path / "edged.toml").read_text()
    assert f'kind = "{camera.kind}"' in text and f'source = "{camera.source}"' in text
    assert f"camera   {camera.kind} {camera.source} ({camera.name})" in done.stdout
    said = next(line for line in done.stdout.splitlines() if line.startswith("it sees"))
    assert "nothing yet" not in said and " ms, " in said, said
    assert is_sound(tmp_path / "edged.toml")


@pytest.mark.parametrize("has_broker", [True, False])
def test_pictures_for_a_camera(tmp_path: Path, album: Path, has_broker: bool) -> None:
    broker = Broker(tmp_path) if has_broker else None
    heard = Heard(broker.port) if broker else None
    port = broker.port if broker else free_port()
    try:
        done = edged("init", "--camera", album, "--broker", f"127.0.0.1:{port}", "--device", "door", cwd=tmp_path)
        assert heard is None or heard.messages == [], "it looks, and publishes nothing"
    finally:
        if broker is not None and heard is not None:
            heard.close()
            broker.end()
    path = tmp_path / "edged.toml"
    assert (done.returncode, done.stderr) == (0, "")
    assert path.stat().st_mode & 0o777 == 0o600
    assert is_sound(path)
    rows = edged("check", "--changed", "-c", path).stdout
    assert 'device = "door"' in rows and f"mqtt.port = {port}" in rows and f'camera.source = "{album}"' in rows
    lines = done.stdout.splitlines()
    assert lines[0] == f"camera   pictures {album}"
    assert lines[1].startswith(f"broker   127.0.0.1:{port} " + ("answers" if has_broker else "does not answer yet ("))
    assert lines[3].startswith("it sees  ") and " ms, 128 × 96)" in lines[3]
    assert "  run it          edged run -c edged.toml" in lines
    assert "  watch it        edged watch -c edged.toml" in lines
    assert ("  a broker        sudo apt install mosquitto" in lines) is not has_broker


@pytest.mark.parametrize("there", ["a file", "a link that leads nowhere", "a folder", "an empty file"])
def test_what_is_there_is_never_touched(tmp_path: Path, album: Path, there: str) -> None:
    path = tmp_path / "edged.toml"
    if there == "a folder":
        path.mkdir()
    elif "link" in there:
        path.symlink_to(tmp_path / "elsewhere")
    else:
        path.write_text("device = 'mine'\n" if there == "a file" else "")
    before = path.lstat()
    done = edged("init", "--camera", album, cwd=tmp_path)
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (1, "", 1)
    assert "is there already and is left as it is" in done.stderr
    assert path.lstat().st_mtime_ns == before.st_mtime_ns and path.lstat().st_ino == before.st_ino
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize(
    ("options", "code", "what"),
    [
        (["--camera", "/nowhere/pictures"], 78, "camera.source: /nowhere/pictures cannot be read"),
        (["--camera", "/dev/video99"], 78, "camera.source: /dev/video99 cannot be read"),
        (["--camera", "ftp://x/y"], 78, 'kind = "stream" needs an address like'),
        (["--device", "Front Door"], 78, "device: "),
        (["--broker", "mqtt://pi"], 2, "is no port"),
        (["--broker", "pi:0"], 2, "is no port"),
        (["--password-file", "/nowhere"], 78, "mqtt.password_file"),
    ],
)
def test_what_can_not_be_is_refused_before_anything_is_written(
    tmp_path: Path, album: Path, options: list[str], code: int, what: str
) -> None:
    done = edged("init", "--no-look", *(["--camera", album] if "--camera" not in options else []), *options, cwd=tmp_path)
    assert done.returncode == code, done.stderr
    assert what in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "edged.toml").exists()


def test_a_person_is_asked_at_most_three_questions(tmp_path: Path) -> None:
    """In a terminal, on a machine where nothing is found: camera, broker, name. Enter is an answer to the last two."""
    shutil.copy(a_picture(tmp_path), tmp_path / "one.png")
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "edged", "init", "--no-look"], stdin=theirs, stdout=theirs, stderr=theirs, cwd=tmp_path
    ) as running:
        os.close(theirs)
        os.write(ours, b"one.png\n\n\n" if not HAS_CAMERA else b"\n\n\n")
        said = b""
        with contextlib.suppress(OSError):  # the terminal's end
            while part := os.read(ours, 4096):
                said += part
    os.close(ours)
    assert running.returncode == 0, said
    questions = [line for line in said.decode().splitlines() if line.rstrip().endswith(":") or "]: " in line or "): " in line]
    assert len([line for line in questions if "next:" not in line]) <= 3, said
    assert is_sound(tmp_path / "edged.toml")


def test_what_the_child_says_is_not_believed_beyond_its_words() -> None:
    lines = [
        b"a library that talks",
        b'{"kind": "v4l2", "source": "/dev/video0", "name": "Cam\\u001b[2J"}',
        b'{"kind": "v4l2", "source": 5, "name": "x"}',
        b"[1]",
        b"\xff\xfe",
        b'{"kind": "picamera2", "source": "0", "name": "imx708"}',
    ]
    found = to_attached(b"\n".join(lines), "it crashed")
    assert found.cameras == (AttachedCamera("picamera2", "0", "imx708"), AttachedCamera("v4l2", "/dev/video0", "Cam?[2J"))
    assert found.no_picamera2 == ""
    assert to_attached(b"", "it crashed").no_picamera2 == "it crashed"
    assert len(to_attached(lines[1] + b"\n" + b"\n".join([lines[1]] * 1000), "").cameras) == 32


def test_a_port_of_5000_digits_is_no_port(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "edged", "init", "-y", "--no-look", "--camera", "0", "--broker", f"localhost:{'9' * 5000}"]
    done = subprocess.run([*command, "-c", str(tmp_path / "new.toml")], capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "is no port" in done.stderr and "Traceback" not in done.stderr
