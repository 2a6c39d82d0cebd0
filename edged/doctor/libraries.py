"""The native libraries, loaded in a child that may crash in our place: there, in which version, from where, and do they fit."""

import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from edged.doctor.finding import Finding, fail, ok, skipped, warn

LIMIT_S = 40.0  # picamera2 takes ten seconds from a slow card
_RUNTIMES = ("tflite_runtime.interpreter", "ai_edge_litert.interpreter")  # in the classifier's order
_CAMERA = ("libcamera", "picamera2")
_APTS_OWN = Path("/usr/lib/python3/dist-packages/picamera2")
_INSTALL = "sudo apt install --no-install-recommends python3-picamera2"
_NAMES = ("numpy", "cv2", *_RUNTIMES, "colours")
# what numpy, and those that were built against it, say when they do not fit
_NUMPY_WORDS = (
    "numpy.dtype size changed",
    "compiled using NumPy 1",
    "_ARRAY_API",
    "numpy.core.multiarray",
    "numpy.core.umath",
    "ABI version",
)
_OLD_WANTED = ("got 88 from PyObject", "compiled using NumPy 1", "_ARRAY_API", "numpy.core.multiarray", "numpy.core.umath")


@dataclass(frozen=True, slots=True)
class Presence:
    """What came of loading one library; `error` is empty when it loaded."""

    error: str = ""
    absent: bool = False
    file: str = ""
    version: str = ""
    distribution: str = ""
    swapped: str = ""


def load_libraries(kind: str) -> dict[str, Presence]:
    """Loads what a camera of this kind ("": unknown) and the classifier need, in a child. Up to LIMIT_S seconds; never raises."""
    names = (*_NAMES, *(_CAMERA if kind == "picamera2" else ()))
    found: dict[str, Presence] = {}
    while rest := [name for name in names if name not in found]:
        said, ended = _ask(rest)
        last = ""
        for line in said:
            if "begins" in line:
                last = str(line["begins"])
            elif "module" in line:
                found[str(line["module"])] = _to_presence(line)
        if last and last not in found:
            found[last] = Presence(error=ended)
        elif not last:  # the child could not even begin
            return found | {name: Presence(error=ended or "could not be looked at") for name in rest}
    return found


def check_libraries(found: Mapping[str, Presence], kind: str, prefix: str = sys.prefix) -> Iterator[Finding]:
    yield _check_numpy(found, prefix)
    yield _check_opencv(found.get("cv2", Presence(absent=True, error="absent")), prefix)
    yield _check_runtime(found, prefix)
    yield _check_colours(found.get("colours", Presence()), prefix)
    if kind != "picamera2":
        yield skipped("camera-library", f"camera.kind = {kind} needs none of its own" if kind else "see config")
    else:
        yield _check_picamera2(found, prefix)


def pip(words: str, prefix: str = sys.prefix) -> str:
    """The command for the environment that edged runs in."""
    if prefix.startswith("/usr"):
        return "sudo apt install --reinstall edged"
    rights = "" if os.access(prefix, os.W_OK) else "sudo "
    return f"{rights}{shlex.quote(f'{prefix}/bin/python')} -m pip {words}"


def _ask(names: list[str]) -> tuple[list[dict[str, object]], str]:
    """What the child said, and how it ended."""
    command, is_late = [sys.executable, "-m", "edged.vision.presence", *names], False
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "1", "OPENCV_LOG_LEVEL": "SILENT", "LIBCAMERA_LOG_LEVELS": "*:FATAL"}
    try:
        child = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=LIMIT_S, env=environment, check=False
        )
        code, output, last = child.returncode, child.stdout, child.stderr
    except subprocess.TimeoutExpired as late:
        code, output, last, is_late = -signal.SIGKILL, late.stdout or b"", f"it did not end within {LIMIT_S:g} s".encode(), True
    except OSError as error:
        return [], f"no child could be started: {error.strerror}"
    said = []
    for line in output.decode(errors="replace").splitlines():
        try:
            told = json.loads(line)
        except ValueError:
            continue  # a library that talks
        if isinstance(told, dict):
            said.append(told)
    ended = (last.decode(errors="replace").strip().splitlines() or [""])[-1][:200]
    if code < 0 and not is_late:
        ended = f"it crashes ({signal.Signals(-code).name})"
    return said, ended or f"it ended with exit code {code}"


def _to_presence(line: dict[str, object]) -> Presence:
    words = {key: str(line.get(key, "")) for key in ("error", "file", "version", "distribution", "swapped")}
    return Presence(**words, absent=line.get("missing") == str(line["module"]).partition(".")[0])


def _check_numpy(found: Mapping[str, Presence], prefix: str) -> Finding:
    numpy = found.get("numpy", Presence(error="absent"))
    for name, one in {"numpy": numpy, **found}.items():
        if any(word in one.error for word in _NUMPY_WORDS):
            old = any(word in one.error for word in _OLD_WANTED)
            wanted = "'numpy<2' 'opencv-python-headless<4.12'" if old else "--upgrade 'numpy>=2'"
            built = "before numpy 2" if old else "numpy 2"
            return fail(
                "numpy",
                f"{numpy.version or 'numpy'} does not fit {name}, which was built for {built}",
                pip(f"install {wanted}", prefix),
            )
    if numpy.error:
        return fail("numpy", f"does not load: {numpy.error}", pip("install --force-reinstall numpy", prefix))
    return ok("numpy", f"{numpy.version} ({origin(numpy.file)})")


def _check_opencv(cv2: Presence, prefix: str) -> Finding:
    if cv2.error and not any(word in cv2.error for word in _NUMPY_WORDS):
        cure = pip("install --force-reinstall --no-deps opencv-python-headless", prefix)
        if "libGL" in cv2.error or "libgthread" in cv2.error:  # the one with windows, on a system without a screen
            cure = f"{pip('uninstall -y opencv-python', prefix)}\n{cure}"
        return fail("opencv", "is not installed" if cv2.absent else f"does not load: {cv2.error}", cure)
    return skipped("opencv", "see numpy") if cv2.error else ok("opencv", f"{cv2.version} ({origin(cv2.file)})")


def _check_runtime(found: Mapping[str, Presence], prefix: str) -> Finding:
    """The classifier takes the first that loads."""
    here = {name: one for name in _RUNTIMES if (one := found.get(name)) is not None and not one.absent}
    for one in here.values():
        if not one.error:
            return ok("runtime", f"{one.distribution} {one.version} ({origin(one.file)})")
    cure = pip("install --force-reinstall --no-deps ai-edge-litert", prefix)
    if not here:
        return fail("runtime", "no TFLite runtime is installed", pip("install ai-edge-litert", prefix))
    name, one = next(iter(here.items()))
    if any(word in one.error for word in _NUMPY_WORDS):
        return skipped("runtime", "see numpy")
    return fail("runtime", f"{name.partition('.')[0]} does not load: {one.error}", cure)


def _check_colours(colours: Presence, prefix: str) -> Finding:
    if colours.error:
        return skipped("colour-order", "see opencv and numpy")
    if colours.swapped:
        cure = pip("install --force-reinstall --no-deps opencv-python-headless", prefix)
        return fail("colour-order", f"red does not come out as red from {colours.swapped}", cure)
    return ok("colour-order", "red comes out as red from every layout that a camera gives")


def _check_picamera2(found: Mapping[str, Presence], prefix: str) -> Finding:
    """Both from apt: pip's libcamera does not know the Pi's ISP, and each libcamera takes one version of picamera2."""
    libcamera, picamera2 = (found.get(name, Presence(error="absent", absent=True)) for name in _CAMERA)
    for one in (libcamera, picamera2):
        if one.distribution and one is libcamera and origin(one.file) == "pip":
            cure = pip(f"uninstall -y {one.distribution}", prefix)
            return fail("camera-library", f"libcamera {one.version} comes from pip, which does not know the Pi's cameras", cure)
    if libcamera.absent or picamera2.absent:
        missing = " and ".join(name for name, one in zip(_CAMERA, (libcamera, picamera2), strict=True) if one.absent)
        if _APTS_OWN.is_dir() and prefix != "/usr":
            let_in = "s/^include-system-site-packages.*/include-system-site-packages = true/"
            cure = f"sed -i '{let_in}' {shlex.quote(f'{prefix}/pyvenv.cfg')}"
            return fail(
                "camera-library", f"{missing}: apt's is here, but this environment does not look at the system's packages", cure
            )
        return fail("camera-library", f"{missing}: not installed", _INSTALL)
    if any(word in libcamera.error + picamera2.error for word in _NUMPY_WORDS):
        return skipped("camera-library", "see numpy")
    for name, one in zip(_CAMERA, (libcamera, picamera2), strict=True):
        if one.error:
            return fail(
                "camera-library",
                f"{name} does not load: {one.error}",
                "sudo apt install --reinstall python3-libcamera python3-picamera2",
            )
    parts = {"picamera2": picamera2, "libcamera": libcamera}
    said = ", ".join(f"{name} {one.version or 'of unknown version'} ({origin(one.file)})" for name, one in parts.items())
    if origin(picamera2.file) == "pip":
        cure = pip("uninstall -y picamera2", prefix) + ("" if _APTS_OWN.is_dir() else f"\n{_INSTALL}")
        return warn("camera-library", f"{said}: pip's picamera2 may want another libcamera than the system's", cure)
    return ok("camera-library", said)


def origin(file: str) -> str:
    return "apt" if "/dist-packages/" in file else "pip" if "/site-packages/" in file else "own" if file else "unknown"
