"""The whole recipe on 200 pictures: features, head, one epoch of tuning (stopped and gone on with), the head anew, the file."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("torch", reason="PyTorch is not installed: make training-test")
pytest.importorskip("litert_torch", reason="litert-torch is not installed: make training-test")

import torch

from tests.shared import SHARED, needs_shared

TRAINING = Path(__file__).parents[2] / "models" / "training"
BASE = "mobilenet_v1_0.25_128_quant"
pytestmark = needs_shared


def run(script: str, *arguments: object) -> str:
    command = [sys.executable, str(TRAINING / script), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"}, timeout=600)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    """Folders of somebody's own, 25 in each of eight: no table beside them. Each class has its colour."""
    chance = np.random.default_rng(3)
    for n, folder in enumerate(("background", "person", "cat", "dog", "bird", "car", "bicycle", "truck")):
        (tmp_path / "own" / folder).mkdir(parents=True)
        for k in range(25):
            colour = np.array([(n & 1) * 200, (n & 2) * 100, (n & 4) * 50]) + 27
            picture = np.clip(colour + chance.normal(0, 20, (100, 120, 3)), 0, 255).astype(np.uint8)
            cv2.imwrite(str(tmp_path / "own" / folder / f"{k:03}.png"), picture)
    return tmp_path / "own"


def test_somebody_s_own_photographs_become_a_file(photographs: Path, tmp_path: Path) -> None:
    assert SHARED is not None
    work, models = tmp_path / "work", tmp_path / "models"
    work.mkdir()
    models.mkdir()
    base = SHARED / "models" / f"{BASE}.tflite"
    common = ("--data", photographs, "--work", work, "--base", base, "--name", "own_0.25_96")
    run("features.py", *common, "--px", 96)
    before = json.loads(run("head.py", *common).splitlines()[-1])
    assert before["val"]["mean"] > 0.8  # colours are easy
    run("tune.py", *common, "--to", "tuned", "--px", 96, "--views", 128)
    told = run("tune.py", *common, "--to", "tuned", "--px", 96, "--views", 256)  # 200 pictures once, and a little
    assert "goes on after 128 views" in told and json.loads(told.splitlines()[-1])["views"] == 256
    for kind in ("trunk.tflite", "features.npy", "more.npy"):
        (work / f"own_0.25_96.{kind}").unlink()
    checkpoint = work / "tuned.pt"
    run("features.py", *common, "--px", 96, "--checkpoint", checkpoint)
    run("head.py", *common, "--checkpoint", checkpoint)
    weight = {}
    for recipe in ("even", "near", "even,near,near"):
        run("head.py", *common, "--checkpoint", checkpoint, "--recipe", recipe, "--to", "tried")
        weight[recipe] = torch.load(work / "tried.head.pt", weights_only=True)["weight"]
    assert torch.allclose(weight["even,near,near"], (weight["even"] + 2 * weight["near"]) / 3, atol=1e-5)
    found = json.loads(
        run("ship.py", *common, "--px", 96, "--checkpoint", checkpoint, "--models", models, "--test").splitlines()[-1]
    )
    assert (models / "own_0.25_96.tflite").stat().st_size == found["bytes"]
    assert found["tuned"] == [f"conv_{n}" for n in range(4, 27)] and found["kept"] == [f"conv_{n}" for n in range(4)]
    assert found["test"]["mean"] > 0.8
    said = work / "said.npy"
    assert "1 files" in run("says.py", "--data", photographs, "--to", said, models / "own_0.25_96.tflite")
    run("tune.py", *common, "--to", "longer", "--from", checkpoint, "--teacher", said, "--px", 96, "--views", 64)
    longer = torch.load(work / "longer.pt", weights_only=True)
    assert (longer["before"], longer["done"]) == (4, 1)
    beside = ("--beside", models / "own_0.25_96.tflite", "--trust", 1)
    run("tune.py", *common, "--to", "beside", "--from", checkpoint, *beside, "--px", 96, "--views", 64)
    taught = torch.load(work / "beside.pt", weights_only=True)["net"]
    assert not torch.equal(taught["head.weight"], longer["net"]["head.weight"])  # other targets of the same views
    shutil.rmtree(work)


@pytest.mark.parametrize("px", [96, 64])
def test_who_stands_beside_says_it_of_the_very_view(photographs: Path, tmp_path: Path, px: int) -> None:
    """Cut, dark and tilted as it is; and where the network sees less of it, of the view before it is made smaller."""
    from collection import listed, stored
    from convert import Trunk, quantised, runner
    from published import published
    from tune import Lessons, as_bytes

    assert SHARED is not None
    base = SHARED / "models" / f"{BASE}.tflite"
    rows = listed(photographs)
    pictures, learn = stored(photographs, tmp_path, rows), np.array([row.split == "train" for row in rows])
    quantised(Trunk(published(base)), px, pictures[:4, :px, :px], tmp_path / "trunk.tflite")
    label = torch.nn.functional.one_hot(torch.tensor([row.label for row in rows]), 8).float()
    file = TRAINING.parent / "home_0.25_96.tflite"
    says = runner(file)
    for trust in (0.0, 1.0):
        lessons = Lessons(pictures, rows, label, learn, base, tmp_path / "trunk.tflite", px, 5, ([file], trust))
        views, wanted, _ = lessons.next()
        assert views.shape[2:] == (px, px)
        if trust == 0:
            assert (wanted.amax(1) == 1).all()  # the labels alone
        elif px == 96:
            said = np.stack([says(as_bytes(view)) for view in views.permute(0, 2, 3, 1).numpy()])
            assert np.allclose(wanted.numpy(), said, atol=1e-6)
        else:
            assert (wanted.amax(1) < 1).all() and torch.allclose(wanted.sum(1), torch.ones(len(wanted)), atol=1e-3)
