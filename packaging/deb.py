"""edged as a Debian package with everything inside: python packaging/deb.py SUITE ARCH → dist/edged_VERSION~debN_ARCH.deb

Needs Python 3.11 with pip, dpkg-deb, git (for the date of the last commit) and the package index; no root, and no machine of
that kind.
"""

import argparse
import fcntl
import gzip
import hashlib
import os
import re
import shutil
import subprocess
import sys
import textwrap
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path

import wheels
from sbom import about, licence, to_sbom
from suites import HERE, MACHINES, SUITES, Suite

CHECKOUT = HERE.parent
MAINTAINER = "edged maintainers <maintainers@edged.example>"
WORK = CHECKOUT / "build" / "deb"
PRIVATE = "usr/lib/edged"
INSTALLED = {  # in the checkout → in the package
    "systemd/edged.service": "usr/lib/systemd/system/edged.service",
    "systemd/edged-metrics.service": "usr/lib/systemd/system/edged-metrics.service",
    "systemd/edged-metrics.timer": "usr/lib/systemd/system/edged-metrics.timer",
    "systemd/edged@.service": "usr/lib/systemd/system/edged@.service",
    "systemd/edged-page.service": "usr/lib/systemd/system/edged-page.service",
    "systemd/edged.sysusers": "usr/lib/sysusers.d/edged.conf",
    "systemd/edged.tmpfiles": "usr/lib/tmpfiles.d/edged.conf",
    "config/edged.toml": "etc/edged/edged.toml",
    "config/door.toml": "usr/share/doc/edged/examples/door.toml",
    "config/network-camera.toml": "usr/share/doc/edged/examples/network-camera.toml",
    "config/pictures.toml": "usr/share/doc/edged/examples/pictures.toml",
    "config/usb-camera.toml": "usr/share/doc/edged/examples/usb-camera.toml",
    "packaging/debian/edged": "usr/bin/edged",
    "packaging/debian/lintian-overrides": "usr/share/lintian/overrides/edged",
}
EXECUTABLE = {"usr/bin/edged", "DEBIAN/postinst", "DEBIAN/prerm", "DEBIAN/postrm"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("suite", choices=SUITES)
    parser.add_argument("arch", choices=MACHINES)
    given = parser.parse_args()
    WORK.mkdir(parents=True, exist_ok=True)
    with (WORK / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # one at a time: they share edged's own wheel
        sys.stdout.write(f"{build(SUITES[given.suite], given.arch)}\n")


def build(suite: Suite, arch: str) -> Path:
    dist = CHECKOUT / "dist"
    tree = WORK / f"{suite.name}-{arch}"
    shutil.rmtree(tree, ignore_errors=True)
    epoch = last_commit()
    os.environ["SOURCE_DATE_EPOCH"] = str(epoch)
    os.umask(0o022)
    own = wheels.build_own(WORK)
    bundled = wheels.download(suite, arch, WORK / "wheels" / tree.name)
    version = f"{own.name.split('-')[1]}~deb{suite.release}"
    site = lay_out(tree, suite, [own, *bundled])
    write_documents(tree, site, version, epoch, bundled)
    write_control(tree, suite, arch, version)
    set_modes(tree, epoch)
    package = dist / f"edged_{version}_{arch}.deb"
    dist.mkdir(exist_ok=True)
    command = ["dpkg-deb", "--root-owner-group", "-Zxz", "-z1", "--build", str(tree), str(package)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    shutil.rmtree(tree)
    return package


def last_commit() -> int:
    """Seconds since 1970; of the commit that is built."""
    if given := os.environ.get("SOURCE_DATE_EPOCH"):
        return int(given)
    return int(subprocess.run(["git", "log", "-1", "--format=%ct"], check=True, cwd=CHECKOUT, capture_output=True).stdout)


def lay_out(tree: Path, suite: Suite, all_wheels: list[Path]) -> Path:
    """A virtual environment that also sees apt's packages, made by hand so that it can be of another machine's Python.

    Its interpreter is what sys.executable says, so that every process that edged starts finds the same packages.
    """
    private = tree / PRIVATE
    site = private / "lib" / f"python{suite.python}" / "site-packages"
    for wheel in all_wheels:
        wheels.unpack(wheel, site)
    (private / "bin").mkdir()
    (private / "bin" / "python3").symlink_to(f"../../../bin/python{suite.python}")
    config = f"home = /usr/bin\ninclude-system-site-packages = true\nversion = {suite.python}\n"
    (private / "pyvenv.cfg").write_text(config)
    documents = "usr/share/doc/edged"
    kinds = ("*.md", "*.svg", "*.jpg", "*.json", "schemas/**/*.json", "examples/*")
    found = [page.relative_to(CHECKOUT / "docs") for kind in kinds for page in (CHECKOUT / "docs").glob(kind) if page.is_file()]
    guides = {f"docs/{page}": f"{documents}/{page}" for page in found}
    for source, target in (INSTALLED | guides).items():
        (tree / target).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(CHECKOUT / source, tree / target)
    # its links are to what lies beside it there
    (tree / documents / "README.md").write_text((CHECKOUT / "README.md").read_text().replace("](docs/", "]("))
    return site


def write_documents(tree: Path, site: Path, version: str, epoch: int, bundled: list[Path]) -> None:
    date = datetime.fromtimestamp(epoch, UTC)
    manual = [sys.executable, str(HERE / "manual.py"), str(site), str(tree), f"{date:%Y-%m-%d}", version]
    environment = {**os.environ, "PYTHONPATH": str(site), "PYTHONDONTWRITEBYTECODE": "1"}
    subprocess.run(manual, check=True, env=environment)
    for page in sorted((tree / "usr/share/man").rglob("*.[15]")):
        compress(page, page.read_bytes())
        page.unlink()
    documents = tree / "usr/share/doc/edged"
    models = sorted((site / "edged/share/models").glob("*.tflite"))
    (documents / "sbom.cdx.json").write_text(to_sbom(version, bundled, models))
    compress(documents / "changelog", to_changelog(version, date).encode())
    stanzas = [
        f"Files: {PRIVATE}/lib/*/{name}*\nCopyright: its authors, as its dist-info says\nLicense: {licence(metadata)}\n"
        for metadata in map(about, bundled)
        for name in [re.sub(r"[-.]+", "_", metadata["Name"])]
    ]
    copyright_ = (HERE / "debian/copyright").read_text().replace("@BUNDLED@\n", "\n".join(stanzas) + "\n")
    (documents / "copyright").write_text(copyright_)


def to_changelog(version: str, date: datetime) -> str:
    """The topmost section of CHANGELOG.md in Debian's form."""
    section = (CHECKOUT / "CHANGELOG.md").read_text().split("\n## ")[1].split("\n", 1)[1]
    items = [" ".join(item.split()) for item in section.split("\n- ") if item.strip()]
    told = [textwrap.fill(item.removeprefix("- "), 78, initial_indent="  * ", subsequent_indent="    ") for item in items]
    head = f"edged ({version}) unstable; urgency=medium"
    return "\n\n".join([head, "\n".join(told), f" -- {MAINTAINER}  {format_datetime(date)}\n"])


def write_control(tree: Path, suite: Suite, arch: str, version: str) -> None:
    control = tree / "DEBIAN"
    control.mkdir()
    files = sorted(path for path in tree.rglob("*") if path.is_file() and not path.is_symlink() and control not in path.parents)
    sums = [f"{hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()}  {path.relative_to(tree)}\n" for path in files]
    (control / "md5sums").write_text("".join(line for line in sums if "  etc/" not in line))
    (control / "conffiles").write_text("/etc/edged/edged.toml\n")
    for script in ("postinst", "prerm", "postrm"):
        shutil.copyfile(HERE / "debian" / script, control / script)
    major, minor = suite.python.split(".")
    fields = {
        "VERSION": version,
        "ARCH": arch,
        "MAINTAINER": MAINTAINER,
        "SIZE": str(sum(-(-path.stat().st_size // 1024) for path in files)),
        "PYTHON": suite.python,
        "PYTHON_NEXT": f"{major}.{int(minor) + 1}",
    }
    text = (HERE / "debian/control").read_text()
    for key, value in fields.items():
        text = text.replace(f"@{key}@", value)
    (control / "control").write_text(text)


def compress(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.with_name(path.name + ".gz").write_bytes(gzip.compress(content, 9, mtime=0))


def set_modes(tree: Path, epoch: int) -> None:
    for path in [tree, *tree.rglob("*")]:
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or str(path.relative_to(tree)) in EXECUTABLE else 0o644)
        os.utime(path, (epoch, epoch), follow_symlinks=False)


if __name__ == "__main__":
    main()
