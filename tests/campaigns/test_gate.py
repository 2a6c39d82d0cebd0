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


def watched(gate: dict[str, float] | None) -> tuple[float, list[tuple[int, dict[str, int]]]]:
    """CPU ms a frame on the still scene; and of each frame that was classified its index and the account of all frames then."""
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
    classified, began, seen = list[tuple[int, dict[str, int]]](), (0, 0.0), 0
    spent_ms = 0.0
    while (message := pipe.receive()) is not None:
        kind, fields, _ = message
        if kind not in ("result", "gated"):
            continue
        seen = fields["frames"]["captured"]
        if kind == "result":
            classified.append((fields["index"], fields["frames"]))
        if seen >= 10 and not began[0]:
            began = seen, cpu_ms(process.pid)
        if seen >= CHANGE_AT and not spent_ms:
            spent_ms = (cpu_ms(process.pid) - began[1]) / (seen - began[0])
        if seen >= CHANGE_AT + 3 and classified[-1][0] >= CHANGE_AT:
            break
    process.kill()
    process.wait()
    pipe.close()
    return spent_ms, classified


@needs_shared
def test_nothing_of_a_still_scene_is_classified_and_a_change_is_seen_at_once():
    open_ms, every = watched(None)
    gated_ms, some = watched({"threshold": 0.02, "max_interval_s": 3600})
    indices = [index for index, _ in some]
    figures = {
        "cpu_ms_a_frame": {"always": round(open_ms, 2), "gate": round(gated_ms, 2)},
        "times_less": round(open_ms / max(gated_ms, 0.01), 1),
        "classified": {"always": len(every), "gate": indices},
        "changed_at": CHANGE_AT,
    }
    print(json.dumps(figures, indent=1))
    path = Path("build/figures/gate.json")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(figures, indent=1))
    # What that saves is a figure: it depends on what the machine takes for an inference. And where it does other things too, a
    # frame makes way for the next one before anybody has looked at it: then the first one after the change is a later one.
    (first, then), (changed, at) = some
    passed_by = [account["busy"] + account["stale"] for account in (then, at)]
    assert 0 <= first <= passed_by[0] and CHANGE_AT <= changed <= CHANGE_AT + passed_by[1], some
    assert all(account["gated"] == 0 for _, account in every)
