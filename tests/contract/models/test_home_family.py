"""The bundled family: what it was built upon, what of that was trained further, and that tflite-runtime 2.14 runs it."""

import itertools
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from numpy.typing import NDArray

from edged.models.card import Card
from edged.models.catalogue import load_catalogue
from edged.system.files import shipped
from tests.shared import SHARED, needs_shared

CARDS = load_catalogue().family("home")
Layer = tuple[NDArray[np.float32], NDArray[np.float32]]  # weight by output channel (out, rest), bias
OLD_PYTHON = Path(os.environ.get("EDGED_OLD_RUNTIME", Path(__file__).parents[3] / ".venv-old-runtime" / "bin" / "python"))


def layers(path: Path) -> tuple[list[Layer], dict[tuple[int, ...], NDArray[np.float32]]]:
    """The convolutions before the names in order, in real numbers, and the weights of the last layers by shape."""
    net = Interpreter(str(path), experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES)
    net.allocate_tensors()
    about = {d["index"]: d for d in net.get_tensor_details()}

    def real(index: int, axis: int) -> NDArray[np.float32]:
        steps = about[index]["quantization_parameters"]
        stored = np.moveaxis(net.get_tensor(index).astype(np.float32), axis, 0)
        stored = stored.reshape(len(stored), -1)
        if len(steps["scales"]) == 0:
            return stored
        rows = (len(stored) if len(steps["scales"]) > 1 else 1, 1)
        made: NDArray[np.float32] = (stored - steps["zero_points"].reshape(rows)) * steps["scales"].reshape(rows)
        return made

    convolutions, last = [], {}
    for op in net._get_ops_details():
        inputs = op["inputs"]
        if op["op_name"] in ("CONV_2D", "DEPTHWISE_CONV_2D"):
            weight = real(inputs[1], 0 if op["op_name"] == "CONV_2D" else 3)
            if len(weight) == 1001:
                last[weight.shape] = weight
            else:
                convolutions.append((weight, real(inputs[2], 0)[:, 0]))
        elif op["op_name"] == "FULLY_CONNECTED":
            weight = real(inputs[1], 0)
            last[weight.shape] = weight
    return convolutions, last


def apart(ours: Layer, base: Layer) -> tuple[float, float]:
    """Largest difference of a weight in steps of its channel, and the whole as a multiple of what rounding makes."""
    weight, before = ours[0], base[0]
    one_step = np.maximum(np.abs(weight).max(1, keepdims=True) / 127, 1e-3)
    difference = np.abs(weight - before)
    return float((difference / one_step).max()), float(np.linalg.norm(difference / one_step) / np.sqrt(weight.size / 12))


@needs_shared
@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.name)
def test_what_the_card_says_of_its_layers_is_so(card: Card) -> None:
    assert SHARED is not None and card.based_on is not None and card.layers is not None
    base_file = SHARED / "models" / f"{card.based_on.name}.tflite"
    ours, last = layers(shipped("models", card.file))
    base, published_last = layers(base_file)
    assert len(ours) == len(base) == 27
    said = {*card.layers.tuned, *card.layers.kept}
    assert said == {f"conv_{n}" for n in range(27)} | {"head", "meaning", "names"}
    for n in range(27):
        steps, whole = apart(ours[n], base[n])
        if f"conv_{n}" in card.layers.kept:
            assert steps <= 1.01, (n, steps)  # kept: the published numbers, rounded once more
        else:
            assert steps > 1.1 and whole > 1.1, (n, steps, whole)  # more than rounding can do
    (names_shape,) = [shape for shape in last if shape[0] == 1001]
    before = published_last[names_shape]
    assert np.abs(last[names_shape] - before).max() <= 1.01 * np.abs(before).max() / 127  # the names are the published ones
    features = names_shape[1]
    assert set(last) == {(1001, features), (8, features), (8, 1001)}  # and the eight classes are nobody else's
    assert "head" in card.layers.tuned and "names" in card.layers.kept


@needs_shared
def test_the_bases_are_the_files_that_the_cards_name() -> None:
    import hashlib

    assert SHARED is not None
    for card in CARDS:
        assert card.based_on is not None and card.based_on.licence == "Apache-2.0" and "timing" not in card.based_on.name
        assert hashlib.sha256((SHARED / "models" / f"{card.based_on.name}.tflite").read_bytes()).hexdigest() == card.based_on.sha256


def test_the_family_is_within_its_limits() -> None:
    names = {card.name for card in CARDS}
    assert {"home_0.25_96", "home_0.25_128", "home_0.5_128"} <= names  # configs name them
    assert sum(shipped("models", card.file).stat().st_size for card in CARDS) <= 20e6
    for card in CARDS:
        assert card.enter is not None and card.leave is not None and card.margin is not None and card.measured is not None
        assert card.measured.curve == sorted(card.measured.curve) and set(card.measured.per_class) > {"person", "background"}
    by_cost = sorted(CARDS, key=lambda card: card.million_macs or 0)
    for cheap, dear in itertools.pairwise(by_cost):  # what costs more names more, or gives strangers fewer names
        assert cheap.measured and dear.measured, dear.name
        better = (dear.measured.mean or 0, dear.measured.recall or 0, -(dear.measured.certain_wrong or 1))
        worse = (cheap.measured.mean or 0, cheap.measured.recall or 0, -(cheap.measured.certain_wrong or 1))
        assert any(ours > theirs for ours, theirs in zip(better, worse, strict=True)), dear.name


_RUN = """
import sys, numpy as np
from tflite_runtime.interpreter import Interpreter
net = Interpreter(sys.argv[1], num_threads=1); net.allocate_tensors()
given, made = net.get_input_details()[0], net.get_output_details()[0]
said = []
for x in np.load(sys.argv[2]):
    net.set_tensor(given["index"], x[None]); net.invoke(); said.append(net.get_tensor(made["index"])[0].copy())
np.save(sys.argv[3], np.stack(said))
"""


@needs_shared
@pytest.mark.skipif(not OLD_PYTHON.exists(), reason="no tflite-runtime 2.14: make old-runtime")
@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.name)
def test_tflite_runtime_2_14_gives_the_same_answers(card: Card, tmp_path: Path) -> None:
    assert SHARED is not None
    files = [
        f
        for folder in ("person", "cat", "dog", "bird", "car", "bus", "background")
        for f in sorted((SHARED / "training" / folder).glob("*.jpg"))[::40][:20]
    ]
    pictures = [cv2.cvtColor(cv2.resize(cv2.imread(str(f)), (card.px, card.px)), cv2.COLOR_BGR2RGB) for f in files]  # type: ignore[arg-type]
    x = (np.stack(pictures).astype(np.int16) - 128).astype(np.int8)
    np.save(tmp_path / "x.npy", x)
    net = Interpreter(str(shipped("models", card.file)), num_threads=1)
    net.allocate_tensors()
    given, made = net.get_input_details()[0], net.get_output_details()[0]
    now = []
    for one in x:
        net.set_tensor(given["index"], one[None])
        net.invoke()
        now.append(net.get_tensor(made["index"])[0].copy())
    subprocess.run(
        [OLD_PYTHON, "-c", _RUN, shipped("models", card.file), tmp_path / "x.npy", tmp_path / "y.npy"], check=True, timeout=300
    )
    old = np.load(tmp_path / "y.npy")
    same = (old.argmax(1) == np.stack(now).argmax(1)).mean()
    print(
        f"{card.name}: {len(x)} pictures, same best class {same:.3f}, largest difference {np.abs(old - now).max():.3f}",
        file=sys.stderr,
    )
    assert same >= 0.97
    assert np.abs(old - now).mean() < 0.01
