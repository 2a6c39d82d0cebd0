"""Admission against real processes: what a model does to its trial, it does to nobody else."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from edged.errors import ModelError
from edged.models.admission import Admission, Scene
from edged.models.card import Card
from edged.models.install import Wish, add
from edged.models.store import Installed, Store
from edged.vision.probe import to_fault
from tests.shared import SHARED, needs_shared

MODELS = SHARED / "models" if SHARED else Path()
SMALL = MODELS / "mobilenet_v1_0.25_128_quant.tflite"


@pytest.fixture
def admission(tmp_path: Path) -> Admission:
    return Admission(tmp_path / "state")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "state")


def test_the_bundled_models_are_admitted_and_remembered(store: Store, admission: Admission) -> None:
    for held in store.held():
        one = store.open(held)
        verdict = admission.admit(one)
        assert verdict.admitted, verdict.reason
        assert verdict.facts["delegate"] == "XNNPACK" and verdict.facts["delegate_nodes"] > 20
        assert Admission(admission.state_folder).recall_verdict(one) == verdict


@needs_shared
def test_a_measurement_is_taken_once(store: Store, admission: Admission) -> None:
    one = store.find(str(SMALL))
    measured = admission.measure(one, Scene(), [1, 2], 0.3)
    assert 0 < measured.p50_ms <= measured.p95_ms and measured.threads in (1, 2) and measured.runs >= 20
    assert 20 < measured.memory_mb < 400
    assert admission.measure(one, Scene(), [1, 2], 0.3) == measured == admission.recall(one.sha256, Scene(), [1, 2])
    assert admission.recall(one.sha256, Scene(width=1280, height=720), [1, 2]) is None
    assert admission.recall(one.sha256, Scene(), [1]) is None


@needs_shared
@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"expected": [[447, 0.99]]}, "score 447 of the test picture"),
        ({"label_count": 90}, "1001 scores, but there are 90 labels"),
    ],
)
def test_a_model_that_is_not_what_its_card_says_is_refused(
    store: Store, admission: Admission, changes: dict[str, object], says: str
) -> None:
    one = store.find(str(SMALL))
    card = Card.model_validate(one.card.model_dump() | changes)
    verdict = admission.admit(Installed(card, one.path, one.labels[: card.label_count], one.sha256))
    assert not verdict.admitted and says in verdict.reason


@needs_shared
def test_a_file_that_changes_meanwhile_is_refused(store: Store, admission: Admission, tmp_path: Path) -> None:
    one = add(store, SMALL, Wish(), None)
    one.path.write_bytes((MODELS / "mobilenet_v1_0.25_160_quant.tflite").read_bytes())
    verdict = admission.admit(one)
    assert not verdict.admitted and "changed while it was being read" in verdict.reason


@needs_shared
@pytest.mark.parametrize("meanwhile", ["cut off", "gone"])
def test_a_file_that_is_itself_again_is_tried_again(store: Store, admission: Admission, meanwhile: str) -> None:
    """What was found in another file says nothing of this one."""
    one = add(store, SMALL, Wish(), None)
    one.path.unlink()
    if meanwhile == "cut off":
        one.path.touch()
    assert not admission.admit(one).admitted
    with pytest.raises(ModelError, match="is refused"):
        admission.measure(one, Scene(), [1], 0.1)
    one.path.write_bytes(SMALL.read_bytes())
    assert admission.recall_verdict(one) is None and admission.admit(one).admitted


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGABRT, signal.SIGSYS, signal.SIGKILL, signal.SIGTERM])
def test_a_trial_that_dies_is_a_reason_and_nothing_more(store: Store, tmp_path: Path, number: signal.Signals) -> None:
    """A runtime that crashes as soon as it is loaded: what a model can do to it at worst."""
    evil = tmp_path / "evil" / "ai_edge_litert"
    evil.mkdir(parents=True)
    (evil / "__init__.py").write_text(f"import os, signal\nos.kill(os.getpid(), {number:d})\n")
    script = (
        "import sys; from pathlib import Path; from edged.models.admission import Admission; from edged.models.store import Store\n"
        f"state = Path({str(tmp_path / 'state')!r}); store = Store(state)\n"
        "verdict = Admission(state).admit(store.open(store.held()[0])); print(verdict.admitted, verdict.reason)\n"
    )
    told = subprocess.run(
        [sys.executable, "-c", script],
        env=os.environ | {"PYTHONPATH": str(evil.parent)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stdout.startswith(f"False the trial of it crashed ({number.name})"), told.stdout
    was_ended = number in (signal.SIGKILL, signal.SIGTERM)  # by the kernel that had no memory, or by somebody
    assert (Admission(tmp_path / "state").recall_verdict(store.open(store.held()[0])) is None) == was_ended


@needs_shared
def test_a_refused_model_is_not_measured(store: Store, admission: Admission) -> None:
    one = store.find(str(SMALL))
    card = Card.model_validate(one.card.model_dump() | {"expected": [[0, 0.9]]})
    with pytest.raises(ModelError, match="is refused: its score 0"):
        admission.measure(Installed(card, one.path, one.labels, one.sha256), Scene(), [1], 0.1)


def test_the_walls_let_nothing_out() -> None:
    script = (
        "import socket, subprocess, sys\n"
        "from edged.process.seccomp import forbid_network\n"
        "assert forbid_network()\n"
        "for way in (lambda: socket.socket(), lambda: subprocess.run(['true'])):\n"
        "    try: way()\n"
        "    except PermissionError: continue\n"
        "    sys.exit('a way out')\n"
        "open('/dev/null').read()\n"
    )
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True).stderr == ""


def test_lies_are_seen_in_the_scores() -> None:
    import numpy as np

    good = [np.array([0.1, 0.9], np.float32), np.array([0.8, 0.2], np.float32)]
    assert to_fault(good, good[0], [(1, 0.9)]) == ""
    assert "not finite" in to_fault([np.array([np.nan, 1], np.float32)], good[0], [])
    assert "between 0 and 1" in to_fault([np.array([3.0, -1], np.float32)], good[0], [])
    assert "different scores" in to_fault(good, good[1], [])
    assert "same scores for 2" in to_fault([good[0], good[0]], good[0], [])
    assert "not 0.50" in to_fault(good, good[0], [(1, 0.5)])
