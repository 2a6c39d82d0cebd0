"""A camera that fails: said within seconds and by its name, healed without the broker noticing."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.running import Edged, Heard, edged_with, promised, wait_for, wait_promised
from tests.fault_camera import FAULTS
from tests.models import any_model_config
from tests.stand_in import PYTHONPATH

SAID_WITHIN_S, BACK_WITHIN_S = 6, 15


class Rig:
    """A daemon whose camera fails when told to."""

    def __init__(self, fault_file: Path, edged: Edged, heard: Heard) -> None:
        self.file, self.edged, self.heard = fault_file, edged, heard

    def fail(self, fault: str) -> None:
        """Whole at once: the camera may read at any moment."""
        new = self.file.with_suffix(".new")
        new.write_text(fault)
        new.rename(self.file)

    def camera(self) -> dict:
        return (self.heard.of("camera") or [{"state": "", "fault": ""}])[-1]

    def wait_ok(self, deadline_s: float = 30) -> None:
        results = len(self.heard.of("result"))
        ended = self.edged.process.poll
        wait_for(lambda: self.camera()["state"] == "ok" or ended() is not None, deadline_s, "the camera is back")
        assert ended() is None, self.edged.said.read_text()[-2000:]
        wait_for(lambda: len(self.heard.of("result")) > results, deadline_s, "results are back")

    def wait_back(self) -> None:
        began_s = time.monotonic()
        self.wait_ok()
        promised("the camera is back", time.monotonic() - began_s, BACK_WITHIN_S)


@pytest.fixture
def kind() -> str:
    return "v4l2"


@pytest.fixture
def rig(tmp_path: Path, config: dict, heard: Heard, kind: str) -> Iterator[Rig]:
    fault_file = tmp_path / "fault"
    fault_file.write_text("")
    config["camera"] = {"kind": kind, "source": "/dev/video0" if kind == "v4l2" else "0", "fps": 20.0, "frozen_s": 2.0}
    config["model"] = any_model_config()
    stand_in = {
        "EDGED_TESTS_CAMERA": "tests.fault_camera:FaultCamera",
        "EDGED_FAULT_FILE": str(fault_file),
        "PYTHONPATH": PYTHONPATH,
    }
    with edged_with(tmp_path, config, environment=os.environ | stand_in) as edged:
        rig = Rig(fault_file, edged, heard)
        rig.wait_ok()
        yield rig


@pytest.mark.parametrize("fault", sorted(FAULTS))
def test_a_fault_is_named_and_healed(rig, fault):
    rig.fail("read_error" if fault == "block_open" else fault)  # a camera that hangs as it is opened was lost before
    if fault == "block_open":
        wait_promised(lambda: rig.camera()["state"] == "lost", SAID_WITHIN_S, "lost")
        rig.fail("block_open")
        wait_for(lambda: rig.camera()["fault"] == "hang", 30, "the hang is named")
    else:
        wait_promised(lambda: rig.camera()["fault"] == FAULTS[fault], SAID_WITHIN_S, f"{fault} is named")
    said = rig.camera()
    assert said["state"] == ("frozen" if fault == "same" else "lost")
    assert said["reason"]
    wait_for(lambda: [told["label"] for told in rig.heard.of("state")][-1:] in ([], ["unknown"]), 5, "nothing is claimed")
    rig.fail("")
    rig.wait_back()
    assert rig.heard.of("status") == ["online"]
    assert rig.edged.end() == 0


@pytest.mark.parametrize("kind", ["picamera2"])
def test_the_pi_camera_gets_a_new_process_and_after_some_of_them_advice(rig):
    first = rig.edged.vision_pid()
    rig.fail("read_error")
    wait_promised(lambda: rig.camera()["fault"] == "read_error", SAID_WITHIN_S, "the fault is named")
    wait_for(lambda: "cable" in rig.camera()["reason"], 40, "advice after several processes")
    assert rig.camera()["fault"] == "read_error"
    rig.fail("")
    rig.wait_back()
    assert rig.edged.vision_pid() != first
    # the fault, and the advice; not each attempt. The end of what was seen names the camera too, in another line
    said = [line for line in rig.edged.said.read_text().splitlines() if line.startswith("WARNING camera lost: ")]
    assert len(said) == 2 and "cable" not in said[0] and "cable" in said[1], said
    assert rig.heard.of("status") == ["online"]


def test_a_covered_lens_is_a_hint_and_a_slow_camera_is_no_fault(rig):
    rig.fail("black")
    wait_for(lambda: rig.camera()["fault"] == "dark", 15, "the hint")
    assert rig.camera()["state"] == "ok"
    rig.fail("slow")
    wait_for(lambda: rig.camera() == rig.camera() | {"state": "ok", "fault": ""}, 15, "lit again")
    rig.wait_ok()
    assert {told["state"] for told in rig.heard.of("camera")} <= {"starting", "ok"}
