"""The one door to LiteRT and tflite-runtime: a graph in, scores out.

ai-edge-litert is TFLite under its present name; tflite-runtime is its last release under the old one. They share the
Interpreter class. The classic Interpreter and not CompiledModel: the latter crashes on a truncated file.
"""

import hashlib
import importlib
import importlib.metadata
from collections.abc import Sequence
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from edged.errors import ModelError, ModelFileError
from edged.system.files import read_model
from edged.system.shapes import check_fixed, check_input, check_output
from edged.vision.preprocess import Input

OutputKind = Literal["probabilities", "logits"]

TOP = 16  # scores that are told of each frame, besides the watched ones
# tflite-runtime is there only where somebody chose it (the extra), so it is asked first
_RUNTIMES = (("tflite_runtime.interpreter", "tflite-runtime"), ("ai_edge_litert.interpreter", "ai-edge-litert"))
_DTYPES: dict[Any, Literal["uint8", "int8", "float32"]] = {np.uint8: "uint8", np.int8: "int8", np.float32: "float32"}


@dataclass(frozen=True, slots=True)
class Facts:
    """What the interpreter itself says about the graph that it runs; nothing here is assumed."""

    runtime: str
    delegate: str
    delegate_nodes: int
    nodes: int
    threads: int
    input: Input
    label_count: int
    output: OutputKind


def load_runtime() -> tuple[Any, str]:
    """The interpreter's module and "name version". Raises ModelError when neither runtime is installed."""
    for module, distribution in _RUNTIMES:
        try:
            return importlib.import_module(module), f"{distribution} {importlib.metadata.version(distribution)}"
        except ImportError:
            continue
    raise ModelError("no TFLite runtime is installed: pip install ai-edge-litert, or edged[tflite-runtime] on Python 3.11")


class Classifier:
    """One graph, ready to run. Used by one thread at a time; invoke releases the GIL."""

    def __init__(self, model: bytes, *, threads: int = 1, output: OutputKind | None = None) -> None:
        """`model` is the file's content: a path would be mapped, and replacing the file would then kill the process.

        `output` None: find out from the graph's last operation. Raises ModelError for what is not an image classifier.
        """
        if model[4:8] != b"TFL3":
            raise ModelError("this is not a TFLite model: the mark TFL3 is missing at its beginning")
        runtime, self._runtime_name = load_runtime()
        self.model = model  # the interpreter reads from it as long as it lives
        try:
            self._net = runtime.Interpreter(model_content=model, num_threads=threads)
            self._net.allocate_tensors()
            self._ops: list[dict[str, Any]] = self._net._get_ops_details()
        except (ValueError, RuntimeError, MemoryError) as e:
            raise ModelError(f"the runtime refuses this model: {_first_line(e)}") from None
        self._in, self._out = self._only_tensors()
        self.facts = self._facts(threads, output)
        self._steps = self._to_steps()

    def classify(self, tensor: NDArray[np.generic]) -> NDArray[np.float32]:
        """(1, height, width, 3) in the graph's dtype → scores (label_count,) float32, 0..1. Raises ModelError if invoke fails."""
        return self._to_scores(self.run(tensor))

    def run(self, tensor: NDArray[np.generic]) -> NDArray[np.generic]:
        """(1, height, width, 3) in the graph's dtype → its output (label_count,) as it is. Raises ModelError if invoke fails."""
        try:
            self._net.set_tensor(self._in["index"], tensor)
            self._net.invoke()
            raw: NDArray[np.generic] = self._net.get_tensor(self._out["index"])[0]
        except (ValueError, RuntimeError) as e:
            raise ModelError(f"the model failed while it ran: {_first_line(e)}") from None
        return raw

    def best(self, raw: NDArray[np.generic], most: int, also: Sequence[int] = ()) -> list[tuple[int, float]]:
        """(index, score) of the `most` highest scores of an output, and of those of `also` that it has, best first.

        Of a thousand probabilities only these are made numbers of: their steps are in the same order.
        """
        if self._steps is None:
            raw = self._to_scores(raw)
        count = len(raw)
        chosen = raw.argpartition(count - most)[count - most :] if most < count else np.arange(count)
        places, values = chosen.tolist(), raw.take(chosen).tolist()
        for index in also:
            if index < count and index not in places:
                places.append(index)
                values.append(raw[index].item())
        # few calls into numpy, and a list for the steps: behind an inference the caches are cold, and each call costs much more
        steps = self._steps
        scores = [round(value, 4) for value in values] if steps is None else [steps[value] for value in values]
        return sorted(zip(places, scores, strict=True), key=itemgetter(1), reverse=True)

    def _dequantised(self, raw: NDArray[np.generic]) -> NDArray[np.float32]:
        scale, zero = self._out["quantization"]
        floats: NDArray[np.float32] = raw.astype(np.float32)
        return (floats - np.float32(zero)) * np.float32(scale) if scale else floats

    def _to_steps(self) -> list[float] | None:
        """The score of each value that an 8-bit output of probabilities can have; int8's negative ones count from the end."""
        if self.facts.output == "logits" or self._out["dtype"] is np.float32:
            return None
        return [round(score, 4) for score in self._dequantised(np.arange(256).astype(self._out["dtype"])).tolist()]

    def _to_scores(self, raw: NDArray[np.generic]) -> NDArray[np.float32]:
        scores = self._dequantised(raw)
        if self.facts.output == "logits":
            scores = np.exp(scores - scores.max())
            scores /= scores.sum()
        return scores

    @property
    def output_quantisation(self) -> tuple[float, int]:
        """Scale and zero point of the output; (0, 0) for float32."""
        scale, zero = self._out["quantization"]
        return float(scale), int(zero)

    def _only_tensors(self) -> tuple[dict[str, Any], dict[str, Any]]:
        inputs, outputs = self._net.get_input_details(), self._net.get_output_details()
        if len(inputs) != 1:
            raise ModelError(f"the model has {len(inputs)} inputs; an image classifier has one")
        if len(outputs) != 1:
            raise ModelError(f"the model has {len(outputs)} outputs, as a detector has; an image classifier has one")
        into, out = inputs[0], outputs[0]
        for tensor in (into, out):
            signature = tuple(map(int, tensor["shape_signature"]))
            check_fixed(str(tensor["name"]), signature, dynamic=any(side < 1 for side in signature))
        check_input(tuple(map(int, into["shape"])))
        check_output(tuple(map(int, out["shape"])))
        for name, tensor in (("input", into), ("output", out)):
            if tensor["dtype"] not in _DTYPES:
                raise ModelError(f"the model's {name} is {np.dtype(tensor['dtype']).name}; edged takes uint8, int8 and float32")
            if tensor["dtype"] is not np.float32 and not tensor["quantization"][0] > 0:
                raise ModelError(f"the model's {name} is quantised, but its scale is missing")
        return into, out

    def _facts(self, threads: int, output: OutputKind | None) -> Facts:
        delegated = [op for op in self._ops if op["op_name"] == "DELEGATE"]
        own = [op for op in self._ops if op["op_name"] != "DELEGATE"]
        if output is None:
            output = "probabilities" if _last_of(own, self._out["index"]) in ("SOFTMAX", "LOGISTIC") else self._unless_bounded()
        scale, zero = self._in["quantization"]
        height, width = (int(side) for side in self._in["shape"][1:3])
        return Facts(
            runtime=self._runtime_name,
            delegate="XNNPACK" if delegated else "none",  # the only delegate that these wheels bring
            delegate_nodes=len(set().union(*(_taken(own, op) for op in delegated))),
            nodes=len(own),
            threads=threads,
            input=Input(height, width, _DTYPES[self._in["dtype"]], float(scale), int(zero)),
            label_count=int(self._out["shape"][1]),
            output=output,
        )

    def _unless_bounded(self) -> OutputKind:
        """A quantised output that can only hold 0..1 is probabilities, whatever the graph ends with (RESHAPE, DEQUANTIZE)."""
        scale, zero = self._out["quantization"]
        least = -128 if self._out["dtype"] is np.int8 else 0
        return "probabilities" if scale and zero == least and 0.99 <= 256 * scale <= 1.01 else "logits"


def load_classifier(
    path: Path, sha256: str, labels: int, *, threads: int = 1, output: OutputKind | None = None
) -> tuple[Classifier, str]:
    """The model of a file, run once so that its first picture takes no longer than the others, and the file's SHA-256.

    sha256: what it must be, or "". Raises ModelError: unreadable, another file, no image classifier, not `labels` scores.
    """
    model = read_model(path)
    found = hashlib.sha256(model).hexdigest()
    if sha256 and found != sha256:
        differs = f"SHA-256 {found[:12]}…, not {sha256[:12]}…"
        raise ModelFileError(f"{path}: the file is not the one that was asked for ({differs}): it changed while it was being read")
    classifier = Classifier(model, threads=threads, output=output)
    if classifier.facts.label_count != labels:
        raise ModelError(f"the model gives {classifier.facts.label_count} scores, but there are {labels} labels")
    wanted = classifier.facts.input
    classifier.classify(np.zeros((1, wanted.height, wanted.width, 3), wanted.dtype))
    return classifier, found


def to_reason(path: Path, error: ModelError) -> str:
    """Why the model of a file is not used, as a sentence that begins with its path. Pure."""
    return str(error) if isinstance(error, ModelFileError) else f"{path}: {error}"


def _last_of(own: list[dict[str, Any]], tensor: int) -> str:
    """The operation that makes a tensor; a SLICE only leaves some of it out."""
    for _ in own:
        last = next((op for op in own if tensor in op["outputs"]), None)
        if last is None or last["op_name"] != "SLICE" or not len(last["inputs"]):
            return str(last["op_name"]) if last is not None else ""
        tensor = int(last["inputs"][0])
    return ""


def _taken(own: list[dict[str, Any]], delegate: dict[str, Any]) -> set[int]:
    """The graph's own nodes between the delegate's inputs and its outputs: those that it replaced."""
    maker = {int(tensor): n for n, op in enumerate(own) for tensor in op["outputs"]}
    given, found = {int(tensor) for tensor in delegate["inputs"]}, set[int]()
    wanted = [int(tensor) for tensor in delegate["outputs"]]
    while wanted:
        node = maker.get(wanted.pop())
        if node is not None and node not in found:
            found.add(node)
            wanted += [int(tensor) for tensor in own[node]["inputs"] if int(tensor) not in given]
    return found


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]


def to_best(scores: NDArray[np.float32], watched: Sequence[int]) -> list[tuple[int, float]]:
    """(index, score) of the highest scores and of those that somebody watches, best first."""
    some = min(TOP, len(scores))
    chosen = set(np.argpartition(scores, -some)[-some:].tolist()) | {i for i in watched if i < len(scores)}
    return sorted(((int(i), round(float(scores[i]), 4)) for i in chosen), key=lambda pair: -pair[1])
