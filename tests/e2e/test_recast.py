"""A uint8 model as a user meets it: it runs at once, and as its int8 sibling as soon as that is made, proven and faster."""

import hashlib
from pathlib import Path
from typing import Any

import tomlkit

from tests.e2e.running import edged_with, wait_for
from tests.shared import SHARED, needs_shared

pytestmark = needs_shared


def test_the_original_runs_at_once_and_the_sibling_when_it_is_proven(tmp_path, config, heard):
    assert SHARED is not None
    path = SHARED / "models/mobilenet_v1_0.5_160_quant.tflite"
    original = hashlib.sha256(path.read_bytes()).hexdigest()
    config["model"] = {"name": str(path), "labels": str(SHARED / "labels/imagenet_1001.txt")}

    def runs() -> list[tuple[str, str]]:
        told: list[dict[str, Any]] = heard.of("model")
        return [(one["sha256"], one["recast_of"]) for one in told]

    with edged_with(tmp_path, config) as edged:
        wait_for(runs, 60, "a model")
        assert runs()[0] == (original, "")
        wait_for(lambda: runs()[-1][1] == original, 120, "the sibling")
        told = heard.of("model")[-1]
        assert told["dtype"] == "int8" and told["card"] == heard.of("model")[0]["card"]
        made = Path(config["state_folder"]) / "recast" / f"{original}.tflite"
        assert hashlib.sha256(made.read_bytes()).hexdigest() == told["sha256"]
        before = len(heard.of("result"))
        wait_for(lambda: len(heard.of("result")) > before + 3, 20, "results of it")
        # the key turns it off while it runs, and on again
        for wish, runs_then in ((False, (original, "")), (True, (told["sha256"], original))):
            config["model"]["recast"] = wish
            _write(tmp_path, config)
            wait_for(lambda want=runs_then: runs()[-1] == want, 60, f"recast = {wish}")
        assert edged.end() == 0
    heard.messages.clear()
    with edged_with(tmp_path, config):
        wait_for(lambda: heard.of("result"), 60, "a result after a restart")
        assert runs()[-1] == (told["sha256"], original)
        assert not any("model" in fault["kind"] for one in heard.of("health") for fault in one["faults"])


def _write(folder: Path, config: dict[str, Any]) -> None:
    (folder / "new.toml").write_text(tomlkit.dumps(config))
    (folder / "new.toml").replace(folder / "edged.toml")
