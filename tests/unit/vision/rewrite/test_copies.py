"""Which pictures are the same, and which are near copies."""

import cv2
import numpy as np

from edged.vision.frame import Frame
from edged.vision.rewrite.copies import find_same, to_groups, to_moved_groups, to_thumb
from tests.things import draw


def thumb(picture: np.ndarray) -> np.ndarray:
    frame = Frame(picture, "bgr", picture.shape[1], picture.shape[0], 0)
    return np.frombuffer(to_thumb(frame), np.uint8).astype(np.float32)


def noisy(picture: np.ndarray, seed: int) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(0, 4, picture.shape)
    return np.clip(picture + noise, 0, 255).astype(np.uint8)


def test_frames_of_one_moment_are_one_group() -> None:
    pictures = [noisy(draw("discs", 1), n) for n in range(3)] + [draw("discs", n) for n in (2, 3)]
    assert to_groups(np.stack([thumb(one) for one in pictures])).tolist() == [0, 0, 0, 3, 4]


def test_a_part_of_a_picture_joins_the_whole_s_group_and_all_of_both_groups() -> None:
    points = np.random.default_rng(2).normal(0, 1, (6, 400)).astype(np.float32)
    parts = np.random.default_rng(3).normal(0, 1, (2, 6, 400)).astype(np.float32)
    parts[1, 5] = 3 * points[1]  # the same direction
    group = np.array([0, 1, 2, 2, 4, 4])
    assert to_moved_groups(group, points, parts).tolist() == [0, 1, 2, 2, 1, 1]
    points[2] = points[1]
    assert to_moved_groups(group, points, parts).tolist() == [0, 1, 1, 1, 1, 1]
    assert group.tolist() == [0, 1, 2, 2, 4, 4]


def test_empty_pictures_are_one_group() -> None:
    pictures = [np.full((40, 40, 3), grey, np.uint8) for grey in (0, 90, 255)]
    assert to_groups(np.stack([thumb(one) for one in pictures])).tolist() == [0, 0, 0]


def test_the_same_picture_with_two_labels_is_found_even_as_another_file() -> None:
    original = draw("bars", 4)
    _, jpeg = cv2.imencode(".jpg", original, [cv2.IMWRITE_JPEG_QUALITY, 60])
    again = cv2.imdecode(jpeg, cv2.IMREAD_COLOR)
    thumbs = np.stack([thumb(one) for one in (draw("bars", 3), original, draw("discs", 1), again)])
    assert find_same(thumbs, np.array([0, 0, 1, 1])) == (1, 3)
    assert find_same(thumbs, np.array([0, 0, 1, 0])) is None


def test_two_states_of_one_scene_are_not_the_same_picture() -> None:
    """A fixed camera: the gate is a small part of the picture."""
    scene = draw("discs", 5, side=320)
    shut = scene.copy()
    cv2.rectangle(shut, (200, 200), (240, 260), (10, 10, 10), -1)
    thumbs = np.stack([thumb(scene), thumb(shut)])
    assert find_same(thumbs, np.array([0, 1])) is None
