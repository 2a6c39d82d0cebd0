"""Help, completion and man pages import every command: none brings a large or compiled library with it."""

import subprocess
import sys
from pathlib import Path

import edged

_IMPORTS = """
import importlib, sys
for name in sys.argv[1:]:
    importlib.import_module(f"edged.commands.{name}")
    large = ("pydantic", "numpy", "cv2", "paho", "rich", "ai_edge_litert", "microdot")
    print(name, *(library for library in large if library in sys.modules))
"""


def test_a_command_imports_its_libraries_when_it_runs() -> None:
    names = sorted(path.stem for path in (Path(edged.__file__).parent / "commands").glob("[a-z]*.py"))
    assert "demo" in names
    done = subprocess.run([sys.executable, "-c", _IMPORTS, *names], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n") == [*names, ""]
