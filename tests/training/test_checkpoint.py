"""A file of the family as a checkpoint: the network says what the file says, and what was kept is the published one's own."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="PyTorch is not installed: make training-test")
pytest.importorskip("litert_torch", reason="litert-torch is not installed: make training-test")

import torch

from tests.shared import SHARED, needs_shared

pytestmark = needs_shared
MODELS = Path(__file__).parents[2] / "models"
BASE = "mobilenet_v1_0.25_128_quant"


def test_the_network_says_what_the_file_says() -> None:
    from checkpoint import unpacked
    from collection import WHOLE, Row, picture_of, shrunk
    from convert import runner
    from published import published

    assert SHARED is not None
    file, base = MODELS / "home_0.25_128.tflite", SHARED / "models" / f"{BASE}.tflite"
    net, kept = unpacked(file, base)
    before = published(base)
    assert kept == 4 and len(net.layers) == 27
    for n, (ours, theirs) in enumerate(zip(net.layers, before.layers, strict=True)):
        assert torch.equal(ours.weight, theirs.weight) == (n < kept), n
    assert torch.equal(net.names.weight, before.names.weight)
    photographs = [f for folder in ("car", "bird", "person") for f in sorted((SHARED / "training" / folder).glob("*.jpg"))[:15]]
    rows = [Row(f"{f.parent.name}/{f.name}", WHOLE, 0, 1.0, "", "test") for f in photographs]
    x = np.stack([shrunk(picture_of(SHARED / "training", row), 128) for row in rows])
    run = runner(file)
    said = np.stack([run(one) for one in x])
    with torch.no_grad():
        scores = net(torch.from_numpy(x).permute(0, 3, 1, 2).float() / 127.5 - 1)[0].softmax(1).numpy()
    assert (scores.argmax(1) == said.argmax(1)).mean() >= 0.9  # the file rounds every activation to 8 bits, the graph does not
    assert np.median(np.abs(scores - said).max(1)) < 0.06


def test_a_file_of_another_shape_is_refused() -> None:
    from checkpoint import unpacked

    assert SHARED is not None
    with pytest.raises(ValueError, match="give the base that its card names"):
        unpacked(MODELS / "home_0.5_128.tflite", SHARED / "models" / f"{BASE}.tflite")
