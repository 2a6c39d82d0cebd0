"""A child dies with its parent, and does not begin where the parent is already gone."""

import os
import subprocess
import sys
import time
from pathlib import Path

CHILD = """import sys, time
from edged.process.lifeline import die_with
die_with(int(sys.argv[1]))
print("tied", flush=True)
time.sleep(600)"""
PARENT = f"""import os, subprocess, sys
child = subprocess.Popen([sys.executable, "-c", {CHILD!r}, str(os.getpid())], stdout=subprocess.PIPE)
child.stdout.readline()
print(child.pid, flush=True)
sys.stdin.read()"""


def test_a_child_dies_with_its_parent() -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        child = Path("/proc", parent.stdout.readline().decode().strip())
        assert is_alive(child)
        parent.kill()
        until = time.monotonic() + 30
        while is_alive(child) and time.monotonic() < until:
            parent.poll()
    assert not is_alive(child)


def test_a_child_whose_parent_is_gone_ends_at_once() -> None:
    done = subprocess.run([sys.executable, "-c", CHILD, str(os.getpid() + 1)], capture_output=True, timeout=60)
    assert (done.returncode, done.stdout) == (1, b"")


def is_alive(process: Path) -> bool:
    """A zombie that nobody has waited for is dead."""
    try:
        return (process / "stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False
