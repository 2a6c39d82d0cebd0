"""The store: what is in it is whole and is what it was; every wrong wish gets one sentence, and nothing half-installed."""

import shutil
from pathlib import Path

import pytest
import tomlkit

from edged.errors import ModelError, WriteError
from edged.models.install import Wish, add, remove, verify
from edged.models.measurements import Measured, Measurements, Verdict
from edged.models.names import check_name, to_model_name
from edged.models.store import Store
from edged.system.files import shipped
from tests.shared import SHARED, needs_shared

MODELS = SHARED / "models" if SHARED else Path()
SMALL = MODELS / "mobilenet_v1_0.25_128_quant.tflite"
REBUILT = MODELS / "mobilenet_v1_1.0_224_quant.tflite"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "state")


def labels_file(folder: Path, count: int) -> Path:
    path = folder / f"labels_{count}.txt"
    path.write_text("".join(f"label {n}\n" for n in range(count)))
    return path


@needs_shared
def test_a_file_known_by_its_hash_gets_its_card(store: Store, tmp_path: Path) -> None:
    stick = shutil.copy(SMALL, tmp_path / "whatever.tflite")
    one = add(store, Path(stick), Wish(), None)
    assert (one.card.name, one.card.top1, len(one.labels)) == ("mobilenet_v1_0.25_128_quant", 0.395, 1001)
    found = store.find("mobilenet_v1_0.25_128_quant")
    assert (found.card, found.sha256) == (one.card, one.sha256)
    assert store.find(str(stick)).card.name == one.card.name
    assert [held.card.name for held in store.held() if not held.bundled] == [one.card.name]
    remove(store, one.card.name)
    assert list(store.folder.glob("*.t*")) == []


@needs_shared
def test_a_look_alike_is_unverified_unless_somebody_vouches(store: Store) -> None:
    one = add(store, REBUILT, Wish(), None)
    assert (one.card.verified, one.card.top1, len(one.labels)) == (False, None, 1001)
    with pytest.raises(ModelError, match="known accuracy"):
        store.smallest("imagenet")
    remove(store, one.card.name)
    vouched = add(store, REBUILT, Wish(name="mobilenet_v1_1.0_224_quant"), None)
    assert (vouched.card.verified, vouched.card.top1) == (True, 0.7)
    assert store.find("mobilenet_v1_1.0_224_quant").sha256 == vouched.sha256


@needs_shared
@pytest.mark.parametrize(
    ("file", "wish", "says"),
    [
        ("ssd_mobilenet_v1_1.0_coco_300_quant", Wish(), "object detector"),
        ("mobilenet_v1_0.25_224_quant", Wish(name="../evil"), "no name"),
        ("mobilenet_v1_1.0_224_quant", Wish(name="mobilenet_v1_0.5_160_quant"), "this is no mobilenet_v1_0.5_160_quant"),
        ("mobilenet_v1_1.0_224_quant", Wish(name="auto"), "no name"),
        ("absent", Wish(), "cannot be read"),
    ],
)
def test_wrong_wishes_are_told_and_leave_nothing(store: Store, file: str, wish: Wish, says: str) -> None:
    with pytest.raises(ModelError, match=says):
        add(store, MODELS / f"{file}.tflite", wish, None)
    assert not store.folder.exists()


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("how", ["--as", "card", "file"])
def test_no_model_gets_the_published_name_of_another(store: Store, tmp_path: Path, known: bool, how: str) -> None:
    """Neither by --as, nor by what its card or its file is called, whether its own file is a published one or nobody knows it."""
    name, bundled = "mobilenet_v1_1.0_224_quant", store.find("home_0.25_96")
    path = tmp_path / f"{name if how == 'file' else 'm'}.tflite"
    path.write_bytes(bundled.path.read_bytes() + (b"" if known else bytes(4)))
    labels, card = labels_file(tmp_path, 8), tmp_path / "card.toml"
    called = bundled.card.model_copy(update={"name": name, "file": "", "sha256": "", "labels": "", "labels_sha256": ""})
    card.write_text(tomlkit.dumps(called.to_toml()))
    wish = {"--as": Wish(labels, name=name), "card": Wish(labels, card), "file": Wish(labels)}[how]
    says = "belongs to a bundled model" if known and how == "file" else f"this is no {name}: its graph has 96 px, .* with --as"
    with pytest.raises(ModelError, match=says):
        add(store, path, wish, None)
    assert not store.folder.exists()
    assert add(store, path, Wish(labels, name="mine"), None).card.name == "mine"


@needs_shared
def test_given_labels_are_counted_and_win(store: Store, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="90 labels, but the model gives 1001 scores"):
        add(store, SMALL, Wish(labels=labels_file(tmp_path, 90)), None)
    one = add(store, SMALL, Wish(labels=labels_file(tmp_path, 1000), name="mine"), None)
    assert one.labels[:2] == ("background", "label 0")  # the card knows the offset
    assert store.find("mine").labels == one.labels


@needs_shared
def test_a_name_is_not_taken_twice(store: Store) -> None:
    add(store, SMALL, Wish(name="mine"), None)
    add(store, SMALL, Wish(name="mine"), None)  # the same file again is no harm
    with pytest.raises(ModelError, match="another model is installed as mine"):
        add(store, MODELS / "mobilenet_v1_0.25_160_quant.tflite", Wish(name="mine"), None)


@needs_shared
def test_a_swapped_file_and_changed_labels_are_told(store: Store, tmp_path: Path) -> None:
    one = add(store, SMALL, Wish(name="mine", labels=labels_file(tmp_path, 1001)), None)
    assert verify(store, "mine", None) == ""
    shutil.copy(MODELS / "mobilenet_v1_0.25_160_quant.tflite", one.path)
    assert "not the one that was installed" in verify(store, "mine", None)
    shutil.copy(SMALL, one.path)
    one.path.with_suffix(".txt").write_text("x\n" * 1001)
    assert "labels file is not the one" in verify(store, "mine", None)


@needs_shared
def test_a_card_file_describes_an_own_family(store: Store, tmp_path: Path) -> None:
    card = tmp_path / "card.toml"
    text = '[[card]]\nname="mine"\nfamily="own"\npx=128\ndtype="uint8"\nlabel_count={}\noutput="probabilities"\n'
    text += "published={{top1=0.9}}\n"
    card.write_text(text.format(1000))
    with pytest.raises(ModelError, match="says 1000 scores, 128 px, uint8, probabilities, but the graph has 1001"):
        add(store, SMALL, Wish(card=card, labels=labels_file(tmp_path, 1001)), None)
    card.write_text(text.format(1001))
    add(store, SMALL, Wish(card=card, labels=labels_file(tmp_path, 1001)), None)
    assert store.smallest("own").card.top1 == 0.9


@needs_shared
def test_what_cannot_be_written_is_not_half_there(store: Store) -> None:
    store.folder.parent.mkdir()
    store.folder.write_text("a file where the folder should be")
    with pytest.raises(WriteError, match="cannot be written"):
        add(store, SMALL, Wish(), None)


def test_unknown_names_are_told_with_the_nearest(store: Store) -> None:
    with pytest.raises(ModelError, match=r"known but not installed: fetch it with 'edged models pull mobilenet_v1_0\.5_160'"):
        store.find("mobilenet_v1_0.5_160")
    with pytest.raises(ModelError, match=r"did you mean mobilenet_v1_0.5_160_quant\?"):
        store.find("mobilnet_v1_0.5_160_quan")
    with pytest.raises(ModelError, match="came with edged"):
        remove(store, store.smallest("home").card.name)


def test_the_ledger_remembers_and_survives_damage(tmp_path: Path) -> None:
    ledger = Measurements(tmp_path)
    measured = Measured(p50_ms=1, p95_ms=2, memory_mb=3, threads=1, runs=20)
    ledger.enter("a", measured)
    ledger.enter("a", Verdict(admitted=False, reason="hung"))
    assert Measurements(tmp_path).measured("a") == measured
    assert Measurements(tmp_path).verdict("a") == Verdict(admitted=False, reason="hung")
    (tmp_path / "measurements.json").write_bytes(b'{"schema": 1, "verd')
    assert ledger.verdict("a") is None
    ledger.enter("b", measured)
    assert Measurements(tmp_path).measured("b") == measured


@pytest.mark.parametrize(
    ("stem", "name"),
    [
        ("gate", "gate"),
        ("my gate (2)", "my_gate_2"),
        ("gate.tflite", "gate"),
        ("a.TFLITE.tflite", "a"),
        (".tflite", "tflite"),
        ("ä", "model"),
    ],
)
def test_what_a_bare_file_is_called_is_no_path(stem: str, name: str) -> None:
    """A name that ends as a file's does would be taken for a path by everything that looks for it."""
    assert check_name(to_model_name(stem)) == name


def test_a_card_can_not_bring_a_name_that_is_a_path(store: Store, tmp_path: Path) -> None:
    model = shipped("models", "home_0.25_96.tflite")
    card = Store(tmp_path).find("home_0.25_96").card.model_copy(update={"name": "own.tflite", "file": ""})
    (tmp_path / "own.toml").write_text(tomlkit.dumps(card.to_toml()))
    with pytest.raises(ModelError, match=r"it is a file's: leave the \.tflite away"):
        add(store, model, Wish(card=tmp_path / "own.toml"), None)
