"""The example of docs/teach.md, as it stands there, in a new folder."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

DOCUMENT = Path(__file__).parents[2] / "docs" / "teach.md"


def test_the_example_comes_to_what_the_document_says(tmp_path: Path) -> None:
    pytest.importorskip("skimage", reason="the photographs of the demo are not installed")
    section = DOCUMENT.read_text().split("## Try it", 1)[1].split("\n## ", 1)[0]
    shown, tried = re.findall(r"^```sh\n(.*?)^```", section, re.MULTILINE | re.DOTALL)
    around = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}

    def run(script: str) -> str:
        done = subprocess.run(["bash", "-e"], input=script, capture_output=True, text=True, cwd=tmp_path, env=around, check=False)
        assert done.returncode == 0, done.stderr[-2000:]
        return done.stdout

    told = run(shown)
    assert re.search(r"^  gravel: 1\.00 ", told, re.MULTILINE) and "run it: edged use ground" in told
    lines = run(tried).splitlines()
    for name in ("brick", "grass", "gravel"):
        said = [line for line in lines if f"try/{name}/" in line]
        assert len(said) == 4 and all(f": {name} " in line for line in said)
    (coffee,) = (line for line in lines if "coffee.png" in line)
    assert float(coffee.split()[-1]) < 0.5  # none of the three
