"""What `edged teach` is worth on photographs that it did not see, with a base of 76 million multiply-adds."""

from functools import cache
from pathlib import Path

import pytest

from tests.shared import SHARED, needs_shared

pytestmark = needs_shared
BASE, DRAWS = "home_0.5_160", 2
MODELS = Path(__file__).parents[2] / "models"


@cache
def photographs():
    from teaching import Photographs

    assert SHARED is not None
    return Photographs(SHARED / "training", MODELS, BASE)


@pytest.mark.parametrize(
    ("task", "accuracy"),
    [
        ("vehicles, whole sources apart", 0.73),
        ("vehicles, groups apart", 0.76),
        ("church, gas pump, golf ball", 0.95),
        ("rooms", 0.80),
    ],
)
def test_three_things_of_20_photographs_each(task: str, accuracy: float) -> None:
    from teaching import tried

    draws = [tried(photographs(), task, seed) for seed in range(DRAWS)]
    mean = {key: sum(draw[key] for draw in draws) / DRAWS for key in draws[0]}
    assert mean["accuracy"] >= accuracy
    assert mean["others_quiet"] >= 0.8 and mean["named"] >= 0.75
    assert abs(mean["said"] - mean["accuracy"]) < 0.1  # what the person is told is what comes true


def test_no_bank_holds_what_is_measured() -> None:
    from banks import TAUGHT_IN_TESTS, ordinary

    p = photographs()
    rows = {row.file: row for row in ordinary(p.rows)}
    held = [rows[file] for file in p.in_bank]
    assert len(held) == len(p.bank)
    assert all(row.split == "train" and row.kind not in TAUGHT_IN_TESTS for row in held)
    assert not p.in_bank & set(p.others())


def test_a_bank_is_what_its_model_says() -> None:
    import numpy as np
    from banks import ordinary

    p = photographs()
    for n, row in list(enumerate(ordinary(p.rows)[: len(p.bank)]))[::200]:
        assert np.allclose(p.features(row.file)[0], p.bank[n], atol=1e-4)
