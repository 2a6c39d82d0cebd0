"""The int8 sibling of a uint8 model, with real sandboxes: made, proven, kept, not believed when it is another file."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from edged.models.admission import Admission, Scene
from edged.models.fit.choice import Budget
from edged.models.fit.fit import Fitting
from edged.models.install import Wish, add, remove
from edged.models.measurements import Measured, Recast
from edged.models.recast import sibling_path, to_fault
from edged.models.store import Installed, Store
from edged.system.files import LARGEST_BYTES
from tests.graphs import LABELS, tiny_uint8
from tests.shared import SHARED, needs_shared

SCENE, THREADS = Scene(), (1,)


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


@pytest.fixture
def original(tmp_path: Path, state: Path) -> Installed:
    return a_file(tmp_path, state, tiny_uint8(5))


def a_file(folder: Path, state: Path, model: bytes) -> Installed:
    (folder / "tiny.tflite").write_bytes(model)
    labels = folder / "labels.txt"
    labels.write_text("".join(f"label {n}\n" for n in range(LABELS)))
    return Store(state).find(str(folder / "tiny.tflite"), str(labels))


def measured(ms: float) -> Measured:
    return Measured(p50_ms=ms, p95_ms=ms, memory_mb=50, threads=1, runs=20)


def test_it_is_made_proven_kept_and_remembered(original: Installed, state: Path) -> None:
    admission = Admission(state)
    assert admission.sibling(original) is None and admission.may_have_sibling(original)
    sibling = admission.make_sibling(original)
    assert sibling is not None and sibling.sha256 != original.sha256 and sibling.card.name == original.card.name
    assert sibling.card.recast_of == original.sha256 and sibling.card.dtype == "int8" and sibling.labels == original.labels
    assert sibling.path == sibling_path(state, original.sha256) and sibling.path.parent != original.path.parent
    assert admission.recall_verdict(sibling).admitted  # type: ignore[union-attr]
    assert Admission(state).sibling(original) == sibling and not Admission(state).may_have_sibling(original)
    assert "same first answer on" in admission.tell_sibling(original)
    assert admission.sibling(sibling) is None and not admission.may_have_sibling(sibling)


def test_the_faster_one_runs(original: Installed, state: Path) -> None:
    admission = Admission(state)
    sibling = admission.make_sibling(original)
    assert sibling is not None
    for ms, runs in ((5.0, sibling), (20.0, original)):
        admission.remember(admission.measurement_key_of(original.sha256, SCENE, THREADS), measured(10.0))
        admission.remember(admission.measurement_key_of(sibling.sha256, SCENE, THREADS), measured(ms))
        assert admission.to_run(original, SCENE, THREADS) == runs
        assert admission.recall_both(original, SCENE, THREADS) == measured(min(ms, 10.0))
    assert admission.is_measured(original, SCENE, THREADS)


def test_the_key_turns_it_off(original: Installed, state: Path) -> None:
    assert Admission(state).make_sibling(original) is not None
    off = Admission(state, recast=False)
    assert off.make_sibling(original) is off.sibling(original) is None and not off.may_have_sibling(original)
    assert off.to_run(original, SCENE, THREADS) is original and off.tell_sibling(original) == ""


def test_another_file_in_its_place_is_not_used_and_it_is_made_again(original: Installed, state: Path) -> None:
    admission = Admission(state)
    sibling = admission.make_sibling(original)
    assert sibling is not None
    for harm in (lambda: sibling.path.write_bytes(original.path.read_bytes()), sibling.path.unlink):
        harm()
        assert admission.sibling(original) is None and admission.to_run(original, SCENE, THREADS) is original
        assert admission.make_sibling(original) == sibling


def test_one_that_can_not_be_recast_is_told_once(tmp_path: Path, state: Path, original: Installed) -> None:
    admission = Admission(state)
    unsure = a_file(tmp_path, state, tiny_uint8(1))  # a network that is sure of nothing proves nothing
    assert admission.make_sibling(unsure) is None and not admission.may_have_sibling(unsure)
    assert "too few to compare" in admission.tell_sibling(unsure)
    assert not sibling_path(state, unsure.sha256).exists()


def test_a_runtime_without_the_schema_recasts_nothing_and_says_so_once(tmp_path: Path, state: Path, original: Installed) -> None:
    """As tflite-runtime, which has an interpreter and no schema."""
    without = tmp_path / "without"
    without.mkdir()
    (without / "sitecustomize.py").write_text("import sys\nsys.modules['ai_edge_litert.schema_py_generated'] = None\n")
    script = (
        "import logging, sys; from pathlib import Path; from edged.models.admission import Admission\n"
        "from edged.models.store import Store\n"
        "logging.basicConfig(level='INFO', stream=sys.stdout)\n"
        f"state = Path({str(state)!r}); one = Store(state).find({str(original.path)!r}, {str(tmp_path / 'labels.txt')!r})\n"
        "for _ in range(2): assert Admission(state).make_sibling(one) is None\n"
        "assert not Admission(state).may_have_sibling(one)\n"
    )
    env = os.environ | {"PYTHONPATH": str(without)}
    told = subprocess.run([sys.executable, "-c", script], env=env, capture_output=True, text=True, check=True).stdout
    assert told.count("not recast to int8: the installed runtime brings no schema") == 1, told


def test_what_counts_as_proven() -> None:
    good = Recast(sha256="0" * 64, pictures=36, sure=20, same=18, apart=0.15)
    assert to_fault(good) == ""
    for change in ({"same": 17}, {"apart": 0.16}, {"sure": 4, "same": 4}):
        assert to_fault(good.model_copy(update=change))


def test_a_sibling_goes_with_its_original(tmp_path: Path, state: Path, original: Installed) -> None:
    store, admission = Store(state), Admission(state)
    one = add(store, original.path, Wish(labels=tmp_path / "labels.txt"), admission)
    assert sibling_path(state, one.sha256).is_file()
    remove(store, one.card.name)
    assert not sibling_path(state, one.sha256).exists()


@pytest.mark.parametrize("size", [100, LARGEST_BYTES + 1])
def test_a_sibling_goes_with_its_original_that_was_damaged(tmp_path: Path, state: Path, original: Installed, size: int) -> None:
    """Also one that is larger than any that is read."""
    store = Store(state)
    one = add(store, original.path, Wish(labels=tmp_path / "labels.txt"), Admission(state))
    with one.path.open("ab") as file:
        file.truncate(size)
    remove(store, one.card.name)
    assert not any((state / "recast").iterdir()) and not one.path.exists()


@needs_shared
def test_fit_measures_both_and_they_count_as_one(state: Path) -> None:
    assert SHARED is not None
    store = Store(state)
    names = ("mobilenet_v1_0.25_128_quant", "mobilenet_v1_0.5_160_quant")
    for name in names:
        add(store, SHARED / "models" / f"{name}.tflite", Wish(name=name), None)
    admission = Admission(state)
    fitting = Fitting(store, admission, SCENE, THREADS)
    fit = fitting.fit("imagenet", Budget(latency_ms=500.0))
    (chosen,) = (one for one in fit.choice.candidates if fit.choice.chosen is one)
    assert fit.chosen is not None and chosen.name == names[1] and len(fit.choice.candidates) == 2
    original = store.find(names[1])
    both = [admission.recall(one.sha256, SCENE, THREADS) for one in (original, admission.sibling(original)) if one]
    assert len(both) == 2 and all(both)
    assert chosen.measured == min(both, key=lambda one: one.p50_ms)  # type: ignore[union-attr,return-value]
    assert chosen.recast == (fit.chosen.card.recast_of == original.sha256) == (chosen.measured == both[1])
    assert fitting.recall("imagenet", Budget(latency_ms=500.0)).chosen == fit.chosen
    off = Fitting(store, Admission(state, recast=False), SCENE, THREADS)
    assert off.fit("imagenet", Budget(latency_ms=500.0)).chosen == original
