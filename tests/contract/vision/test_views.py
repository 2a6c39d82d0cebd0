"""Pictures and trials for whoever asks: what they show, also of a camera that crops by itself."""

import numpy as np
import pytest

from edged.system.files import shipped
from edged.system.shapes import WHOLE
from edged.vision.classifier import Classifier, load_classifier
from edged.vision.frame import Frame
from edged.vision.snapshot import to_jpeg_of, try_region

REGION = (0.25, 0.5, 0.5, 0.25)
LIMITS = {"max_px": 320, "quality": 80, "max_kb": 64}


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    path = shipped("models", "home_0.25_96.tflite")
    return load_classifier(path, "", 8, threads=1, output="probabilities")[0]


def frame(*, cropped: bool = False) -> Frame:
    """Another colour in each quarter, so that a part can be told from another."""
    pixels = np.zeros((240, 320, 3), np.uint8)
    pixels[:120, :160], pixels[:120, 160:], pixels[120:, :160], pixels[120:, 160:] = (
        (255, 0, 0),
        (0, 255, 0),
        (0, 0, 255),
        (255,) * 3,
    )
    return Frame(pixels, "rgb", 320, 240, 1, cropped=cropped)


@pytest.mark.parametrize(
    ("view", "cropped", "shows"),
    [
        ("whole", False, WHOLE),
        ("region", False, REGION),
        ("model", False, REGION),
        ("whole", True, REGION),
        ("region", True, REGION),
    ],
)
def test_a_view_says_which_part_of_the_scene_it_shows(classifier: Classifier, view: str, cropped: bool, shows: tuple) -> None:
    jpeg, shown = to_jpeg_of(view, frame(cropped=cropped), REGION, "full", classifier, **LIMITS)
    assert jpeg.startswith(b"\xff\xd8\xff") and shown == shows and len(jpeg) <= 64 * 1024


def test_the_whole_is_the_whole_and_the_models_view_is_its_input(classifier: Classifier) -> None:
    import cv2

    def size(view: str) -> tuple[int, int]:
        jpeg, _ = to_jpeg_of(view, frame(), REGION, "full", classifier, **LIMITS)
        return cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR).shape[:2]

    assert size("whole") == (240, 320) and size("region") == (60, 160) and size("model") == (96, 96)


def test_a_trial_scores_the_part_that_is_asked_for_and_changes_nothing(classifier: Classifier) -> None:
    one = frame()
    before = one.pixels.copy()
    whole, reason = try_region(one, classifier, WHOLE, REGION, "full")
    part, _ = try_region(one, classifier, (0.0, 0.0, 0.5, 0.5), REGION, "full")
    assert reason == "" and whole is not None and part is not None
    assert not np.array_equal(whole, part) and np.array_equal(one.pixels, before)
    only = Frame(one.pixels[:120, :160].copy(), "rgb", 160, 120, 1)
    same, _ = try_region(only, classifier, WHOLE, WHOLE, "full")
    assert same is not None and np.allclose(part, same, atol=0.02)


def test_a_camera_that_crops_can_be_tried_inside_of_what_it_gives(classifier: Classifier) -> None:
    cropped = frame(cropped=True)
    inside, reason = try_region(cropped, classifier, (0.25, 0.5, 0.25, 0.125), REGION, "full")
    quarter, _ = try_region(frame(), classifier, (0.0, 0.0, 0.5, 0.5), WHOLE, "full")
    assert reason == "" and np.allclose(inside, quarter, atol=0.02)
    same, _ = try_region(cropped, classifier, REGION, REGION, "full")
    assert same is not None
    none, reason = try_region(cropped, classifier, WHOLE, REGION, "full")
    assert none is None and "outside of what the camera gives" in reason
    assert try_region(None, classifier, WHOLE, WHOLE, "full") == (None, "there is no frame to try it on")
    assert try_region(cropped, None, WHOLE, WHOLE, "full")[0] is None
