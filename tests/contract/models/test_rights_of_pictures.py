"""Root classifies and teaches from somebody's pictures: what decodes them has that somebody's rights, and no more."""

import os
import pwd
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from edged.models.classify import Ask, look_at
from edged.models.store import Store
from edged.models.teach.teach import Picture, Plan, _look
from edged.process.sandbox import handed_over, to_owner
from edged.system.files import read_model
from tests.models import a_picture
from tests.things import album

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, and somebody else")
NOBODY = pwd.getpwnam("nobody").pw_uid


@pytest.fixture
def open_folder(tmp_path: Path) -> Path:
    """One that somebody else may look into."""
    for folder in (tmp_path, *tmp_path.parents):
        if str(folder).startswith("/tmp/"):
            folder.chmod(folder.stat().st_mode | 0o055)
    return tmp_path


def needs_python_for_all() -> None:
    for path in (Path(sys.executable), Path(os.path.realpath(sys.executable)), Path(__file__)):
        for folder in path.parents:
            if not folder.stat().st_mode & stat.S_IXOTH:
                pytest.skip(f"{folder} is closed to others, and {path} is in it")


def test_a_model_that_they_may_not_read_is_handed_over(open_folder: Path) -> None:
    model = Path(shutil.copy(Store(open_folder).find("home_0.25_96").path, open_folder / "model.tflite"))
    model.chmod(0o600)
    for owner, is_passed in ((0, False), (NOBODY, True)):
        with handed_over(model, lambda: read_model(model), owner) as (path, passed):
            assert (passed is not None) == is_passed and is_passed == path.is_relative_to("/proc/self/fd")
            command = ["/bin/sh", "-c", f"wc -c < {path}"]
            fds = () if passed is None else (passed,)
            said = subprocess.run(command, pass_fds=fds, user=owner, capture_output=True, text=True, check=True).stdout
            assert int(said) == model.stat().st_size


def test_the_process_that_decodes_is_theirs(open_folder: Path) -> None:
    needs_python_for_all()
    one = Store(open_folder).find("home_0.25_96")
    model = Path(shutil.copy(one.path, open_folder / "model.tflite"))
    model.chmod(0o600)
    theirs, roots = (Path(shutil.copy(a_picture(open_folder), open_folder / f"{name}.jpg")) for name in ("theirs", "roots"))
    os.chown(theirs, NOBODY, -1)
    closed = Path(shutil.copy(a_picture(open_folder), open_folder / "closed.png"))
    closed.chmod(0o600)
    led = open_folder / "led.png"  # theirs, and it leads to what only root may see
    led.symlink_to(closed)
    os.lchown(led, NOBODY, -1)
    assert [to_owner(path) for path in (theirs, roots, led)] == [NOBODY, 0, NOBODY]
    looks = list(look_at([roots, theirs, led, roots], Ask(model, one.sha256, len(one.labels), one.card.output)))
    assert [bool(look.scores) for look in looks] == [True, True, False, True], looks
    assert looks[1].scores == looks[0].scores


def test_what_is_taught_from_is_decoded_so_too(open_folder: Path) -> None:
    needs_python_for_all()
    base = Store(open_folder).find("home_0.25_96")
    pictures = sorted(album(open_folder / "discs", "discs", 4).iterdir())
    for path in pictures[2:]:
        os.chown(path, NOBODY, -1)
    plan = Plan("x", base, ("discs", "bars"), tuple(Picture(path, "discs") for path in pictures))
    seen, lost = _look(plan, lambda *_: None)
    assert len(seen) == 4 and not lost
