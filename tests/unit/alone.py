"""What starts a Python process of edged's fails the test that did it. (ctypes asks ldconfig where a library is.)"""

import sys
from collections.abc import Iterator
from typing import Any

import pytest

_watching = False


def _see(event: str, details: tuple[Any, ...]) -> None:
    if _watching and event in ("subprocess.Popen", "os.fork", "os.posix_spawn") and "ldconfig" not in str(details):
        raise AssertionError(f"this test starts a process ({event})")


sys.addaudithook(_see)


@pytest.fixture(autouse=True)
def no_process() -> Iterator[None]:
    global _watching
    _watching = True
    yield
    _watching = False
