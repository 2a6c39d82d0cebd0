"""A killed courier loses nothing that was decided; after a power cut what can't be known is told."""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from edged.delivery.outbox.changes import _to_line
from edged.delivery.outbox.repair import answer_offline, open_outbox
from edged.delivery.outbox.rows import GAP
from edged.delivery.outbox.tail import LAST_FOLDER, find_left, name_of
from edged.delivery.outbox.writer import Outbox
from edged.system.clock import Clock


@pytest.fixture(autouse=True)
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "runtime"
    folder.mkdir()
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(folder))
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    return folder


def opened(folder: Path, *, kernel_boot: str = "") -> Outbox:
    clock = Clock()
    clock.kernel_boot = kernel_boot or clock.kernel_boot
    return open_outbox(folder, clock)


def put(outbox: Outbox, number: int, *, numbered: bool = True) -> None:
    """As `Outbox.put` does, and its thread, which does not run here."""
    body = json.dumps({"event_type": "entered", "label": str(number)})
    index = outbox._shelves.tail.accept(body, outbox._ledger._clock.monotonic_ns())
    if numbered:
        outbox._put(index, body, outbox._ledger._clock.monotonic_ns())


def put_all(outbox: Outbox, numbers: range, *, numbered: bool = True) -> None:
    outbox._call = lambda *_: None  # type: ignore[method-assign]  # there is no loop
    outbox._on_change = lambda: None
    for number in numbers:
        put(outbox, number, numbered=numbered)


def kill(outbox: Outbox) -> None:
    """What SIGKILL leaves: the transaction is rolled back, the files are as they are."""
    assert outbox._shelves._disk is not None
    outbox._shelves._disk._db.close()


def waiting(outbox: Outbox) -> list[tuple[str, int, str]]:
    handed = outbox._ledger.hand_out(1000, 1000)
    return sorted((one.row.boot, one.row.seq, json.loads(one.row.body).get("label", "gap")) for one in handed)


@pytest.mark.parametrize("committed", [True, False])
@pytest.mark.parametrize("numbered", [True, False])
def test_a_kill_at_any_step_loses_and_doubles_nothing(tmp_path: Path, committed: bool, numbered: bool) -> None:
    outbox = opened(tmp_path)
    boot = outbox._ledger._clock.boot
    put_all(outbox, range(1, 6))
    if committed:
        outbox._shelves.commit()
    put_all(outbox, range(6, 9), numbered=numbered)
    kill(outbox)
    again = opened(tmp_path)
    assert waiting(again) == [(boot, n, str(n)) for n in range(1, 9)]
    assert again.degraded == []
    kill(again)
    once_more = opened(tmp_path)
    assert waiting(once_more) == [(boot, n, str(n)) for n in range(1, 9)], "taken in once"


def test_a_kill_between_the_commit_and_the_end_of_the_tail_doubles_nothing(tmp_path: Path) -> None:
    outbox = opened(tmp_path)
    boot = outbox._ledger._clock.boot
    put_all(outbox, range(1, 4))
    for one in outbox._ledger.hand_out(1, 1):
        outbox._ledger.acknowledged(one.row.n)
    tail = next((tmp_path / "runtime").glob("*.changes"))
    before = tail.read_bytes()
    outbox._shelves.commit()
    kill(outbox)
    tail.write_bytes(before)
    again = opened(tmp_path)
    assert waiting(again) == [(boot, 2, "2"), (boot, 3, "3")]


def test_a_tail_that_is_cut_or_spoilt_hurts_nobody(tmp_path: Path) -> None:
    for cut in range(0, 3000, 37):
        folder = tmp_path / str(cut)
        outbox = opened(folder)
        put_all(outbox, range(1, 6))
        put_all(outbox, range(6, 9), numbered=False)
        kill(outbox)
        for path in (tmp_path / "runtime").glob(f"{name_of(folder)}*"):
            raw = bytearray(path.read_bytes())
            if cut % 2:
                del raw[cut:]
            elif cut < len(raw):
                raw[cut] ^= 0x55
            path.write_bytes(raw)
        again = opened(folder)
        assert len(waiting(again)) <= 8
        kill(again)


def test_an_old_tail_changes_no_newer_rows(tmp_path: Path) -> None:
    outbox = opened(tmp_path)
    put_all(outbox, range(1, 4))
    kill(outbox)
    kept = {path: path.read_bytes() for path in (tmp_path / "runtime").iterdir()}
    second = opened(tmp_path)
    put_all(second, range(10, 13))
    for one in second._ledger.hand_out(100, 100):
        second._ledger.acknowledged(one.row.n)
    second._shelves.commit()
    kill(second)
    for path, raw in kept.items():
        path.write_bytes(raw)
    third = opened(tmp_path)
    assert {label for _boot, _seq, label in waiting(third)} <= {"1", "2", "3"}


def a_gap(outbox: Outbox) -> list[dict[str, Any]]:
    return [json.loads(one.row.body) | {"boot": one.row.boot} for one in outbox._ledger.hand_out(100, 100) if one.row.kind == GAP]


def test_after_a_power_cut_a_missing_tail_is_told_by_a_gap_without_an_end(tmp_path: Path, runtime: Path) -> None:
    outbox = opened(tmp_path, kernel_boot="before")
    boot = outbox._ledger._clock.boot
    put_all(outbox, range(1, 4))
    outbox._shelves.commit()
    put_all(outbox, range(4, 6))
    kill(outbox)
    for path in runtime.iterdir():
        path.unlink()  # tmpfs
    again = opened(tmp_path)
    gap = a_gap(again)
    assert gap == [{"event_type": "gap", "from_seq": 4, "to_seq": None, "dropped": None, "reason": "power", "boot": boot}]
    assert again._ledger.counters().events == 3
    assert sum(again._ledger.counters().dropped.values()) == 0
    again.close_unstarted()
    assert not a_gap(opened(tmp_path, kernel_boot="third"))[1:], "told once, and not after a good end"


def test_after_a_good_end_nothing_is_told(tmp_path: Path) -> None:
    outbox = opened(tmp_path, kernel_boot="before")
    put_all(outbox, range(1, 4))
    outbox.close_unstarted()
    assert a_gap(opened(tmp_path)) == []
    assert find_left(tmp_path)[0].changes == []


def test_the_state_folder_serves_where_there_is_no_tmpfs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RUNTIME_DIRECTORY")
    outbox = opened(tmp_path)
    put_all(outbox, range(1, 4))
    assert list(tmp_path.glob("outbox-*.changes"))
    kill(outbox)
    assert len(waiting(opened(tmp_path))) == 3


def test_a_command_by_hand_finds_the_tail_of_the_service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before: `edged outbox list` after a kill of the service told of a lost tail, and the service then passed over it."""
    outbox = opened(tmp_path)
    put_all(outbox, range(1, 4))
    kill(outbox)
    with monkeypatch.context() as by_hand:
        by_hand.delenv("RUNTIME_DIRECTORY")
        assert answer_offline(tmp_path, "list", "")["waiting"] == 3
    assert [label for _boot, _seq, label in waiting(opened(tmp_path))] == ["1", "2", "3"], "and no gap"


@pytest.mark.parametrize(
    "content", [b"", b"/", b"relative", b"\0/x", b"/no/such/folder", b"/" + b"x" * 5000, b"/dev/null", b"\xff/"]
)
def test_a_note_of_the_last_folder_that_makes_no_sense_hurts_nobody(tmp_path: Path, content: bytes) -> None:
    (tmp_path / LAST_FOLDER).write_bytes(content)
    outbox = opened(tmp_path)
    put_all(outbox, range(1, 4))
    kill(outbox)
    assert len(waiting(opened(tmp_path))) == 3


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a file system of its own")
def test_a_tmpfs_that_is_full_doubles_nothing(tmp_path: Path, runtime: Path) -> None:
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(runtime)], capture_output=True).returncode:
        pytest.skip("no mounts here")
    try:
        outbox = opened(tmp_path / "state")
        put_all(outbox, range(1, 800))
        outbox._shelves.commit()
        kill(outbox)
        labels = [label for _boot, _seq, label in waiting(opened(tmp_path / "state"))]
        assert sorted(labels) == sorted([*map(str, range(1, 800)), "gap"]), "and that a tail may be missing is told"
    finally:
        subprocess.run(["umount", "-l", str(runtime)], check=False)


@pytest.mark.parametrize(
    "change",
    [
        ["Put", [10**30, 0, 0, "deadbeef", 1, 1, 1.0, True, 1, "{}"]],
        ["Put", ["x", 0, 0, None, "y", 1, 1.0, True, 1, 5]],
        ["Bury", [1, 0, 0, "deadbeef", 1, 1, 1.0, True, 1, "{}"]],
        ["Put", [5, 0, 0, "deadbeef", 10**19, 1, 1e308, True, 1, "not json"]],
        ["Explode", []],
        [],
    ],
)
def test_a_tail_of_absurd_changes_hurts_nobody(tmp_path: Path, runtime: Path, change: list[Any]) -> None:
    path = runtime / f"{name_of(tmp_path / 'state')}deadbeef.changes"
    path.write_bytes(_to_line(["deadbeef", 0]).rstrip().ljust(95) + b"\n" + _to_line([1, change]))
    outbox = opened(tmp_path / "state")
    assert outbox._ledger.counters().events == 0
    assert outbox.degraded == []
    outbox.close_unstarted()


@pytest.mark.parametrize("damage", ["folder removed", "files removed", "one removed", "one replaced"])
def test_a_tail_that_is_taken_away_is_made_anew(tmp_path: Path, runtime: Path, damage: str) -> None:
    """A user's XDG_RUNTIME_DIR goes at the last logout. Before: what was decided from then on was lost by a kill."""
    outbox = opened(tmp_path / "state")
    put_all(outbox, range(1, 4))
    files = sorted(runtime.iterdir())
    assert len(files) == 2
    if damage == "folder removed":
        shutil.rmtree(runtime)
    elif damage == "files removed":
        for file in files:
            file.unlink()
    else:
        files[1].unlink()
        if damage == "one replaced":
            files[1].write_text("nonsense")
    outbox._ledger.keep_up()
    put(outbox, 4)
    put(outbox, 5, numbered=False)
    kill(outbox)
    assert [label for _boot, _seq, label in waiting(opened(tmp_path / "state"))] == ["1", "2", "3", "4", "5"]
