"""The 16 shapes of MobileNet V1, each through admission, and the real ones on photographs."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from edged.models.admission import Admission
from edged.models.classify import Ask, look_at
from edged.models.install import Wish, add
from edged.models.store import Store
from tests.shared import SHARED, needs_shared

pytestmark = needs_shared
REAL = [f"mobilenet_v1_{width}_{px}_quant" for width in ("0.25", "0.5", "0.75") for px in (128, 160, 192, 224)]
REAL += ["mobilenet_v1_1.0_224_quant"]
TIMING_ONLY = [f"mobilenet_v1_1.0_{px}_quant" for px in (128, 160, 192)]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """All 16, tried on the way in; the rebuilt one and those for timing are vouched for by the test."""
    assert SHARED is not None
    state = tmp_path_factory.mktemp("state")
    store, admission = Store(state), Admission(state)
    for name in (*REAL, *TIMING_ONLY):
        file = SHARED / "models" / f"{name}.tflite"
        add(store, file if file.exists() else file.with_name(f"timing-only_{name}.tflite"), Wish(name=name), admission)
    yield store


def test_all_16_shapes_are_admitted_and_agree_with_their_cards(store: Store) -> None:
    admission = Admission(store.folder.parent)
    cards = [held.card for held in store.held() if not held.bundled]
    assert len(cards) == 16
    for card in cards:
        verdict = admission.recall_verdict(store.find(card.name))
        assert verdict is not None and verdict.admitted
        assert (verdict.facts["width"], verdict.facts["dtype"], verdict.facts["output"]) == (card.px, "uint8", "probabilities")
        assert verdict.facts["delegate"] == "XNNPACK"


def test_the_official_files_are_the_official_files(store: Store) -> None:
    """Twelve by their hash; the expected scores of their cards were checked on the way in."""
    official = [held.card for held in store.held() if held.card.expected and not held.bundled]
    assert len(official) == 12
    assert all(store.shipped.by_sha256(card.sha256) for card in official)


@pytest.mark.parametrize("name", REAL)
def test_the_real_ones_see_what_is_there(store: Store, name: str) -> None:
    """Where the five reference models agree on a picture's best label, the others find it among their best three, mostly."""
    assert SHARED is not None
    reference = json.loads((SHARED / "facts/reference_predictions.json").read_text())
    agreed = {}
    for picture, by_model in reference.items():
        best = {said[0]["index"] for said in by_model.values()}
        if len(best) == 1:
            agreed[picture] = best.pop()
    one = store.find(name)
    ask = Ask(one.path, one.sha256, len(one.labels), one.card.output, crop="centre", top=3)
    looks = list(look_at([Path(SHARED / "pictures" / picture) for picture in agreed], ask))
    found = sum(agreed[look.picture.name] in [index for index, _ in look.scores] for look in looks)
    print(f"{name}: {found} of {len(agreed)} pictures")
    assert len(agreed) >= 4 and found >= len(agreed) - 1
