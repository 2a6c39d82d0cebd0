"""A file of the family as a checkpoint, from which tune.py goes on and with which features.py, head.py and ship.py work.

    python checkpoint.py --base MODELS/mobilenet_v1_0.5_128_quant.tflite --file ../home_0.5_128.tflite
                         --views 38_400 --to WORK/tuned.pt

So what was tuned once can be used at another size of the picture, or trained further, by whoever has the file alone. Convolutions
that are the published ones, rounded once more, are taken from the published file; the others are what the file holds, rounded to
127 steps a channel. The names are always the published ones.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from network import MobileNet
from published import published

BATCH = 64  # views of one step of tune.py


def held(path: Path) -> tuple[list[tuple[torch.Tensor, torch.Tensor]], dict[tuple[int, ...], torch.Tensor]]:
    """Weight (out, in, high, wide) and bias (out,) of each convolution in order; weights of the last layers by shape; all float."""
    net = Interpreter(str(path), experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES)
    net.allocate_tensors()
    about = {d["index"]: d for d in net.get_tensor_details()}

    def real(index: int, axis: int) -> torch.Tensor:
        steps, stored = about[index]["quantization_parameters"], net.get_tensor(index).astype(np.float32)
        if len(steps["scales"]) == 0:
            return torch.from_numpy(stored)
        shape = [1] * stored.ndim
        shape[axis] = len(steps["scales"])
        made = (stored - steps["zero_points"].reshape(shape)) * steps["scales"].reshape(shape)
        return torch.from_numpy(made.astype(np.float32))

    layers, last = [], {}
    for op in net._get_ops_details():
        inputs = op["inputs"]
        if op["op_name"] == "CONV_2D":
            layers.append((real(inputs[1], 0).permute(0, 3, 1, 2).contiguous(), real(inputs[2], 0)))
        elif op["op_name"] == "DEPTHWISE_CONV_2D":
            layers.append((real(inputs[1], 3).permute(3, 0, 1, 2).contiguous(), real(inputs[2], 0)))
        elif op["op_name"] == "FULLY_CONNECTED":
            weight = real(inputs[1], 0)
            last[tuple(weight.shape)] = weight
            if len(inputs) > 2 and inputs[2] >= 0 and len(weight) == 8:
                last[(8,)] = real(inputs[2], 0)
    return layers, last


def is_kept(ours: torch.Tensor, base: torch.Tensor) -> bool:
    """Whether the weights (out, …) are the base's, rounded once more."""
    step = (ours.flatten(1).abs().amax(1) / 127).clamp(min=1e-3)
    return float(((ours - base).flatten(1).abs().amax(1) / step).max()) <= 1.01


def unpacked(path: Path, base: Path) -> tuple[MobileNet, int]:
    """The network of one of the family's files in float, and how many of its first layers are the published ones.

    Raises ValueError where it is no file of the family or was built upon another shape.
    """
    net = published(base)
    layers, last = held(path)
    shapes = [tuple(weight.shape) for weight, _ in layers]
    if shapes != [tuple(layer.weight.shape) for layer in net.layers] or (8,) not in last:
        raise ValueError(f"{path}: not a file of the family that is built upon {base.name}; give the base that its card names")
    kept = 0
    for n, ((weight, bias), of) in enumerate(zip(layers, net.layers, strict=True)):
        if is_kept(weight, of.folded()[0].detach()):
            kept += kept == n
            continue
        of.weight.data.copy_(weight / of.factor.reshape(-1, 1, 1, 1))  # the factor stays the base's
        of.bias.data.copy_(bias / of.factor)
    features = net.names.weight.shape[1]
    net.head.weight.data.copy_(last[8, features])
    net.head.bias.data.copy_(last[8,])
    net.meaning.weight.data.copy_(last[8, 1001])
    return net, kept


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("base", "file", "to"):
        ask.add_argument(f"--{name}", type=Path, required=True)
    ask.add_argument("--views", type=int, required=True, help="what it was tuned with so far")
    a = ask.parse_args()
    net, kept = unpacked(a.file, a.base)
    state = net.state_dict()
    torch.save({"net": state, "average": state, "step": None, "done": a.views // BATCH, "kept": kept}, a.to)
    print(f"{a.to}: {kept} layers as published, {27 - kept} tuned")


if __name__ == "__main__":
    main()
