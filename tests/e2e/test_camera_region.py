"""The part of the picture that matters: a small cat in the corner of a wide view."""

import cv2
import numpy as np
import pytest
from skimage import data

from tests.e2e.running import edged_with, wait_for
from tests.shared import SHARED, needs_shared

CAT = (1500, 760, 360, 240)  # x, y, width, height in 1920 x 1080
CATS = {"tabby, tabby cat", "tiger cat", "Persian cat", "Siamese cat, Siamese", "Egyptian cat"}


def wide_view() -> np.ndarray:
    """BGR 1920 x 1080: bricks, and a cat that covers a twenty-fourth of them."""
    view = cv2.cvtColor(cv2.resize(data.brick(), (1920, 1080)), cv2.COLOR_GRAY2BGR)
    x, y, width, height = CAT
    view[y : y + height, x : x + width] = cv2.resize(cv2.imread(str(SHARED / "pictures/cat.bmp")), (width, height))
    return view


@needs_shared
@pytest.mark.parametrize("with_region", [False, True])
def test_a_small_cat_is_seen_where_one_looks(tmp_path, config, heard, with_region):
    view = tmp_path / "view"
    view.mkdir()
    cv2.imwrite(str(view / "wide.png"), wide_view())
    config["camera"] = {"kind": "pictures", "source": str(view), "fps": 5.0}
    if with_region:
        config["camera"]["region"] = [CAT[0] / 1920, CAT[1] / 1080, CAT[2] / 1920, CAT[3] / 1080]
    model = "mobilenet_v1_1.0_224_quant"
    config["model"] = {"name": str(SHARED / f"models/{model}.tflite"), "labels": str(SHARED / "labels/imagenet_1001.txt")}
    config["decision"] = {"groups": {"any_cat": sorted(CATS)}}
    with edged_with(tmp_path, config) as edged:
        results = wait_for(lambda: heard.of("result")[4:] and heard.of("result"), 30, "results")
        seen = lambda: [state["groups"]["any_cat"] for state in heard.of("state")]  # noqa: E731
        wait_for(lambda: True in seen() if with_region else seen(), 30, "what is seen is told")
        assert edged.end() == 0
    assert all((r["top"][0]["label"] in CATS) == with_region for r in results)
    assert (True in seen()) == with_region
    assert heard.of("state")[-1]["groups"]["any_cat"] is False, "nothing is known after the end"
