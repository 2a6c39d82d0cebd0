"""Write packaging/locks anew: the newest wheels that suit each suite and machine, each with its hash.

    python packaging/lock.py                  all of them
    python packaging/lock.py trixie arm64     one

Run it to take updates on purpose, look at `git diff packaging/locks`, and let the beds judge. pip evaluates conditions like
`python_version < "3.12"` for the Python that runs it; none of our dependencies differs by one today, and the beds, which
import everything on the suite's own Python, would notice.
"""

import json
import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

from suites import HERE, MACHINES, SUITES, Suite, lock_file, pip_target

_HEADER = "# Made by packaging/lock.py; do not edit.\n"


def main() -> None:
    chosen = sys.argv[1:]
    project = tomllib.loads((HERE.parent / "pyproject.toml").read_text())
    dependencies = [*project["project"]["dependencies"], *project["project"]["optional-dependencies"]["page"]]
    for suite in SUITES.values():
        for arch in MACHINES:
            if not chosen or chosen == [suite.name, arch]:
                lock_file(suite, arch).write_text(_HEADER + resolve(suite, arch, dependencies))
    if not chosen:
        (HERE / "locks" / "build.txt").write_text(_HEADER + to_lines(project["build-system"]["requires"], []))


def resolve(suite: Suite, arch: str, dependencies: list[str]) -> str:
    # the one condition on the machine is true for both of ours
    wanted = [dependency.partition(";")[0].strip() for dependency in dependencies]
    return to_lines([*wanted, *suite.wants], pip_target(suite, arch))


def to_lines(wanted: list[str], options: list[str]) -> str:
    """`name==version --hash=sha256:…` of everything that `wanted` comes to, by name."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report.json")
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--ignore-installed"]
        command += ["--target", folder, "--report", str(report), *(options or ["--only-binary=:all:"]), *wanted]
        subprocess.run(command, check=True)
        found = json.loads(report.read_text())["install"]
    lines = []
    for one in found:
        about, sha256 = one["metadata"], one["download_info"]["archive_info"]["hashes"]["sha256"]
        name = re.sub(r"[-_.]+", "-", about["name"]).lower()
        lines.append(f"{name}=={about['version']} --hash=sha256:{sha256}\n")
    return "".join(sorted(lines))


if __name__ == "__main__":
    main()
