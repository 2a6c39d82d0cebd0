"""What somebody writes who wants one picture classified and nothing else: libraries, model, picture, scores."""

import sys

import cv2
import numpy as np
from ai_edge_litert.interpreter import Interpreter

model, picture = sys.argv[1:]
net = Interpreter(model_path=model, num_threads=1)
net.allocate_tensors()
into, out = net.get_input_details()[0], net.get_output_details()[0]
_, height, width, _ = into["shape"]
pixels = cv2.cvtColor(cv2.imread(picture), cv2.COLOR_BGR2RGB)
tensor = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA)[None]
if into["dtype"] is np.int8:
    tensor = (tensor.astype(np.int16) - 128).astype(np.int8)
net.set_tensor(into["index"], tensor)
net.invoke()
print(int(net.get_tensor(out["index"])[0].argmax()), flush=True)
