"""One edged for one state folder, across every namespace, and nobody else can take its place."""

import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from edged.errors import RUNNING, RunningError
from edged.system.lock import FILE, claimed, holder_pid, look_after

HOLD = (
    "import sys; from pathlib import Path; from edged.system.lock import claimed\n"
    "with claimed(Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"
)


@contextmanager
def held(folder: Path, *before: str) -> Iterator[subprocess.Popen[str]]:
    """Another process holds it."""
    command = [*before, sys.executable, "-c", HOLD, str(folder)]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None and child.stdout.readline() == "held\n"
    try:
        yield child
    finally:
        child.kill()
        child.wait()
        for end in (child.stdin, child.stdout):
            if end:
                end.close()


def test_the_second_is_told_who_the_first_is(tmp_path: Path) -> None:
    with held(tmp_path) as child:
        with pytest.raises(RunningError) as told, claimed(tmp_path):
            pass
        assert f"process {child.pid}" in str(told.value) and told.value.exit_code == RUNNING == 75
        assert holder_pid(tmp_path) == child.pid
    assert holder_pid(tmp_path) == 0
    with claimed(tmp_path):
        assert holder_pid(tmp_path) == os.getpid()


def test_a_killed_one_leaves_nothing_behind(tmp_path: Path) -> None:
    with held(tmp_path) as child:
        child.send_signal(signal.SIGKILL)
        child.wait()
        with claimed(tmp_path):
            pass


def test_another_network_is_no_other_folder(tmp_path: Path) -> None:
    if os.geteuid() or subprocess.run(["unshare", "-n", "true"], check=False, capture_output=True).returncode:
        pytest.skip("needs root, for a network namespace")
    with held(tmp_path, "unshare", "-n"), pytest.raises(RunningError), claimed(tmp_path):
        pass


def test_a_name_in_the_kernel_keeps_nobody_from_starting(tmp_path: Path) -> None:
    """What any local user could take: the abstract name that was the lock once."""
    import hashlib

    with socket.socket(socket.AF_UNIX) as squatter:
        squatter.bind(f"\0edged:{hashlib.sha256(os.fsencode(tmp_path.resolve())).hexdigest()}")
        with claimed(tmp_path):
            pass


def test_only_the_owner_can_lock_it(tmp_path: Path) -> None:
    with claimed(tmp_path / "state"):
        assert stat.S_IMODE((tmp_path / "state" / FILE).stat().st_mode) == 0o600
        assert stat.S_IMODE((tmp_path / "state").stat().st_mode) == 0o700


@pytest.mark.parametrize("kind", ["pipe", "link", "folder", "zero", "nowhere"])
def test_whatever_lies_in_its_place_is_moved_aside(tmp_path: Path, kind: str) -> None:
    path, others = tmp_path / FILE, tmp_path / "others"
    others.write_text("theirs")
    make = {"pipe": lambda: os.mkfifo(path), "link": lambda: path.symlink_to(others), "folder": path.mkdir}
    make |= {"zero": lambda: path.symlink_to("/dev/zero"), "nowhere": lambda: path.symlink_to("/nowhere/x")}
    make[kind]()
    with claimed(tmp_path):
        assert path.is_file() and not path.is_symlink() and others.read_text() == "theirs"
        with pytest.raises(RunningError), claimed(tmp_path):
            pass


def test_where_nothing_can_be_written_the_folder_is_locked(tmp_path: Path) -> None:
    if os.geteuid() or subprocess.run(["unshare", "-m", "true"], check=False, capture_output=True).returncode:
        pytest.skip("needs root, for a mount namespace")
    code = (
        "import sys, subprocess; from pathlib import Path\n"
        "subprocess.run(['mount', '-t', 'tmpfs', '-o', 'ro', 'none', sys.argv[1]], check=True)\n"
        "from edged.system.lock import claimed; from edged.errors import RunningError\n"
        "with claimed(Path(sys.argv[1])):\n"
        "    try:\n"
        "        with claimed(Path(sys.argv[1])): print('twice')\n"
        "    except RunningError: print('once')\n"
    )
    done = subprocess.run(["unshare", "-m", sys.executable, "-c", code, tmp_path], capture_output=True, text=True, check=False)
    assert done.stdout == "once\n", done.stderr


def test_many_at_once_are_one(tmp_path: Path) -> None:
    inside, most, refused, lock = [0], [0], [0], threading.Lock()
    done = threading.Event()

    def run() -> None:
        try:
            with claimed(tmp_path):
                with lock:
                    inside[0] += 1
                    most[0] = max(most[0], inside[0])
                done.wait(5)
                with lock:
                    inside[0] -= 1
        except RunningError:
            with lock:
                refused[0] += 1
                if refused[0] == 7:
                    done.set()

    threads = [threading.Thread(target=run) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most[0] == 1 and refused[0] == 7


@pytest.mark.parametrize("gone", ["folder", "file", "replaced"])
def test_a_lock_that_was_taken_away_is_taken_anew(tmp_path: Path, gone: str) -> None:
    """Before: the next one made another file, locked that, and was the second in the folder."""
    state = tmp_path / "state"
    with claimed(state):
        assert look_after(state) == "" and holder_pid(state) == os.getpid()
        if gone == "folder":
            shutil.rmtree(state)
        else:
            (state / FILE).unlink()
        if gone == "replaced":
            (state / FILE).write_text("")
        assert look_after(state) == "" and holder_pid(state) == os.getpid()
        assert stat.S_IMODE(state.stat().st_mode) == 0o700 and f"process {os.getpid()}" in (state / FILE).read_text()
        with pytest.raises(RunningError), claimed(state):
            pass
        assert look_after(state) == "" and holder_pid(state) == os.getpid()
    assert holder_pid(state) == 0
    with held(state):
        pass


def test_where_another_one_was_quicker_it_is_named_and_followed(tmp_path: Path) -> None:
    with claimed(tmp_path):
        (tmp_path / FILE).unlink()
        with held(tmp_path) as child:
            for _ in range(2):
                with pytest.raises(RunningError, match=f"process {child.pid}"):
                    look_after(tmp_path)
            assert holder_pid(tmp_path) == child.pid
        assert look_after(tmp_path) == "" and holder_pid(tmp_path) == os.getpid()


def test_where_it_can_not_be_taken_anew_that_is_said_until_it_can(tmp_path: Path) -> None:
    state = tmp_path / "state"
    with claimed(state):
        shutil.rmtree(state)
        state.write_text("in the way")
        assert look_after(state) == "File exists" == look_after(state)
        state.unlink()
        assert look_after(state) == "" and holder_pid(state) == os.getpid()


def test_a_folder_that_nobody_claimed_is_left_alone(tmp_path: Path) -> None:
    assert look_after(tmp_path / "state") == "" and not (tmp_path / "state").exists()
