"""A uint8 model as a user meets it: it runs at once, and as its int8 sibling as soon as that is made, proven and faster."""

import hashlib
import json
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
    made = Path(config["state_folder"]) / "recast" / f"{original}.tflite"

    def runs() -> list[tuple[str, str]]:
        told: list[dict[str, Any]] = heard.of("model")
        return [(one["sha256"], one["recast_of"]) for one in told]

    with edged_with(tmp_path, config) as edged:
        wait_for(runs, 60, "a model")
        assert runs()[0] == (original, "")
        found = wait_for(lambda: _recast(Path(config["state_folder"])), 120, "what came of recasting it")
        sibling = hashlib.sha256(made.read_bytes()).hexdigest()
        assert found["reason"] == "" and found["sha256"] == sibling
        # which of the two is faster is the processor's, and so which one runs
        faster = (sibling, original) if found["recast_ms"] < found["original_ms"] else (original, "")
        wait_for(lambda: runs()[-1] == faster, 120, "the faster one")
        told = heard.of("model")[-1]
        assert told["dtype"] == ("int8" if told["recast_of"] else "uint8") and told["card"] == heard.of("model")[0]["card"]
        before = len(heard.of("result"))
        wait_for(lambda: len(heard.of("result")) > before + 3, 20, "results of it")
        # the key turns it off while it runs, and on again
        for wish, runs_then in ((False, (original, "")), (True, faster)):
            config["model"]["recast"] = wish
            _write(tmp_path, config)
            wait_for(lambda want=runs_then: runs()[-1] == want, 60, f"recast = {wish}")
        assert edged.end() == 0
    heard.messages.clear()
    with edged_with(tmp_path, config):
        wait_for(lambda: heard.of("result"), 60, "a result after a restart")
        # an original that has run for a minute was kept as what ran well, and goes on until the sibling is proven again
        wait_for(lambda: runs()[-1:] == [faster], 60, "the faster one again")
        assert not any("model" in fault["kind"] for one in heard.of("health") for fault in one["faults"])


def _recast(state: Path) -> dict[str, Any] | None:
    """What the ledger says of the only model that was recast; None before that."""
    ledger = state / "measurements.json"
    recasts = json.loads(ledger.read_text())["recasts"] if ledger.exists() else {}
    return next(iter(recasts.values()), None)


def _write(folder: Path, config: dict[str, Any]) -> None:
    (folder / "new.toml").write_text(tomlkit.dumps(config))
    (folder / "new.toml").replace(folder / "edged.toml")
