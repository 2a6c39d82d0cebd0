"""The real places, /etc/edged and /var/lib/edged, empty and a test's own, in a mount namespace: what a service's commands see."""

import os
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

# /etc is laid over to have the place, and read only: several enter at once, and two mounts can't share a folder to write in.
_ENTER = """
set -e
mount --make-rprivate /
mount -t overlay overlay -o ro,lowerdir="$1/etc":/etc /etc
mount --bind "$1/etc/edged" /etc/edged
mount --bind "$1/lib" /var/lib
exec "${@:2}"
"""


def _works() -> bool:
    done = subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False)
    return os.geteuid() == 0 and done.returncode == 0


needs_own_folders = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("unshare") is None or not _works(), reason="no mount namespace here: it needs root"
)


class SystemFolders:
    """`command` is what runs its arguments with them in place of this machine's."""

    def __init__(self, folder: Path) -> None:
        """Not below a folder that is an overlay itself where the kernel has no overlay upon one."""
        self.folder = folder
        for name in ("etc/edged", "lib"):
            (folder / name).mkdir(parents=True)

    def command(self, *words: object) -> list[str]:
        return ["unshare", "--mount", "bash", "-c", _ENTER, "enter", str(self.folder), *map(str, words)]

    def run(self, *words: object, **kept: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(self.command(*words), capture_output=True, text=True, timeout=120, check=False, **kept)  # type: ignore[call-overload]

    def config(self, name: str, text: str) -> Path:
        """As it is named inside."""
        (self.folder / "etc/edged" / name).write_text(text)
        return Path("/etc/edged", name)

    def __str__(self) -> str:
        return shlex.quote(str(self.folder))
