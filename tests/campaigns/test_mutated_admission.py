"""5,000 damaged models through the store's door and admission: installed, or refused in one sentence; whoever asked lives on.

And what no trial can see, damage inside the weights, is seen by the hash: every flipped bit of an installed model is told.
"""

import random
import time
from pathlib import Path

import pytest

from edged.errors import ModelError
from edged.models.admission import Admission
from edged.models.install import Wish, add, remove, verify
from edged.models.store import Store
from tests.campaigns.mutations import mutated
from tests.campaigns.size import SEED, count, report
from tests.models import model_files

SHORT, FULL = 120, 5000
SHORT_FLIPS, FULL_FLIPS = 300, 5000
_LONGEST_S = 90.0


def test_no_damaged_model_is_more_than_a_sentence(tmp_path: Path) -> None:
    wanted = count(SHORT, FULL)
    originals = model_files()
    streams = [mutated(path.read_bytes(), seed=SEED + n, count=wanted) for n, path in enumerate(originals)]
    state = tmp_path / "state"
    store, admission = Store(state), Admission(state)
    path = tmp_path / "damaged.tflite"
    outcome = {"refused by its graph": 0, "refused in its trial": 0, "killed its trial": 0, "installed, of unknown accuracy": 0}
    slowest_s = 0.0
    for n in range(wanted):
        what, damaged = next(streams[n % len(streams)])
        path.write_bytes(damaged)
        began = time.monotonic()
        outcome[_add(store, admission, path, what)] += 1
        slowest_s = max(slowest_s, time.monotonic() - began)
        assert [file.name for file in store.folder.glob("damaged*")] == []
    assert slowest_s < _LONGEST_S
    figures = {"models": wanted, "seed": SEED, "of": len(originals), "slowest_s": round(slowest_s, 1), **outcome}
    report("mutated_admission", figures)


def test_every_flipped_bit_of_an_installed_model_is_told(tmp_path: Path) -> None:
    flips = count(SHORT_FLIPS, FULL_FLIPS)
    store, original = Store(tmp_path / "state"), model_files()[0]
    model = original.read_bytes()
    one = add(store, original, Wish(name="carded"), None)
    assert verify(store, "carded", None) == ""
    rng, found = random.Random(SEED), 0
    for _ in range(flips):
        damaged, bit = bytearray(model), rng.randrange(len(model) * 8)
        damaged[bit // 8] ^= 1 << bit % 8
        one.path.write_bytes(damaged)
        found += "not the one that was installed" in verify(store, "carded", None)
    one.path.write_bytes(model)
    assert verify(store, "carded", None) == ""
    assert found == flips
    report("flipped_bits", {"flips": flips, "seed": SEED, "found by the hash": found})


def _add(store: Store, admission: Admission, path: Path, what: str) -> str:
    try:
        labels = path.with_name("labels.txt")
        labels.write_text("".join(f"label {n}\n" for n in range(8 if path.stat().st_size < 340_000 else 1001)))
        one = add(store, path, Wish(labels=labels, name="damaged"), admission)
    except ModelError as refusal:
        text = str(refusal)
        if "Traceback" in text or "\n" in text or not 10 < len(text) < 500:
            pytest.fail(f"{what}: {text!r}")
        if "the trial of it" in text:
            return "killed its trial"
        return "refused in its trial" if ": refused: " in text else "refused by its graph"
    # a mutation may leave the file as it was, and then it is the published one
    assert one.card.top1 is None or store.shipped.by_sha256(one.sha256), what
    remove(store, one.card.name)
    return "installed, of unknown accuracy"
