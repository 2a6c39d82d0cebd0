"""`edged use --write`: the config keeps whom it belongs to, and root is not led elsewhere."""

import os
import pwd
import stat
from pathlib import Path

import pytest

from edged.config.edit import Written, write_model_name
from edged.config.profile import with_wish
from edged.config.reading import load_settings, read_settings
from edged.errors import ConfigError, EdgedError

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


def test_comments_order_and_mode_stay(tmp_path: Path) -> None:
    path = tmp_path / "edged.toml"
    path.write_text("# why\n[model]\nname = 'auto' # this\n")
    path.chmod(0o604)
    write_model_name(path, "home_0.25_96")
    assert path.read_text() == '# why\n[model]\nname = "home_0.25_96" # this\n'
    assert stat.S_IMODE(path.stat().st_mode) == 0o604


@pytest.mark.parametrize(
    ("text", "written"),
    [
        (
            '[model] # which\nname = "gate.tflite"\nlabels = "gate.txt" # two\nthreads = 2\nrecast = false\n',
            '[model] # which\nname = "home_0.25_96"\nthreads = 2\nrecast = false\n',
        ),
        ('model = { name = "gate.tflite", labels = "gate.txt" }\n', 'model = { name = "home_0.25_96" }\n'),
        ('model.labels = "gate.txt"\nmodel.name = "gate.tflite"\n', 'model.name = "home_0.25_96"\n'),
        ('[model]\nlabels = "gate.txt"\n', '[model]\nname = "home_0.25_96"\n'),
    ],
    ids=["table", "inline", "dotted", "without a name"],
)
def test_what_is_written_means_what_the_wish_means(tmp_path: Path, text: str, written: str) -> None:
    """The labels of the former model would name the scores of the new one."""
    path = tmp_path / "edged.toml"
    path.write_text(text)
    wished = with_wish(read_settings(path).settings, "home_0.25_96", None).model
    assert write_model_name(path, "home_0.25_96") == Written(path, ("labels",))
    assert path.read_text().split() == written.split()
    assert load_settings(path).model == wished


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        (
            '[model]\nlabels = "gate.txt"\nname = "gate.tflite"\n[profile.night.model]\nlabels = "gate.txt"\n',
            ("edged.toml:5: profile.night.model.labels: ", "gate.txt: 2 labels, but the model gives 8 scores"),
        ),
        ("[camera]\nfsp = 5\n", ("edged.toml:2: camera.fsp: unknown key (did you mean fps?)",)),
        ("[model\n", ("edged.toml:1: not TOML",)),
        ("model = 5\n", ("edged.toml:1: model: must be a table, not 5",)),
    ],
)
def test_a_file_that_would_be_refused_is_left_as_it_was(tmp_path: Path, text: str, parts: tuple[str, ...]) -> None:
    path = tmp_path / "edged.toml"
    path.write_text(text)
    (tmp_path / "gate.txt").write_text("open\nshut\n")
    with pytest.raises(ConfigError) as refused:
        write_model_name(path, "home_0.25_96")
    assert all(part in str(refused.value) for part in parts) and path.read_text() == text


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
