"""Every way in which what the path of the config leads to can be replaced is followed; where it can't be, that is told."""

import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from edged.config import watch
from edged.config.watch import ConfigWatch, to_steps
from edged.rollout.startup import find_config

Change = Callable[[Path], None]


def plain(folder: Path) -> Path:
    (folder / "etc").mkdir()
    (folder / "etc/edged.toml").write_text("a = 1")
    return folder / "etc/edged.toml"


def kubernetes(folder: Path) -> Path:
    (folder / "etc/..1").mkdir(parents=True)
    (folder / "etc/..1/edged.toml").write_text("a = 1")
    (folder / "etc/..data").symlink_to("..1")
    (folder / "etc/edged.toml").symlink_to("..data/edged.toml")
    return folder / "etc/edged.toml"


def linked_folder(folder: Path) -> Path:
    for name in ("one", "two"):
        (folder / name).mkdir()
        (folder / name / "edged.toml").write_text(f"a = '{name}'")
    (folder / "etc").symlink_to(folder / "one")
    return folder / "etc/edged.toml"


def flip(link: Path, target: str) -> None:
    beside = link.with_name("..new")
    beside.symlink_to(target)
    beside.replace(link)


def written(folder: Path) -> None:
    (folder / "etc/edged.toml").write_text("a = 2")


def renamed(folder: Path) -> None:
    (folder / "etc/new").write_text("a = 2")
    (folder / "etc/new").replace(folder / "etc/edged.toml")


def removed(folder: Path) -> None:
    (folder / "etc/edged.toml").unlink()


def folder_replaced(folder: Path) -> None:
    shutil.copytree(folder / "etc", folder / "new")
    (folder / "etc").rename(folder / "old")
    (folder / "new").rename(folder / "etc")


def folder_gone(folder: Path) -> None:
    shutil.rmtree(folder / "etc")


def data_flipped(folder: Path) -> None:
    (folder / "etc/..2").mkdir()
    (folder / "etc/..2/edged.toml").write_text("a = 2")
    flip(folder / "etc/..data", "..2")


def folder_link_flipped(folder: Path) -> None:
    flip(folder / "etc", str(folder / "two"))


def link_made_anew(folder: Path) -> None:
    (folder / "etc").unlink()
    (folder / "etc").symlink_to(folder / "two")


def target_written(folder: Path) -> None:
    (folder / "one/edged.toml").write_text("a = 3")


WAYS: list[tuple[Callable[[Path], Path], Change]] = [
    (plain, written),
    (plain, renamed),
    (plain, removed),
    (plain, folder_replaced),
    (plain, folder_gone),
    (kubernetes, data_flipped),
    (linked_folder, folder_link_flipped),
    (linked_folder, link_made_anew),
    (linked_folder, target_written),
]


@pytest.mark.parametrize(("make", "change"), WAYS, ids=lambda one: one.__name__)
def test_it_is_followed_and_goes_on_being_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[[Path], Path], change: Change
) -> None:
    monkeypatch.setattr(watch, "QUIET_S", 0.01)
    monkeypatch.setattr(watch, "_AGAIN_S", 0.05)

    async def go() -> None:
        path, seen = make(tmp_path), asyncio.Event()
        watched = ConfigWatch(path, seen.set)
        watched.start()
        assert watched.fault is None
        change(tmp_path)
        await asyncio.wait_for(seen.wait(), 10)
        if not path.parent.exists():
            assert watched.fault is not None and "is not watched" in watched.fault.sentence
            path.parent.mkdir()
        seen.clear()
        path.write_text("a = 4")  # whatever it leads to now
        await asyncio.wait_for(seen.wait(), 10)
        assert watched.fault is None
        watched.close()

    asyncio.run(go())


def rewritten(path: Path) -> None:
    path.write_text("a = 2")


def swapped(path: Path) -> None:
    path.with_suffix(".new").write_text("a = 1")
    path.with_suffix(".new").replace(path)


@pytest.mark.parametrize("change", [rewritten, swapped, Path.unlink, None])
def test_what_was_written_before_it_is_watched_is_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[Path], None] | None
) -> None:
    """A start reads the config first; on a small board seconds pass before it is watched."""
    monkeypatch.setattr(watch, "QUIET_S", 0.01)

    async def go() -> None:
        path, seen = plain(tmp_path), asyncio.Event()
        found = find_config(path)
        if change is not None:
            change(path)
        watched = ConfigWatch(path, seen.set, found.read_at)
        watched.start()
        if change is None:  # nothing was, and what is written now is the first that is seen
            assert watched._timer is None
        else:
            await asyncio.wait_for(seen.wait(), 10)
        watched.close()

    asyncio.run(go())


def test_another_file_beside_it_is_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "QUIET_S", 0.01)

    async def go() -> None:
        seen: list[int] = []
        path, done = plain(tmp_path), asyncio.Event()
        watched = ConfigWatch(path, lambda: (seen.append(1), done.set())[0])
        watched.start()
        (tmp_path / "etc/other.toml").write_text("x")
        (tmp_path / "beside").write_text("x")
        path.write_text("a = 2")
        await asyncio.wait_for(done.wait(), 10)
        assert len(seen) == 1
        watched.close()

    asyncio.run(go())


def test_the_way_through_links_is_walked_whole(tmp_path: Path) -> None:
    path = kubernetes(tmp_path)
    names = [name for _, name in to_steps(path)][-5:]
    assert names == ["etc", "edged.toml", "..data", "..1", "edged.toml"]
    (tmp_path / "round").symlink_to("round")
    assert to_steps(tmp_path / "round")[-1] == (tmp_path, "round")
    assert to_steps(tmp_path / "etc" / ".." / "x")[-1] == (tmp_path, "x")
