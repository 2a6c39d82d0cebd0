"""A published MobileNet V1 (uint8 .tflite, Apache-2.0) as a PyTorch network that gives the file's answers.

The file holds 27 convolutions with batch norm folded in, and a 1 x 1 convolution to 1001 names. A stored weight q stands for
(q - zero) * scale. TensorFlow's SAME padding of an even side with stride 2 adds nothing before and one row after.
"""

from pathlib import Path

import numpy as np
import torch
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from network import Convolution, MobileNet

NAMES = 1001


def published(path: Path) -> MobileNet:
    """The network of the file, in float, ReLU6 where the file has it. Raises ValueError where it is no such network."""
    net = Interpreter(str(path), experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES)
    net.allocate_tensors()
    about = {d["index"]: d for d in net.get_tensor_details()}

    def real(index: int) -> torch.Tensor:
        steps = about[index]["quantization_parameters"]
        return torch.from_numpy(
            ((net.get_tensor(index).astype(np.float32) - steps["zero_points"][0]) * steps["scales"][0]).astype(np.float32)
        )

    layers, names = [], None
    for op in net._get_ops_details():
        if op["op_name"] not in ("CONV_2D", "DEPTHWISE_CONV_2D"):
            continue
        given, kernel, bias = op["inputs"][:3]
        before, after = about[given]["shape"][1], about[op["outputs"][0]]["shape"][1]
        weight = real(kernel)
        if weight.shape[0] == NAMES:
            names = (weight.reshape(NAMES, -1), real(bias))
        elif op["op_name"] == "CONV_2D":  # (out, high, wide, in)
            layers.append(Convolution(weight.permute(0, 3, 1, 2).contiguous(), real(bias), 2 if after < before else 1, 1))
        else:  # (1, high, wide, channels)
            layers.append(
                Convolution(weight.permute(3, 0, 1, 2).contiguous(), real(bias), 2 if after < before else 1, weight.shape[-1])
            )
    if len(layers) != 27 or names is None:
        raise ValueError(
            f"{path}: not a published MobileNet V1: {len(layers)} convolutions, names {'found' if names else 'missing'}"
        )
    return MobileNet(layers, *names)
