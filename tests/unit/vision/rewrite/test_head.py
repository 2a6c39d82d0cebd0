"""The arithmetic of teaching, on points whose answer is known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edged.vision.rewrite import head
from edged.vision.rewrite.trunk import Names


def clouds(count: int, apart: float, seed: int = 1, features: int = 20) -> tuple[np.ndarray, np.ndarray]:
    """Three clouds of points (3 count, features), and which each point is of."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(3, features)) * apart
    label = np.repeat(np.arange(3), count)
    return (centres[label] + rng.normal(size=(len(label), features))).astype(np.float32), label


def test_what_is_apart_is_told_apart_when_it_was_held_out() -> None:
    points, label = clouds(20, 1.5)
    logits = head.held_out(points, label, np.arange(len(label)), 3)
    assert np.mean(logits.argmax(1) == label) > 0.95


def test_what_is_not_apart_is_told_by_chance_only() -> None:
    points, label = clouds(100, 0.0)
    logits = head.held_out(points, label, np.arange(len(label)), 3)
    assert 0.2 < np.mean(logits.argmax(1) == label) < 0.47


def test_copies_do_not_judge_one_another() -> None:
    """Each picture ten times: without groups that looks like knowledge, with them like the chance that it is."""
    points, label = clouds(6, 0.0, features=60)
    label = np.random.default_rng(2).permutation(label)
    points, label, group = np.repeat(points, 10, 0), np.repeat(label, 10), np.repeat(np.arange(18), 10)
    alone = head.held_out(points, label, np.arange(len(label)), 3).argmax(1) == label
    together = head.held_out(points, label, group, 3).argmax(1) == label
    assert alone.mean() > 0.95 > 0.75 > together.mean()


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 8)), min_size=1, max_size=60))
def test_folds_keep_groups_together_and_are_even(pictures: list[tuple[int, int]]) -> None:
    label, group = (np.array(part) for part in zip(*pictures, strict=True))
    fold = head.to_folds(label, group)
    for one in np.unique(label):
        mine = label == one
        for number in np.unique(group[mine]):
            assert len(np.unique(fold[mine & (group == number)])) == 1
        groups, sizes = np.unique(group[mine], return_counts=True)
        assert len(np.unique(fold[mine])) == min(head.FOLDS, len(groups))
        filled = np.bincount(fold[mine], minlength=head.FOLDS)
        assert filled.max() - filled.min() <= sizes.max()


def test_the_layers_give_what_the_points_gave() -> None:
    rng = np.random.default_rng(1)
    names = Names(rng.normal(size=(30, 20)).astype(np.float32), rng.normal(size=30).astype(np.float32), 0)
    features = np.abs(rng.normal(size=(40, 20))).astype(np.float32)
    for known in (names, None):
        space = head.Space.of(features, known)
        points = space.to_points(features)
        weights, bias = head.fit(points, np.arange(40) % 3, 3)
        on_features, on_names, moved = space.to_layers(weights, bias)
        logits = features @ on_features.T + moved
        if on_names is not None:
            logits = logits + head.to_roots(features, names) @ on_names.T
        assert np.allclose(logits, points @ weights + bias, atol=1e-3)
        assert (on_names is None) == (known is None)


@pytest.mark.parametrize("sharpness", [0.5, 1.0, 3.0])
def test_scores_are_made_shares_of_right_answers(sharpness: float) -> None:
    """Labels drawn from softmax(logits): logits times a factor must be divided by that factor again."""
    rng = np.random.default_rng(3)
    logits = rng.normal(size=(4000, 3)) * 2
    label = np.array([rng.choice(3, p=row) for row in head.softmax(logits)])
    assert head.to_temperature(logits * sharpness, label) == pytest.approx(sharpness, rel=0.15)


def test_what_is_like_the_taught_is_left_out_of_the_bank() -> None:
    points, label = clouds(20, 3.0)
    is_ordinary = head.to_ordinary(points[label == 0][:10], np.concatenate([points[label == 0][10:12], points[label == 1]]))
    assert not is_ordinary[:2].any() and is_ordinary[2:].all()


def test_few_of_the_others_get_a_name_at_the_chosen_score() -> None:
    other = np.random.default_rng(1).dirichlet((1, 1, 4), 1000)[:, :2]
    enter = head.choose_enter(other)
    assert head.is_named(other, enter).mean() <= 1 - head.QUIET < head.is_named(other, enter - 0.02).mean()


def test_a_name_needs_its_margin() -> None:
    assert head.is_named(np.array([[0.5, 0.1], [0.45, 0.4], [0.2, 0.1]]), 0.4).tolist() == [True, False, False]
