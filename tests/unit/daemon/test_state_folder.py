"""What lies in the state folder at a start: damaged files are moved aside and told, rights that go too far are taken back."""

import asyncio
import fcntl
import os
import shutil
import stat
from pathlib import Path

import pytest

from edged.daemon.state_folder import Hold, tidy
from edged.process.control import SOCKET, Control
from edged.system.lock import FILE, claimed, holder_pid

NAMES = ("override.json", "starts.json", "measurements.json", "fingerprints.json", "last_good/pair.json")


def put(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def test_nothing_there_is_nothing_to_tell(tmp_path: Path) -> None:
    assert tidy(tmp_path) == () and tidy(tmp_path / "absent") == ()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("content", [b"", b"{", b"[" * 9000, b"[]", b"\xff", b'{"unfinished": "x"}'])
def test_what_edged_did_not_write_is_moved_aside(tmp_path: Path, name: str, content: bytes) -> None:
    put(tmp_path / name, content)
    (sentence,) = tidy(tmp_path)
    assert sentence.startswith(f"{tmp_path / name}: ") and "it is kept as" in sentence and not (tmp_path / name).exists()
    assert (tmp_path / f"{name}.damaged-1").read_bytes() == content and tidy(tmp_path) == ()


def test_a_good_count_of_starts_stays(tmp_path: Path) -> None:
    put(tmp_path / "starts.json", b'{"unfinished": 2}')
    assert tidy(tmp_path) == () and (tmp_path / "starts.json").exists()


@pytest.mark.parametrize("folder", ["models", "last_good"])
def test_a_file_in_the_place_of_a_folder_is_moved(tmp_path: Path, folder: str) -> None:
    put(tmp_path / folder, b"in the way")
    sentences = tidy(tmp_path)
    assert f"{tmp_path / folder}: is no folder; it is kept as {folder}.damaged-1, and edged does without it" in sentences


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "override.json")
    (sentence,) = tidy(tmp_path)
    assert "is not a regular file" in sentence


def test_rights_that_go_too_far_are_taken_back(tmp_path: Path) -> None:
    wanted = {"outbox.db": 0o600, "outbox.db-wal": 0o600, "starts.json": 0o600, "measurements.json": 0o640, "models/a.toml": 0o640}
    for name in wanted:
        put(tmp_path / name, b'{"unfinished": 0}' if name == "starts.json" else b"{}" if name == "measurements.json" else b"")
        (tmp_path / name).chmod(0o666)
    (tmp_path / "outbox.db-shm").symlink_to("/dev/zero")
    before = stat.S_IMODE(Path("/dev/zero").stat().st_mode)
    assert tidy(tmp_path) == ()
    assert {name: stat.S_IMODE((tmp_path / name).stat().st_mode) for name in wanted} == wanted
    assert stat.S_IMODE(Path("/dev/zero").stat().st_mode) == before


def test_a_full_folder_does_not_take_for_ever(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    for number in range(1100):
        (tmp_path / f"models/{number:04}.txt").touch(0o666)
    assert tidy(tmp_path) == ()


def test_a_folder_that_was_taken_away_is_held_anew_and_has_its_door(tmp_path: Path) -> None:
    state = tmp_path / "state"

    async def go() -> None:
        control = Control(state)
        hold = Hold(state, control)
        await control.start()
        shutil.rmtree(state)
        await hold.look()
        assert hold.fault is None is control.fault and control.is_there and holder_pid(state) == os.getpid()
        shutil.rmtree(state)
        state.write_text("in the way")
        await hold.look()
        assert hold.fault is not None and control.fault is not None
        assert hold.fault.to_dict() == {"kind": "state_folder", "path": str(state), "reason": "File exists"}
        assert control.fault.kind == "control"
        state.unlink()
        await hold.look()
        assert hold.fault is None is control.fault and control.is_there and holder_pid(state) == os.getpid()
        await control.close()

    with claimed(state):
        asyncio.run(go())


def test_a_folder_that_another_one_took_is_told_and_taken_back_at_its_end(tmp_path: Path) -> None:
    async def go() -> None:
        control = Control(tmp_path)
        hold = Hold(tmp_path, control)
        await control.start()
        for name in (FILE, SOCKET):
            (tmp_path / name).unlink()
        with (tmp_path / FILE).open("w") as theirs:
            fcntl.flock(theirs, fcntl.LOCK_EX)
            await hold.look()
            assert hold.fault is not None and control.fault is not None
            assert hold.fault.kind == "state_folder" and "another edged (process " in hold.fault.sentence
            assert control.fault.kind == "control" and not (tmp_path / SOCKET).exists(), "its door is its own affair"
        await hold.look()
        assert hold.fault is None is control.fault and control.is_there and holder_pid(tmp_path) == os.getpid()
        await control.close()

    with claimed(tmp_path):
        asyncio.run(go())
