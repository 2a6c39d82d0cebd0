"""The Debian suites and processors that a package is made for, and what differs between them."""

from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Suite:
    name: str
    release: int
    python: str
    wants: tuple[str, ...]  # besides the dependencies of pyproject.toml


SUITES = {
    # apt's picamera2 and simplejpeg are compiled against NumPy 1.24 there: they run on any later 1.x and on no 2.x
    "bookworm": Suite("bookworm", 12, "3.11", ("numpy < 2", "opencv-python-headless < 4.12")),
    "trixie": Suite("trixie", 13, "3.13", ()),
}
MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}  # Debian's word → the wheels'
_GLIBCS = range(36, 16, -1)  # Bookworm's own is 2.36


def lock_file(suite: Suite, arch: str) -> Path:
    return HERE / "locks" / f"{suite.name}-{arch}.txt"


def pip_target(suite: Suite, arch: str) -> list[str]:
    """pip's options for wheels of another Python and another machine."""
    machine = MACHINES[arch]
    platforms = [f"manylinux_2_{minor}_{machine}" for minor in _GLIBCS] + [f"manylinux2014_{machine}"]
    options = ["--only-binary=:all:", "--implementation", "cp", "--python-version", suite.python]
    return options + [word for platform in platforms for word in ("--platform", platform)]
