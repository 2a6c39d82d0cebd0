"""What the gate saves on a still scene, and that it lets a change through at once."""

import json
import os
import subprocess
import sys
from pathlib import Path

from edged.process.pipe import Pipe
from tests.shared import SHARED, needs_shared
from tests.stand_in import PYTHONPATH

CHANGE_AT, FPS = 100, 10.0
TICK_MS = 1000 / os.sysconf("SC_CLK_TCK")


def cpu_ms(pid: int) -> float:
    """Of all its threads, in user and kernel."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * TICK_MS


def watched(gate: dict[str, float] | None) -> tuple[float, list[int]]:
    """CPU ms a frame on the still scene; and the indices of the frames that were classified."""
    assert SHARED is not None
    pipe, theirs = Pipe.pair()
    command = [sys.executable, "-m", "edged.vision", str(os.getpid()), str(theirs.fileno())]
    stand_in = {
        "EDGED_TESTS_CAMERA": "tests.still_camera:StillCamera",
        "EDGED_CHANGE_AT": str(CHANGE_AT),
        "PYTHONPATH": PYTHONPATH,
    }
    process = subprocess.Popen(command, pass_fds=(theirs.fileno(),), env=os.environ | stand_in, stderr=subprocess.DEVNULL)
    theirs.close()
    model = SHARED / "models/mobilenet_v1_1.0_224_quant.tflite"
    pipe.send("load", {"path": str(model), "sha256": "", "labels": 1001, "output": None, "threads": 1})
    while (message := pipe.receive()) is not None and message[0] != "loaded":
        pass
    camera = {"kind": "v4l2", "source": "still", "fps": FPS}
    pipe.send("configure", {"camera": camera, "region": [0, 0, 1, 1], "crop": "full", "max_age_ms": 2000, "gate": gate})
    indices, began, seen = list[int](), (0, 0.0), 0
    spent_ms = 0.0
    while (message := pipe.receive()) is not None:
        kind, fields, _ = message
        if kind not in ("result", "gated"):
            continue
        seen = fields["frames"]["captured"]
        if kind == "result":
            indices.append(fields["index"])
        if seen >= 10 and not began[0]:
            began = seen, cpu_ms(process.pid)
        if seen >= CHANGE_AT and not spent_ms:
            spent_ms = (cpu_ms(process.pid) - began[1]) / (seen - began[0])
        if seen >= CHANGE_AT + 3:
            break
    process.kill()
    process.wait()
    pipe.close()
    return spent_ms, indices


@needs_shared
def test_nothing_of_a_still_scene_is_classified_and_a_change_is_seen_at_once():
    open_ms, all_of_them = watched(None)
    gated_ms, some = watched({"threshold": 0.02, "max_interval_s": 3600})
    figures = {
        "cpu_ms_a_frame": {"always": round(open_ms, 2), "gate": round(gated_ms, 2)},
        "times_less": round(open_ms / max(gated_ms, 0.01), 1),
        "classified": {"always": len(all_of_them), "gate": some},
        "changed_at": CHANGE_AT,
    }
    print(json.dumps(figures, indent=1))
    path = Path("build/figures/gate.json")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(figures, indent=1))
    assert some == [0, CHANGE_AT]  # what that saves is a figure: it depends on what the machine takes for an inference
    assert len(all_of_them) > CHANGE_AT
