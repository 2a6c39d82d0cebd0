"""From a lock to a folder of packages: download by hash, unpack, leave out what no Pi can use."""

import fnmatch
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

from suites import HERE, Suite, lock_file, pip_target

# A third of the size, and none of it is ever loaded: compilers for accelerators of telephones and laptops, tests.
LEFT_OUT = (
    "ai_edge_litert/libLiteRtWebGpuAccelerator.so",
    "ai_edge_litert/tools/apply_plugin_main",
    "ai_edge_litert/vendors/*",
    "numpy/*/tests/*",
    "numpy/tests/*",
    "*/__pycache__/*",
    "*.pyi",
)


def download(suite: Suite, arch: str, folder: Path) -> list[Path]:
    """The locked wheels, in a folder for this suite and machine alone; what is there is not fetched again.

    Raises CalledProcessError.
    """
    folder.mkdir(parents=True, exist_ok=True)
    places = ["--dest", str(folder), "--find-links", str(folder)]
    _pip("download", *places, *pip_target(suite, arch), "--requirement", str(lock_file(suite, arch)))
    found = {_identity(*wheel.name.split("-")[:2]): wheel for wheel in folder.glob("*.whl")}
    locked = [line.split()[0].split("==") for line in lock_file(suite, arch).read_text().splitlines() if "==" in line]
    return [found[_identity(*one)] for one in locked]


def _pip(verb: str, *options: str) -> None:
    always = ["--quiet", "--disable-pip-version-check", "--require-hashes", "--no-deps"]
    subprocess.run([sys.executable, "-m", "pip", verb, *always, *options], check=True)


def _identity(name: str, version: str) -> tuple[str, str]:
    return re.sub(r"[-_.]+", "-", name).lower(), version


def build_own(folder: Path) -> Path:
    """edged's own wheel, by the locked build tools."""
    tools = folder / "tools"
    locked = HERE / "locks" / "build.txt"
    _pip("install", "--root-user-action=ignore", "--upgrade", "--target", str(tools), "--requirement", str(locked))
    for old in folder.glob("edged-*.whl"):
        old.unlink()
    hatch = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    environment = {**os.environ, "PYTHONPATH": str(tools)}
    subprocess.run(hatch, check=True, cwd=HERE.parent, env=environment, capture_output=True)
    return next(folder.glob("edged-*.whl"))


def unpack(wheel: Path, site: Path) -> None:
    """Modules and their data; no scripts: /usr/bin/edged is the only command."""
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            if name.endswith("/") or any(fnmatch.fnmatch(name, pattern) for pattern in LEFT_OUT):
                continue
            inside = name
            if ".data/" in name.split("/", 1)[0] + "/":
                kind, _, inside = name.split("/", 1)[1].partition("/")
                if kind not in ("purelib", "platlib"):
                    continue
            target = site / inside
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(archive.read(name))
