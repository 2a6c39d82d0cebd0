"""`edged use --write`: the config keeps whom it belongs to, and root is not led elsewhere."""

import os
import pwd
import stat
from pathlib import Path

import pytest

from edged.config.edit import write_model_name
from edged.errors import EdgedError

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


def test_comments_order_and_mode_stay(tmp_path: Path) -> None:
    path = tmp_path / "edged.toml"
    path.write_text("# why\n[model]\nname = 'auto' # this\n")
    path.chmod(0o604)
    write_model_name(path, "home_0.25_96")
    assert path.read_text() == '# why\n[model]\nname = "home_0.25_96" # this\n'
    assert stat.S_IMODE(path.stat().st_mode) == 0o604


@needs_root
def test_the_service_can_still_read_it(tmp_path: Path) -> None:
    path, nobody = tmp_path / "edged.toml", pwd.getpwnam("nobody")
    path.write_text("[model]\n")
    os.chown(path, 0, nobody.pw_gid)
    path.chmod(0o640)
    write_model_name(path, "auto")
    found = path.stat()
    assert (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (0, nobody.pw_gid, 0o640)


@needs_root
def test_a_link_that_somebody_planted_leads_root_nowhere(tmp_path: Path) -> None:
    roots, planted = tmp_path / "roots.toml", tmp_path / "theirs/edged.toml"
    roots.write_text("[model]\nname = 'auto'\n")
    roots.chmod(0o600)
    nobody = pwd.getpwnam("nobody")
    planted.parent.mkdir()
    os.chown(planted.parent, nobody.pw_uid, nobody.pw_gid)
    planted.symlink_to(roots)
    os.lchown(planted, nobody.pw_uid, nobody.pw_gid)
    for folder in (tmp_path, *tmp_path.parents):
        if str(folder).startswith("/tmp/"):
            folder.chmod(folder.stat().st_mode | 0o055)
    with pytest.raises(EdgedError):
        write_model_name(planted, "home_0.25_96")
    assert "auto" in roots.read_text() and os.geteuid() == 0
