"""The README's commands on a Debian that was never used. Needs the bed that fresh/build makes, and the package index."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent / "fresh"
README = Path(__file__).parents[2] / "README.md"
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


def test_quick_start_by_the_readmes_lines_is_an_event_after_few_commands():
    """clone, cd, and what the README says first; nothing is asked. Without a camera `edged init` ends with one sentence."""
    block = README.read_text().split("## Try it")[1].split("```sh\n")[1].split("```")[0]
    lines = [line.partition(" #")[0].strip() for line in block.splitlines() if line.strip()]
    assert len(["git clone", "cd", *lines]) <= 6
    init = ".venv/bin/edged init || [ $? = 69 ]"
    done = subprocess.run([HERE / "run", *lines, init], capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
    assert re.search(r"^edged/demo/event +entered cat ", done.stdout, re.MULTILINE), "an event in what edged watch shows"
    assert "next: edged init finds the camera and the broker" in done.stderr
    assert "no camera was found: " in done.stderr
