"""The README's commands on a Debian that was never used. Needs the bed that fresh/build makes, and the package index."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent / "fresh"
BED = Path(os.environ.get("EDGED_BEDS", "/var/tmp/edged-beds"), "fresh")

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or not (BED / "built").is_file(), reason=f"no fresh bed in {BED}; `make bed-fresh` builds it (as root)"
)


def test_an_ordinary_user_gets_all_set_up_by_the_two_commands():
    absent = "! command -v mosquitto && ! test -e /usr/sbin/mosquitto"
    life = [HERE / "run", absent, "make run", "make test", absent]
    said = ""
    with subprocess.Popen(life, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as running:
        for line in running.stdout or ():
            said += line
            sys.stdout.write(line)
    assert running.returncode == 0 and said.endswith("== done\n"), said[-5000:]
    assert " passed" in said
