"""Commands that mend the config, and what libraries say when they do not fit."""

import subprocess
from pathlib import Path

import pytest

from edged.config.source import load_source
from edged.doctor.finding import Finding
from edged.doctor.libraries import Presence, check_libraries, load_libraries
from edged.doctor.mosquitto import Mosquitto, listener_lines
from edged.doctor.site import Site
from edged.doctor.toml_cure import to_comment_out, to_set

WELL = {
    "numpy": Presence(version="2.2", file="/usr/lib/python3/dist-packages/numpy/__init__.py"),
    "cv2": Presence(version="4.13", file="/v/site-packages/cv2/__init__.py"),
    "tflite_runtime.interpreter": Presence(error="No module named 'tflite_runtime'", absent=True),
    "ai_edge_litert.interpreter": Presence(version="2.1", distribution="ai-edge-litert", file="/v/site-packages/x.py"),
    "colours": Presence(),
    "libcamera": Presence(file="/usr/lib/python3/dist-packages/libcamera/__init__.py"),
    "picamera2": Presence(version="0.3.31", file="/usr/lib/python3/dist-packages/picamera2/__init__.py"),
}
OLD = "numpy.dtype size changed, may indicate binary incompatibility. Expected 96 from C header, got 88 from PyObject"
NEW = "numpy.dtype size changed, may indicate binary incompatibility. Expected 88 from C header, got 96 from PyObject"


def look(kind: str = "picamera2", prefix: str = "/v", **changed: Presence) -> dict[str, Finding]:
    return {one.check: one for one in check_libraries(WELL | changed, kind, prefix)}


def test_all_is_well() -> None:
    assert {one.state for one in look().values()} == {"ok"}
    assert look("v4l2")["camera-library"].state == "skipped"


@pytest.mark.parametrize(
    ("said", "wanted"), [(OLD, "'numpy<2'"), (NEW, "'numpy>=2'"), ("A module that was compiled using NumPy 1.x", "<2")]
)
def test_a_numpy_that_does_not_fit(said: str, wanted: str) -> None:
    found = look(picamera2=Presence(error=said))
    assert found["numpy"].state == "fail" and "picamera2" in found["numpy"].found and wanted in found["numpy"].cure
    assert found["camera-library"].state == "skipped"
    assert look(cv2=Presence(error=said))["opencv"].state == "skipped"


def test_libraries_that_are_absent_foreign_or_broken() -> None:
    absent = Presence(error="No module named 'x'", absent=True)
    assert "ai-edge-litert" in look(**{"ai_edge_litert.interpreter": absent})["runtime"].cure
    assert "apt install --reinstall edged" in look(prefix="/usr/lib/edged", cv2=absent)["opencv"].cure
    windows = look(cv2=Presence(error="libGL.so.1: cannot open shared object file"))["opencv"]
    assert "uninstall -y opencv-python\n" in windows.cure
    crashed = look(**{"ai_edge_litert.interpreter": Presence(error="it crashes (SIGILL)")})["runtime"]
    assert crashed.state == "fail" and "SIGILL" in crashed.found
    pips = Presence(file="/v/site-packages/libcamera/__init__.py", distribution="rpi-libcamera", version="0.1")
    assert "uninstall -y rpi-libcamera" in look(libcamera=pips)["camera-library"].cure
    assert look(picamera2=Presence(file="/v/site-packages/picamera2/__init__.py"))["camera-library"].state == "warn"
    assert "python3-picamera2" in look(libcamera=absent, picamera2=absent, prefix="/usr")["camera-library"].cure
    assert "bgr" in look(colours=Presence(swapped="bgr"))["colour-order"].found


def test_a_library_that_takes_its_process_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in for a wheel of another processor, in the place of the runtime that is looked for first."""
    (tmp_path / "tflite_runtime").mkdir()
    (tmp_path / "tflite_runtime/__init__.py").write_text("import os, signal; os.kill(os.getpid(), signal.SIGILL)\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    found = load_libraries("pictures")
    assert found["tflite_runtime.interpreter"].error == "it crashes (SIGILL)"
    assert found["ai_edge_litert.interpreter"].version and not found["numpy"].error and not found["colours"].swapped


CONFIGS = {
    "[mqtt]\nhost = 'x'\n": "[mqtt]\nclient_id = \"n\"\nhost = 'x'\n",
    "[mqtt]\nclient_id = 'o'  # old\nport = 1\n": '[mqtt]\nclient_id = "n"\nport = 1\n',
    "device = 'd'\n": "device = 'd'\n\n[mqtt]\nclient_id = \"n\"\n",
}


@pytest.mark.parametrize("before", CONFIGS)
def test_a_key_is_set_where_it_stands(tmp_path: Path, before: str) -> None:
    file = tmp_path / "it's my.toml"
    file.write_text(before)
    cure = to_set(Site(), load_source(file), "mqtt", "client_id", '"n"')
    subprocess.run(cure.replace("sudo ", ""), shell=True, check=True, stdout=subprocess.DEVNULL)
    assert file.read_text() == CONFIGS[before]


@pytest.mark.parametrize("text", ["mqtt = { host = 'x' }\n", "mqtt.host = 'x'\n", "[mqtt]\nclient_id = '''\nx'''\n"])
def test_what_a_line_editor_can_not_do_is_left_to_a_person(tmp_path: Path, text: str) -> None:
    file = tmp_path / "edged.toml"
    file.write_text(text)
    cure = to_set(Site(), load_source(file), "mqtt", "client_id", '"n"')
    assert cure.startswith("# set mqtt.client_id") and str(file) in cure


def test_faulty_lines_are_commented_out(tmp_path: Path) -> None:
    file = tmp_path / "edged.toml"
    file.write_text("[camera]\nfsp = 5\nfps = 3\nregion = [\n1]\nkind = 'x'\n")
    subprocess.run(to_comment_out(Site(), str(file), [6, 2]).replace("sudo ", ""), shell=True, check=True)
    assert file.read_text() == "[camera]\n#fsp = 5\nfps = 3\nregion = [\n1]\n#kind = 'x'\n"
    assert "+4" in to_comment_out(Site(), str(file), [4]) and "sed" not in to_comment_out(Site(), str(file), [])


def test_who_may_log_in_at_the_broker_is_not_undone() -> None:
    assert "allow_anonymous true" in listener_lines(1883, Mosquitto(installed=True))
    decided = Mosquitto(installed=True, options={"password_file": ("/etc/mosquitto/passwd", "/etc/mosquitto/conf.d/a.conf")})
    assert "allow_anonymous" not in listener_lines(1883, decided)
    assert "conf.d/edged-listener.conf" in listener_lines(1883, decided)  # a file of our own: nobody else's is written over


@pytest.mark.parametrize("value", ['"a&c"', '"a|c"', r'"a\\c"'])
def test_a_value_is_set_as_it_is(tmp_path: Path, value: str) -> None:
    path = tmp_path / "edged.toml"
    path.write_text('[mqtt]\nclient_id = "x"\n')
    command = to_set(Site(), load_source(path), "mqtt", "client_id", value)
    subprocess.run(["sh", "-c", command.replace("sudo ", "")], check=True)
    assert path.read_text() == f"[mqtt]\nclient_id = {value}\n"
