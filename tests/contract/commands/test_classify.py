"""`edged classify` as a person or a script meets it: right scores for right input, one sentence for wrong input."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edged.models.classify import find_pictures
from edged.process.sandbox import SandboxError, ThrowAway
from edged.vision.classify import PictureError, load_picture
from tests.contract.victim import ANSWERS
from tests.e2e.running import HANG_S, alive, children
from tests.models import a_picture, any_model
from tests.shared import SHARED, needs_shared

IMAGENET = str(SHARED / "labels/imagenet_1001.txt") if SHARED else ""


def edged(*arguments: object, **kept: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "edged", "classify", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, **kept)  # type: ignore[call-overload]


def classified(*arguments: object) -> list[dict]:
    done = edged("--json", *arguments)
    assert done.stderr == "" and done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def model(name: str) -> list[str]:
    return ["--model", str(SHARED / "models" / f"{name}.tflite"), "--labels", IMAGENET]


def references() -> dict[str, dict[str, list[dict]]]:
    return json.loads((SHARED / "facts/reference_predictions.json").read_text()) if SHARED else {}


@needs_shared
@pytest.mark.parametrize("name", sorted({name for models in references().values() for name in models}))
def test_the_reference_predictions(name: str) -> None:
    """Every sure answer is reproduced, and its score within 0.1."""
    pictures = {picture: models[name][0] for picture, models in references().items() if models[name][0]["score"] > 0.5}
    lines = classified(*model(name), "--crop", "centre", *(SHARED / "pictures" / picture for picture in pictures))
    assert [Path(line["picture"]).name for line in lines] == list(pictures)
    for line, expected in zip(lines, pictures.values(), strict=True):
        best = line["top"][0]
        assert (best["index"], best["label"]) == (expected["index"], expected["label"]), line["picture"]
        assert abs(best["score"] - expected["score"]) <= 0.1, (line["picture"], best, expected)


@needs_shared
def test_logits_become_probabilities() -> None:
    (line,) = classified(*model("mobilenet_v2_1.0_224_quant"), "--crop", "centre", "--top", 1001, SHARED / "pictures/parrot.jpg")
    assert line["top"][0]["label"] == "macaw" and line["top"][0]["score"] > 0.5
    assert sum(one["score"] for one in line["top"]) == pytest.approx(1, abs=0.05)


def test_the_int8_model_that_comes_with_edged(tmp_path: Path) -> None:
    """The bundled family is int8: a photograph that it was not trained on is named."""
    pytest.importorskip("skimage")
    import skimage

    (line,) = classified("--model", "auto", Path(skimage.__file__).parent / "data/motorcycle_left.png")
    assert line["top"][0]["label"] == "two_wheeler"


def test_the_line_of_a_picture(tmp_path: Path) -> None:
    (line,) = classified(*any_model(), "--top", 4, a_picture(tmp_path))
    assert list(line) == ["picture", "model", "top", "timing_ms"]
    assert len(line["top"]) == 4 and list(line["top"][0]) == ["label", "index", "score"]
    scores = [one["score"] for one in line["top"]]
    assert scores == sorted(scores, reverse=True) and all(0 <= score <= 1 for score in scores)
    assert set(line["timing_ms"]) == {"capture", "preprocess", "invoke", "postprocess"}


@needs_shared
def test_the_default_crop_is_the_configs(tmp_path: Path) -> None:
    picture = SHARED / "pictures/kite_and_cold.jpg"
    config = tmp_path / "edged.toml"
    config.write_text("[camera]\ncrop = 'centre'\n")
    full, default, centre, by_config = (
        classified(*model("mobilenet_v1_0.25_224"), *more, picture)[0]["top"]
        for more in (["--crop", "full"], [], ["--crop", "centre"], ["-c", config])
    )
    assert default == full != centre
    assert by_config == centre


@needs_shared
def test_a_region_is_all_that_is_looked_at(tmp_path: Path) -> None:
    import cv2

    wide = np.full((720, 1280, 3), 128, np.uint8)
    cat = cv2.resize(cv2.imread(str(SHARED / "pictures/cat.bmp")), (256, 256))
    wide[464:, 1024:] = cat
    cv2.imwrite(str(tmp_path / "wide.png"), wide)
    arguments = [*model("mobilenet_v1_1.0_224_quant"), tmp_path / "wide.png"]
    (without,), (within,) = classified(*arguments), classified("--region", "0.8,0.6444,0.2,0.3556", *arguments)
    assert "cat" in within["top"][0]["label"] and "cat" not in without["top"][0]["label"]


def test_what_cannot_be_read_has_its_line_and_the_rest_goes_on(tmp_path: Path) -> None:
    good = a_picture(tmp_path)
    (tmp_path / "text.jpg").write_text("hello")
    (tmp_path / "empty.png").touch()
    (tmp_path / "cut.png").write_bytes(good.read_bytes()[:500])
    (tmp_path / "album").mkdir()
    os.mkfifo(tmp_path / "pipe.png")
    named = [good, tmp_path / "text.jpg", tmp_path / "empty.png", tmp_path / "cut.png", tmp_path / "nope.png", tmp_path / "album"]
    named += [tmp_path / "pipe.png", Path("/dev/zero"), Path("/proc/self/mem"), good]
    done = edged("--json", *any_model(), *named)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert (done.returncode, done.stderr) == (1, "")
    assert [line["picture"] for line in lines] == [str(path) for path in named]
    assert ["top" in line for line in lines] == [True, *[False] * 8, True]
    told = [line.get("error", "") for line in lines]
    assert "not a picture" in told[1] and told[2] == "is empty" and "cut off" in told[3] and told[4] == "does not exist"
    assert told[5] == "is a folder without pictures" and told[6] == told[7] == "is not a file"


def test_a_folder_is_its_pictures_in_order(tmp_path: Path) -> None:
    picture = a_picture(tmp_path)
    for name in ("b.PNG", "a.png", "c.jpg", "notes.txt"):
        shutil.copy(picture, tmp_path / name)
    lines = classified(*any_model(), tmp_path)
    assert [Path(line["picture"]).name for line in lines] == ["a.png", "b.PNG", "c.jpg", "picture.png"]
    assert list(find_pictures([tmp_path / "nope"])) == [tmp_path / "nope"]


def test_a_name_of_any_bytes(tmp_path: Path) -> None:
    odd = os.fsencode(tmp_path) + b"/\xff\n.png"
    shutil.copy(a_picture(tmp_path), odd)
    done = edged("--json", *any_model(), os.fsdecode(odd))
    assert (done.returncode, done.stderr) == (0, "") and len(done.stdout.splitlines()) == 1


def test_for_people(tmp_path: Path) -> None:
    picture = a_picture(tmp_path)
    done = edged(*any_model(), picture)
    first, second = done.stdout.splitlines()
    assert done.returncode == 0 and first.startswith("model ") and second.startswith(f"{picture}: ") and second.count(" · ") == 2


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (["--region", "1,2"], "4 numbers"),
        (["--region", "a,b,c,d"], "four numbers"),
        (["--region", "0.5,0,0.6,1"], "inside the picture"),
        (["--crop", "center"], "centre"),
        (["--top", "0"], "--top"),
    ],
)
def test_wrong_options(arguments: list[str], what: str) -> None:
    done = edged(*arguments, "x.png")
    assert (done.returncode, done.stdout) == (2, "") and what in done.stderr


@needs_shared
@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("ssd_mobilenet_v1_1.0_coco_300_quant", "detector"),
        ("deeplabv3_mobilenet_v2_dm05_pascal_513_quant", "segmentation"),
        ("mobilenet_v1_1.0_224_quant_embedding_extractor", "embedding"),
    ],
)
def test_models_for_other_tasks_are_refused(tmp_path: Path, name: str, what: str) -> None:
    done = edged(*model(name), a_picture(tmp_path))
    assert (done.returncode, done.stdout) == (1, "")
    assert len(done.stderr.splitlines()) == 1 and what in done.stderr and name in done.stderr


def two_inputs(graph: Any) -> None:
    graph.inputs = [*graph.inputs, graph.inputs[0]]


def dynamic_height(graph: Any) -> None:
    graph.tensors[graph.inputs[0]].shapeSignature = [1, -1, -1, 3]


def grey_input(graph: Any) -> None:
    graph.tensors[graph.inputs[0]].shape = [1, 128, 128, 1]


def float16_input(graph: Any) -> None:
    graph.tensors[graph.inputs[0]].type = 1


def no_output(graph: Any) -> None:
    graph.outputs = []


@needs_shared
@pytest.mark.parametrize(
    ("change", "what"),
    [
        (two_inputs, "2 inputs"),
        (dynamic_height, "dynamic"),
        (grey_input, "1×128×128×1"),
        (float16_input, "float16"),
        (no_output, "0 outputs"),
    ],
)
def test_graphs_that_cannot_be_fed_a_picture_are_refused(tmp_path: Path, change: Callable[[Any], None], what: str) -> None:
    flatbuffers = pytest.importorskip("flatbuffers")
    schema = pytest.importorskip("ai_edge_litert.schema_py_generated")
    original = (SHARED / "models/mobilenet_v1_0.25_128_quant.tflite").read_bytes()
    model_ = schema.ModelT.InitFromPackedBuf(original, 0)
    change(model_.subgraphs[0])
    builder = flatbuffers.Builder(len(original) + 4096)
    builder.Finish(model_.Pack(builder), b"TFL3")
    path = tmp_path / "odd.tflite"
    path.write_bytes(builder.Output())
    done = edged("--model", path, "--labels", IMAGENET, a_picture(tmp_path))
    assert (done.returncode, done.stdout) == (1, "")
    assert len(done.stderr.splitlines()) == 1 and done.stderr.startswith(f"{path}: ") and what in done.stderr, done.stderr


@needs_shared
@pytest.mark.parametrize(
    ("count", "offset_known", "what"),
    [
        (1000, True, None),
        (1000, False, "1000 labels, but the model gives 1001"),
        (90, True, "90 labels, but the model gives 1001"),
        (0, True, "empty"),
    ],
)
def test_labels_are_counted(tmp_path: Path, count: int, offset_known: bool, what: str | None) -> None:
    """1000 labels for 1001 scores: added to where the card knows that row 0 is the background, else refused with both numbers."""
    labels = tmp_path / "labels.txt"
    labels.write_text("".join(f"{line}\n" for line in Path(IMAGENET).read_text().splitlines()[1 : count + 1]))
    file = SHARED / "models/mobilenet_v1_0.25_224.tflite"
    if not offset_known:  # the same graph, but not the file that the catalogue knows
        stranger = tmp_path / "stranger.tflite"
        stranger.write_bytes(file.read_bytes() + b"\0\0\0\0")
        file = stranger
    done = edged("--json", "--model", file, "--labels", labels, "--crop", "centre", SHARED / "pictures/parrot.jpg")
    if what is None:
        assert done.returncode == 0 and json.loads(done.stdout)["top"][0]["label"] == "macaw"
    else:
        assert (done.returncode, done.stdout) == (1, "") and len(done.stderr.splitlines()) == 1 and what in done.stderr


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "empty"),
        (b"hello\n" * 100, "not a .tflite file"),
        (None, "cannot be read"),
        (b"\x1c\0\0\0TFL3" + bytes(40), "damaged"),
    ],
)
def test_files_that_are_no_models(tmp_path: Path, content: bytes | None, what: str) -> None:
    path = tmp_path / "model.tflite"
    if content is not None:
        path.write_bytes(content)
    done = edged("--model", path, "--labels", path, a_picture(tmp_path))
    assert (done.returncode, done.stdout) == (1, "")
    assert len(done.stderr.splitlines()) == 1 and str(path) in done.stderr and what in done.stderr, done.stderr


@pytest.mark.parametrize("odd", ["/dev/zero", "pipe", "folder"])
@pytest.mark.parametrize("option", ["--model", "--labels"])
def test_what_is_no_file_is_not_waited_for(tmp_path: Path, option: str, odd: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    path = tmp_path / odd  # an absolute name stays as it is
    done = edged(*any_model(), option, path, a_picture(tmp_path))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"{path}: not a file") and len(done.stderr.splitlines()) == 1


def test_a_model_that_nobody_knows(tmp_path: Path) -> None:
    done = edged("--model", "mobilenet_v1_1.0_244", a_picture(tmp_path))
    assert done.returncode == 1 and "did you mean" in done.stderr and "Traceback" not in done.stderr


def test_ctrl_c_ends_it_quietly_and_wholly(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "edged", "classify", "--json", *any_model(), *[str(a_picture(tmp_path))] * 5000]
    heeded = lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)  # noqa: E731  # whoever runs the tests in the background ignores it
    running = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=heeded)
    assert running.stdout is not None and running.stdout.readline()
    (child,) = children(running.pid)
    running.send_signal(signal.SIGINT)
    _, said = running.communicate(timeout=HANG_S)
    assert (running.returncode, said.strip()) == (130, "")
    assert not alive(child)


def test_a_reader_that_leaves_ends_it_quietly(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "edged", "classify", "--json", *any_model(), *[str(a_picture(tmp_path))] * 5000]
    running = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert running.stdout is not None and running.stdout.readline() and running.stderr is not None
    running.stdout.close()
    assert running.wait(HANG_S) == 141
    assert running.stderr.read() == ""
    running.stderr.close()


def test_pictures_are_told_by_their_content(tmp_path: Path) -> None:
    misnamed = a_picture(tmp_path).rename(tmp_path / "picture.jpg")
    assert load_picture(misnamed).width == 128
    (tmp_path / "x.gif").write_bytes(b"GIF89a" + bytes(100))
    with pytest.raises(PictureError, match="is not a picture that edged reads"):
        load_picture(tmp_path / "x.gif")


def test_a_process_that_dies_is_told_by_its_signal(tmp_path: Path) -> None:
    child = ThrowAway("tests.contract.victim", {}, hears=ANSWERS)
    assert child.ask("echo", {"x": 1}, HANG_S) == ("echo", {"x": 1})
    with pytest.raises(SandboxError, match=r"crashed \(SIGSEGV\)"):
        child.ask("crash", {}, HANG_S)


def test_a_process_that_hangs_is_ended(tmp_path: Path) -> None:
    child = ThrowAway("tests.contract.victim", {}, hears=ANSWERS)
    with pytest.raises(SandboxError, match=r"no answer within 0\.2 s"):
        child.ask("hang", {}, 0.2)


def test_a_process_that_eats_memory_meets_its_limit(tmp_path: Path) -> None:
    child = ThrowAway("tests.contract.victim", {}, hears=ANSWERS)
    kind, told = child.ask("eat", {"mb": 4096}, HANG_S)
    child.close()
    assert (kind, told) == ("full", {})


@pytest.mark.parametrize("answer", ["[]", '{"x": 1}', "[" * 100_000, '{"kind": "echo", "x": -1}', "\\0", '{"kind": ["echo"]}'])
def test_an_answer_that_is_none_ends_the_process(answer: str) -> None:
    child = ThrowAway("tests.contract.victim", {}, hears=ANSWERS)
    with pytest.raises(SandboxError, match="an answer that is none of ours") as lost:
        child.ask("say", {"text": answer}, HANG_S)
    assert lost.value.how == "nonsense" and not lost.value.says_nothing
