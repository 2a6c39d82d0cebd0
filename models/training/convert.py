"""From a checkpoint to what ships: an int8 .tflite, measured as the file that it is, with its figures.

    python convert.py --work WORK --models FOLDER --name home_0.25_96 --width 0.25 --px 96

PyTorch → litert-torch → ai-edge-quantizer (static, int8 weights and activations). The accuracies are those of
the int8 file run by LiteRT on the "test" photographs, not the network's before conversion.
"""

import argparse
import hashlib
import json
from pathlib import Path

import litert_torch
import numpy as np
import torch
from ai_edge_litert.interpreter import Interpreter
from ai_edge_quantizer import quantizer, recipe
from labels import CLASSES
from lessons import load_photographs
from network import MobileNetV1
from torch import nn
from train import BATCH, figures, views_of

_CALIBRATION = 256


class Shipped(nn.Module):
    """The network as it is fed on the board: (1, px, px, 3) in, probabilities out."""

    def __init__(self, net: MobileNetV1) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.net(x.permute(0, 3, 1, 2))[0].softmax(-1)


@torch.no_grad()
def calibrated(net: MobileNetV1, x: torch.Tensor, label: torch.Tensor) -> float:
    """Scales the last layer so that scores are as sure as they are right (Guo et al., 2017); on photographs of "val"."""
    logits = torch.cat([net(part)[0] for part in x.split(64)])
    factors = torch.linspace(0.5, 3.0, 101)
    best = min(factors.tolist(), key=lambda factor: float(nn.functional.cross_entropy(logits * factor, label)))
    net.classes.weight *= best
    net.classes.bias *= best
    return best


def quantised(net: MobileNetV1, px: int, calibration: np.ndarray, path: Path) -> None:
    """Writes the int8 file; `calibration` (N, px, px, 3) float32 in -1..1."""
    whole = path.with_suffix(".float.tflite")
    litert_torch.convert(Shipped(net).eval(), (torch.rand(1, px, px, 3) * 2 - 1,)).export(str(whole))
    signatures = Interpreter(str(whole)).get_signature_list()
    signature = next(iter(signatures))
    name = signatures[signature]["inputs"][0]
    steps = quantizer.Quantizer(str(whole))
    steps.load_quantization_recipe(recipe.static_wi8_ai8())
    seen = steps.calibrate({signature: [{name: picture[None]} for picture in calibration]})
    steps.quantize(seen).export_model(str(path), overwrite=True)
    whole.unlink()


def scores_of(path: Path, x: np.ndarray) -> np.ndarray:
    """Scores (N, 8) of the file itself for x (N, px, px, 3) in -1..1."""
    net = Interpreter(str(path))
    net.allocate_tensors()
    into, out = net.get_input_details()[0], net.get_output_details()[0]
    rows = []
    for picture in x:
        if into["dtype"] is np.int8:
            scale, zero = into["quantization"]
            picture = np.clip(np.rint(picture / scale) + zero, -128, 127).astype(np.int8)
        net.set_tensor(into["index"], picture[None])
        net.invoke()
        row = net.get_tensor(out["index"])[0].astype(np.float32)
        if out["dtype"] is np.int8:
            scale, zero = out["quantization"]
            row = (row - zero) * scale
        rows.append(row)
    return np.stack(rows)


def shape_of(net: MobileNetV1, px: int) -> dict[str, object]:
    """Multiply-adds of convolutions and of the last layer, and parameters as the int8 file has them (batch norms folded)."""
    macs, params = 0, 0

    def count(layer: nn.Module, _given: object, made: torch.Tensor) -> None:
        nonlocal macs, params
        places = made.shape[2] * made.shape[3] if made.dim() == 4 else 1
        macs += layer.weight.numel() * places
        params += layer.weight.numel() + layer.weight.shape[0]

    hooks = [m.register_forward_hook(count) for m in net.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    net(torch.zeros(1, 3, px, px))
    for hook in hooks:
        hook.remove()
    return {"million_macs": round(macs / 1e6, 2), "million_params": round(params / 1e6, 3), "dtype": "int8"}


def confusion(scores: np.ndarray, label: np.ndarray) -> list[list[int]]:
    """Rows: what it is; columns: what was said."""
    table = np.zeros((len(CLASSES), len(CLASSES)), int)
    np.add.at(table, (label, scores.argmax(1)), 1)
    return table.tolist()


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--work", type=Path, required=True)
    ask.add_argument("--models", type=Path, required=True, help="where the .tflite and its figures go")
    ask.add_argument("--name", required=True)
    ask.add_argument("--width", type=float, required=True)
    ask.add_argument("--px", type=int, required=True)
    a = ask.parse_args()
    photos = load_photographs(a.work)
    saved = torch.load(a.work / f"{a.name}.pt", weights_only=True)
    kept = {k: v for k, v in saved["kept"].items() if not k.startswith("taught.")}
    net = MobileNetV1(a.width)
    net.load_state_dict(kept)
    net.eval()
    rows = np.flatnonzero((photos.split == "val") & (photos.label >= 0))
    factor = calibrated(net, views_of(photos, rows, a.px), torch.from_numpy(photos.label[rows]))
    rng = np.random.default_rng(0)
    some = rng.choice(np.flatnonzero(photos.split == "train"), _CALIBRATION, replace=False)
    to_file = lambda rows: views_of(photos, rows, a.px).permute(0, 2, 3, 1).contiguous().numpy()  # noqa: E731
    path = a.models / f"{a.name}.tflite"
    calibration = to_file(some)
    calibration[0], calibration[1] = -1, 1  # black and white must be within what the input can hold
    quantised(net, a.px, calibration, path)
    rows = np.flatnonzero((photos.split == "test") & (photos.label >= 0))
    scores, label = scores_of(path, to_file(rows)), photos.label[rows]
    content = path.read_bytes()
    result = {
        "name": a.name,
        "sha256": hashlib.sha256(content).hexdigest(),
        "bytes": len(content),
        "views": saved["done"] * BATCH,
        "width": a.width,
        "px": a.px,
        "calibration": round(factor, 3),
        **shape_of(net, a.px),
        **figures(scores, label),
        "confusion": confusion(scores, label),
    }
    (a.work / f"{a.name}.json").write_text(json.dumps(result, indent=1))
    print(json.dumps(result))


if __name__ == "__main__":
    main()
