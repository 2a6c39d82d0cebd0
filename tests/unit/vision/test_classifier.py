"""The best of a thousand scores, without making a thousand numbers: the same as from all of them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edged.vision.classifier import Classifier
from tests.graphs import LABELS, tiny_uint8
from tests.models import model_files

NETS = [Classifier(tiny_uint8(5)), *(Classifier(path.read_bytes()) for path in model_files())]


@pytest.mark.parametrize("net", NETS, ids=lambda net: f"{net.facts.label_count} {net.facts.output} {net.facts.input.dtype}")
@given(data=st.data())
def test_the_best_are_those_of_all_scores(net: Classifier, data: st.DataObject) -> None:
    wanted = net.facts.input
    seed = data.draw(st.integers(0, 2**32 - 1))
    chance = np.random.default_rng(seed)
    raw = net.run(chance.integers(0, 100, (1, wanted.height, wanted.width, 3)).astype(wanted.dtype))
    raw = chance.permutation(raw)  # so that not the same few win
    most = data.draw(st.integers(1, LABELS + 3))
    also = data.draw(st.lists(st.integers(0, net.facts.label_count + 5), max_size=4))
    best = net.best(raw, most, also)
    scores = net._to_scores(raw)
    watched = {index for index in also if index < len(scores)}
    assert {index for index, _ in best} >= watched and len(best) <= most + len(watched)
    assert [score for _, score in best] == sorted((score for _, score in best), reverse=True)
    assert all(score == round(float(scores[index]), 4) for index, score in best)
    rest = [score for index, score in enumerate(scores) if index not in dict(best)]
    highest = sorted((score for _, score in best), reverse=True)[: min(most, len(scores))]
    assert not rest or highest[-1] >= round(float(max(rest)), 4) - 1e-9
    assert highest == [round(float(score), 4) for score in sorted(scores, reverse=True)[: len(highest)]]
