"""The published networks as PyTorch graphs: they give the files' answers, before anything is trained."""

import numpy as np
import pytest

pytest.importorskip("torch", reason="PyTorch is not installed: make training-test")
pytest.importorskip("litert_torch", reason="litert-torch is not installed: make training-test")

import torch
from ai_edge_litert.interpreter import Interpreter

from tests.shared import SHARED, needs_shared

pytestmark = needs_shared
NAMES = [
    "mobilenet_v1_0.25_128_quant",
    "mobilenet_v1_0.5_128_quant",
    "mobilenet_v1_0.5_160_quant",
    "mobilenet_v1_0.75_160_quant",
    "mobilenet_v1_1.0_224_quant",
]


def photographs(px: int) -> np.ndarray:
    """(N, px, px, 3) uint8 RGB."""
    from collection import Row, picture_of, shrunk

    assert SHARED is not None
    files = sorted((SHARED / "training" / "car").glob("*.jpg"))[:20] + sorted((SHARED / "training" / "bird").glob("*.jpg"))[:20]
    rows = [Row(f"{file.parent.name}/{file.name}", (0, 0, 1, 1), 0, 1.0, "", "test") for file in files]
    return np.stack([shrunk(picture_of(SHARED / "training", row), px) for row in rows])


@pytest.mark.parametrize("name", NAMES)
def test_the_graph_gives_the_file_s_answers(name: str) -> None:
    from published import published

    assert SHARED is not None
    path = SHARED / "models" / f"{name}.tflite"
    px = int(name.split("_")[3])
    file = Interpreter(str(path))
    file.allocate_tensors()
    given, made = file.get_input_details()[0], file.get_output_details()[0]
    net, x, said = published(path).eval(), photographs(px), []
    for picture in x:
        file.set_tensor(given["index"], picture[None])
        file.invoke()
        said.append(file.get_tensor(made["index"])[0].astype(np.float32) * made["quantization"][0])
    with torch.no_grad():
        names = net(torch.from_numpy(x).permute(0, 3, 1, 2).float() / 127.5 - 1)[1].softmax(1).numpy()
    same = (names.argmax(1) == np.array(said).argmax(1)).mean()
    apart = np.abs(names - np.array(said)).max(1)
    print(f"{name}: same best name {same:.2f}, largest difference in the middle {np.median(apart):.3f}")
    assert same >= 0.8  # the file rounds every activation to 8 bits, the graph does not
    assert np.median(apart) < 0.06


def test_the_padding_is_tensorflow_s(monkeypatch: pytest.MonkeyPatch) -> None:
    """Told apart from PyTorch's usual padding: that one gives other answers."""
    import network
    from published import published

    assert SHARED is not None
    net = published(SHARED / "models" / "mobilenet_v1_0.25_128_quant.tflite").eval()
    x = torch.from_numpy(photographs(128)).permute(0, 3, 1, 2).float() / 127.5 - 1
    with torch.no_grad():
        right = net(x)[1]
        monkeypatch.setattr(network, "padded", lambda x, side, stride: torch.nn.functional.pad(x, (side // 2,) * 4))
        wrong = net(x)[1]
    assert (right.argmax(1) != wrong.argmax(1)).float().mean() > 0.1
    assert network is not None


def test_another_file_is_refused() -> None:
    from published import published

    assert SHARED is not None
    with pytest.raises(ValueError, match="not a published MobileNet V1"):
        published(SHARED / "models" / "mobilenet_v3_small_1.0_224_quant.tflite")
