"""The Debian packages of this machine's kind, by apt itself, without a network. Needs the bed that package/build makes."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent / "package"
BED = Path(os.environ.get("EDGED_BEDS", "/var/tmp/edged-beds"), "package")
SUITES = ("bookworm", "trixie")

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or not all((BED / f"{suite}.deb").exists() for suite in SUITES),
    reason=f"no package bed in {BED}; `make bed-package` builds it (as root)",
)


@pytest.fixture
def newer(tmp_path: Path, suite: str) -> Path:
    """The same package with the next version, not compressed."""
    tree = tmp_path / "tree"
    subprocess.run(["dpkg-deb", "-R", BED / f"{suite}.deb", tree], check=True)
    control = tree / "DEBIAN/control"
    control.write_text(control.read_text().replace("~deb1", ".1~deb1", 1))
    subprocess.run(
        ["dpkg-deb", "--root-owner-group", "-Znone", "-b", tree, tmp_path / "newer.deb"], check=True, capture_output=True
    )
    shutil.rmtree(tree)
    return tmp_path / "newer.deb"


@pytest.mark.parametrize("suite", SUITES)
def test_installed_used_upgraded_removed_and_purged(suite, newer, album):
    life = [HERE / "run", suite, BED / f"{suite}.deb", newer, album]
    done = subprocess.run(life, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300, check=False)
    assert done.returncode == 0 and "== done" in done.stdout, done.stdout


@pytest.mark.skipif(shutil.which("lintian") is None, reason="no lintian")
@pytest.mark.parametrize("suite", SUITES)
def test_lintian_finds_no_error(suite):
    package = (BED / f"{suite}.deb").resolve()
    done = subprocess.run(["lintian", "--fail-on", "error", package], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
