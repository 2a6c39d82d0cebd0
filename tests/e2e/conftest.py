import importlib.resources
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.judge_demo import SHOWN
from tests.e2e.running import Broker, Heard


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    broker = Broker(tmp_path)
    yield broker
    broker.end()


@pytest.fixture
def heard(broker: Broker) -> Iterator[Heard]:
    heard = Heard(broker.port)
    yield heard
    heard.close()


@pytest.fixture
def album(tmp_path: Path) -> Path:
    """Each photograph four times in a row, as a thing that stays before the camera."""
    album = tmp_path / "album"
    album.mkdir()
    for number, name in enumerate(SHOWN):
        for again in range(4):
            (album / f"{number}{again}_{name}.png").symlink_to(Path(str(importlib.resources.files("skimage.data"))) / f"{name}.png")
    return album


@pytest.fixture
def config(tmp_path: Path, broker: Broker, album: Path) -> dict:
    return {
        "device": "test",
        "state_folder": str(tmp_path / "state"),
        "camera": {"kind": "pictures", "source": str(album), "fps": 10.0, "show_s": 0.0},
        "decision": {"ignore": [], "hold_s": 0.1, "enter": 0.4, "leave": 0.3, "margin": 0.05},
        "mqtt": {"host": "127.0.0.1", "port": broker.port, "result_fps": 10.0},
    }
