"""What a lesson makes of its pictures and of further views of them."""

from dataclasses import replace

import numpy as np
import pytest

from edged.system.files import shipped
from edged.vision.frame import Frame
from edged.vision.rewrite.embedding import VIEWS, to_views
from edged.vision.rewrite.lesson import OTHER, Examples, learn
from edged.vision.rewrite.trunk import Trunk
from tests.things import draw


@pytest.fixture(scope="module")
def trunk() -> Trunk:
    return Trunk(shipped("models", "home_0.25_96.tflite").read_bytes())


def shown(trunk: Trunk, views: str) -> Examples:
    """Two labels of 20 pictures that are far apart, and 60 other things; their views are like them, or like the other label."""
    rng = np.random.default_rng(4)
    centres = np.abs(rng.normal(1, 1, (3, trunk.features)))
    label = np.repeat([0, 1, OTHER], [20, 20, 60])

    def features(of: np.ndarray) -> np.ndarray:
        return np.abs(centres[of] + rng.normal(0, 1, (len(of), trunk.features))).astype(np.float32)

    of_views = {"alike": label, "swapped": np.where(label == OTHER, OTHER, 1 - label)}
    made = np.stack([features(of_views[views]) for _ in range(VIEWS)], axis=1) if views else None
    thumbs = rng.uniform(0, 255, (len(label), 1024)).astype(np.float32)
    return Examples(features(label), thumbs, label, made)


@pytest.mark.parametrize(("views", "used"), [("alike", VIEWS), ("swapped", 0), ("", 0)])
def test_views_are_learnt_from_unless_they_hide_what_tells_the_labels_apart(trunk: Trunk, views: str, used: int) -> None:
    """Labels that only a side tells apart: the mirror image of the one is the other."""
    bank = np.zeros((0, trunk.features), np.float32)
    _, figures = learn(shown(trunk, views), bank, 2, trunk)
    assert figures["views"] == used
    assert figures["confusion"] == [[20, 0], [0, 20]]
    assert len(figures["best"]) == 40 and figures["others"] == 60


@pytest.mark.parametrize(("copies", "different"), [(2, 10), (4, 5), (5, 20), (20, 20)])
def test_mirrored_and_cut_copies_are_held_out_together(trunk: Trunk, copies: int, different: int) -> None:
    """Nobody's thumbs are alike, but a part of the one is the whole of the other. With too few groups to hold some of them out
    the pictures count as they are: so does a camera that always sees the same."""
    one = shown(trunk, "alike")
    assert one.views is not None
    rng = np.random.default_rng(5)
    features, views = one.features.copy(), rng.normal(1, 1, one.views.shape).astype(np.float32)
    for n in range(40):
        features[n] = np.abs(features[n - n % copies] + (n % copies > 0) * rng.normal(0, 0.1, trunk.features))
        views[n, n % VIEWS] = features[n - n % copies]
    _, figures = learn(replace(one, features=features, views=views), np.zeros((0, trunk.features), np.float32), 2, trunk)
    assert figures["different"] == [different, different]


def test_views_are_of_the_picture_and_mirrored() -> None:
    pixels = draw("discs", 1)
    views = list(to_views(Frame(pixels, "bgr", 160, 160, 0)))
    assert len(views) == VIEWS
    assert np.array_equal(views[0].pixels, pixels[:, ::-1])
    assert np.array_equal(views[1].pixels, pixels[16:144, 16:144]) and np.array_equal(views[2].pixels, views[1].pixels[:, ::-1])
    assert np.array_equal(views[3].pixels, pixels[:120, :120]) and np.array_equal(views[4].pixels, pixels[40:, 40:][:, ::-1])
    assert all(one.pixels.shape == (one.height, one.width, 3) for one in views)


@pytest.mark.parametrize(("width", "height"), [(1, 1), (1, 30), (3, 2)])
def test_the_smallest_picture_has_views(width: int, height: int) -> None:
    frame = Frame(np.zeros((height, width, 3), np.uint8), "bgr", width, height, 0)
    assert all(one.pixels.size for one in to_views(frame))
