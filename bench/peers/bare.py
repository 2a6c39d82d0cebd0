"""The network alone: one `invoke()` of the file as it is published, with LiteRT or, where that is installed, tflite-runtime."""

import importlib.metadata

import numpy as np
from turn import Step, serve

try:
    from tflite_runtime.interpreter import Interpreter

    NAME = "tflite-runtime"
except ImportError:
    from ai_edge_litert.interpreter import Interpreter

    NAME = "ai-edge-litert"


def make(model: str, _width: int, _height: int) -> tuple[Step, str]:
    net = Interpreter(model_path=model, num_threads=1)
    net.allocate_tensors()
    into = net.get_input_details()[0]
    net.set_tensor(into["index"], np.random.default_rng(1).integers(0, 256, into["shape"], np.uint8))
    return net.invoke, f"{NAME} {importlib.metadata.version(NAME)}"


serve(make)
