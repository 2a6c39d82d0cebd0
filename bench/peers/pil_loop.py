"""The way of TensorFlow Lite's own image examples: the frame as a PIL image, resized, as a batch of one, the five best."""

import importlib.metadata

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from PIL import Image
from turn import Step, serve


def make(model: str, width: int, height: int) -> tuple[Step, str]:
    frame = np.random.default_rng(1).integers(0, 256, (height, width, 3), np.uint8)
    net = Interpreter(model_path=model, num_threads=1)
    net.allocate_tensors()
    into, out = net.get_input_details()[0], net.get_output_details()[0]
    side = int(into["shape"][1])

    def step() -> object:
        picture = Image.fromarray(frame).resize((side, side))
        net.set_tensor(into["index"], np.expand_dims(np.array(picture), axis=0))
        net.invoke()
        scores = np.squeeze(net.get_tensor(out["index"]))
        return [(int(index), float(scores[index] / 255.0)) for index in scores.argsort()[-5:][::-1]]

    names = ("pillow", "ai-edge-litert")
    return step, ", ".join(f"{name} {importlib.metadata.version(name)}" for name in names)


serve(make)
