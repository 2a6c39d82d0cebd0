"""A store with damaged files: they are named and left out, taken away by name, and everything else goes on."""

import os
import stat
from pathlib import Path

import pytest

from edged.errors import ModelError, UnavailableError
from edged.models.install import Wish, add, remove, verify
from edged.models.labels import LONGEST_LABEL, to_labels
from edged.models.pull import deadline
from edged.models.store import Store

TORN = '[[card]]\nname = "half a ca'
NESTED = ".".join(["a"] * 5000) + " = 1\n"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path / "state")
    store.folder.mkdir(parents=True)
    return store


@pytest.mark.parametrize("content", [TORN, NESTED, "[[", "\0", "card = 1", "[[card]]\n" * 5000, ""])
def test_a_junk_card_is_named_and_left_out(store: Store, content: str) -> None:
    path = store.folder / "x.toml"
    path.write_text(content)
    assert [name for name, said in store.damaged().items() if str(path) in said] == ["x"]
    assert store.held() and store.known() and store.find("auto").labels
    assert "x.toml" in verify(store, "x", None)
    remove(store, "x")
    assert not path.exists() and store.damaged() == {}


def test_a_card_that_is_no_file(store: Store) -> None:
    os.mkfifo(store.folder / "pipe.toml")
    (store.folder / "zero.toml").symlink_to("/dev/zero")
    (store.folder / "folder.toml").mkdir()
    assert set(store.damaged()) == {"pipe", "zero", "folder"} and store.find("auto")
    for name in ("pipe", "zero", "folder"):
        remove(store, name)
    assert list(store.folder.iterdir()) == []


def test_a_folder_full_of_junk_is_told_in_a_few_sentences(store: Store) -> None:
    """Each sentence stands in `health`, which is a message of a bounded size."""
    for number in range(1100):
        (store.folder / f"x{number:04}\n\x1b[2J.toml").write_text(TORN)
    said = store.left_out()
    assert len(said) == 22 and said[20].endswith("980 more cards are left out") and "more than 1000 cards" in said[21]
    assert all(line.isprintable() for line in said) and sum(map(len, said)) < 16_000
    assert store.find("auto") and len(store.damaged()) == 1000


def test_a_store_that_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "models").write_text("x")
    assert Store(tmp_path).find("auto") and Store(tmp_path).damaged() == {}


def test_what_a_given_card_and_labels_may_be(store: Store, tmp_path: Path) -> None:
    model = store.find("auto").path
    pipe, large = tmp_path / "pipe", tmp_path / "large"
    os.mkfifo(pipe)
    large.write_bytes(b"label\n" * 600_000)
    for wish in (Wish(card=pipe), Wish(card=Path("/dev/zero")), Wish(labels=pipe), Wish(labels=large), Wish(card=large)):
        with pytest.raises(ModelError):
            add(store, model, wish, None)


@pytest.mark.parametrize("label", ["none", "unknown", "x" * (LONGEST_LABEL + 1), "a\x1b[2J"])
def test_labels_that_no_model_may_have(label: str) -> None:
    with pytest.raises(ModelError, match=r"l\.txt:2"):
        to_labels(f"cat\n{label}\n".encode(), "l.txt")


def test_installed_files_are_for_the_group(store: Store) -> None:
    one = store.find("auto")
    labels = store.folder.parent / "labels.txt"
    labels.write_text("\n".join(one.labels))
    add(store, one.path, Wish(labels=labels, name="mine"), None)
    assert {stat.S_IMODE(path.stat().st_mode) for path in store.folder.iterdir()} == {0o640}


def test_what_drips_is_not_waited_for() -> None:
    with pytest.raises(UnavailableError, match="too slowly"), deadline(0.05, "http://x"):
        os.read(os.pipe()[0], 1)
