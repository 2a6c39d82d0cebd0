"""The loop that one writes first: convert the frame's colour, resize it, invoke, take the best."""

import importlib.metadata

import cv2
import numpy as np
from ai_edge_litert.interpreter import Interpreter
from turn import Step, serve


def make(model: str, width: int, height: int) -> tuple[Step, str]:
    frame = np.random.default_rng(1).integers(0, 256, (height, width, 3), np.uint8)
    net = Interpreter(model_path=model, num_threads=1)
    net.allocate_tensors()
    into, out = net.get_input_details()[0], net.get_output_details()[0]
    side = int(into["shape"][1])

    def step() -> object:
        small = cv2.resize(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB), (side, side))
        net.set_tensor(into["index"], small[None])
        net.invoke()
        scores = net.get_tensor(out["index"])[0]
        return np.argsort(scores)[-5:]

    return step, f"opencv {cv2.__version__}, ai-edge-litert {importlib.metadata.version('ai-edge-litert')}"


serve(make)
