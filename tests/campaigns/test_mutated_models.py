"""2,000 damaged models the way `edged classify` takes them: used, or refused in one sentence; nothing crashes, hangs or swells."""

import resource
import time
from pathlib import Path

import pytest

from edged.errors import ModelError
from edged.models.classify import Ask, look_at
from edged.models.store import Store
from edged.vision.classify import MEMORY_MB
from tests.campaigns.mutations import mutated
from tests.campaigns.size import SEED, count, report
from tests.models import a_picture, model_files

SHORT, FULL = 60, 2000
_LONGEST_S = 60.0


def test_no_model_hurts(tmp_path: Path) -> None:
    wanted = count(SHORT, FULL)
    originals = model_files()
    streams = [mutated(path.read_bytes(), seed=SEED + n, count=wanted) for n, path in enumerate(originals)]
    picture = a_picture(tmp_path)
    path = tmp_path / "damaged.tflite"
    store = Store(tmp_path / "state")
    outcome = {
        "refused by its bytes": 0,
        "refused by its process": 0,
        "used": 0,
        "failed on the picture": 0,
        "crashed its process": 0,
    }
    slowest_s = 0.0
    for n in range(wanted):
        what, damaged = next(streams[n % len(streams)])
        path.write_bytes(damaged)
        began = time.monotonic()
        outcome[_use(store, path, picture, tmp_path, what)] += 1
        slowest_s = max(slowest_s, time.monotonic() - began)
    peak_mb = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    assert peak_mb < MEMORY_MB + 64
    assert slowest_s < _LONGEST_S
    report(
        "mutated_models",
        {
            "models": wanted,
            "seed": SEED,
            "of": len(originals),
            "slowest_s": round(slowest_s, 1),
            "peak_mb": round(peak_mb),
            **outcome,
        },
    )


def _use(store: Store, path: Path, picture: Path, folder: Path, what: str) -> str:
    """What became of one model; whatever is no ModelError fails the test."""
    labels = folder / "labels.txt"
    labels.write_text("".join(f"label {n}\n" for n in range(1001)))
    try:
        installed = store.find(str(path), str(labels))
    except ModelError as refusal:
        _is_a_sentence(refusal, what)
        return "refused by its bytes"
    ask = Ask(installed.path, installed.sha256, len(installed.labels), installed.card.output)
    try:
        looks = list(look_at([picture], ask))
    except ModelError as refusal:
        _is_a_sentence(refusal, what)
        return "crashed its process" if "crashed" in str(refusal) else "refused by its process"
    assert len(looks) == 1
    if looks[0].error:
        return "crashed its process" if "crashed" in looks[0].error else "failed on the picture"
    return "used"


def _is_a_sentence(refusal: ModelError, what: str) -> None:
    text = str(refusal)
    if "Traceback" in text or "\n" in text or not 10 < len(text) < 500:
        pytest.fail(f"{what}: {text!r}")
