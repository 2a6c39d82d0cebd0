"""The one reader, the one writer, and root's rights in somebody's folder."""

import contextlib
import os
import pwd
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from edged.errors import ReadError, WriteError
from edged.system.documents import DEEPEST_JSON, read_json, to_depth
from edged.system.files import (
    PRIVATE,
    SHARED,
    acting_for,
    followed,
    put_aside,
    read_file,
    write_file,
    write_output,
)

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


@pytest.mark.parametrize("name", ["/dev/zero", "/dev/null", "/proc/self/mem", "/", "/nowhere/at/all", "a\0b", "x" * 5000])
def test_what_is_no_regular_file_is_not_read(name: str) -> None:
    with pytest.raises(ReadError):
        read_file(Path(name), 1000)


def test_nothing_is_waited_for_and_nothing_is_taken_whole(tmp_path: Path) -> None:
    pipe, large, good = tmp_path / "pipe", tmp_path / "large", tmp_path / "good"
    os.mkfifo(pipe)
    with large.open("wb") as file:
        file.truncate(10 << 30)
    good.write_bytes(b"12345")
    for path in (pipe, large):
        with pytest.raises(ReadError):
            read_file(path, 1000)
    assert read_file(good, 5) == b"12345"
    with pytest.raises(ReadError, match="larger"):
        read_file(good, 4)
    link = tmp_path / "link"
    link.symlink_to(good)
    assert read_file(link, 5) == b"12345"
    with pytest.raises(ReadError):
        read_file(link, 5, follow=False)


def test_only_what_is_absent_is_absent(tmp_path: Path) -> None:
    with pytest.raises(ReadError) as told:
        read_file(tmp_path / "nope", 1)
    assert told.value.is_absent
    with pytest.raises(ReadError) as told:
        read_file(tmp_path, 1)
    assert not told.value.is_absent


def test_depth_is_counted_outside_of_strings(tmp_path: Path) -> None:
    assert to_depth(b'[{"a": "[[[[", "b\\"[[": [1]}]') == 3
    path = tmp_path / "x.json"
    path.write_bytes(b"[" * DEEPEST_JSON + b"]" * DEEPEST_JSON)
    assert read_json(path)
    for bad in (b"[" * (DEEPEST_JSON + 1) + b"]" * (DEEPEST_JSON + 1), b"[" * 500_000, b"\xff", b"", b"9" * 5000):
        path.write_bytes(bad)
        with pytest.raises(ReadError):
            read_json(path)


def test_two_damaged_copies_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    for number in range(4):
        path.write_text(str(number))
        assert put_aside(path) == tmp_path / "x.json.damaged-1"
    path.mkdir()
    assert put_aside(path)
    assert sorted(one.name for one in tmp_path.iterdir()) == ["x.json.damaged-1", "x.json.damaged-2"]
    assert (tmp_path / "x.json.damaged-2").read_text() == "3"


@pytest.mark.parametrize(("mode", "folder"), [(PRIVATE, 0o700), (SHARED, 0o750), (0o644, 0o755)])
def test_a_written_file_has_its_mode_from_the_first_moment(tmp_path: Path, mode: int, folder: int) -> None:
    before = os.umask(0o022)
    try:
        write_file(tmp_path / "new/deep/file", b"x", mode)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "new/deep/file").stat().st_mode) == mode
    assert stat.S_IMODE((tmp_path / "new/deep").stat().st_mode) == folder


def test_a_link_in_the_place_of_a_file_is_replaced_and_not_followed(tmp_path: Path) -> None:
    (tmp_path / "others").write_text("theirs")
    (tmp_path / "ours").symlink_to(tmp_path / "others")
    write_file(tmp_path / "ours", b"ours", PRIVATE)
    assert (tmp_path / "others").read_text() == "theirs" and (tmp_path / "ours").read_text() == "ours"


@needs_root
def test_owner_group_mode_and_access_list_stay(tmp_path: Path) -> None:
    path, nobody = tmp_path / "config", pwd.getpwnam("nobody")
    path.write_text("old")
    os.chown(path, 0, nobody.pw_gid)
    path.chmod(0o640)
    has_list = shutil.which("setfacl") and not subprocess.run(["setfacl", "-m", "u:daemon:r", path], check=False).returncode
    before = os.getxattr(path, "system.posix_acl_access") if has_list else b""
    write_file(path, b"new", PRIVATE, like=path.stat())
    found = path.stat()
    assert (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (0, nobody.pw_gid, 0o640)
    assert path.read_text() == "new" and (not has_list or os.getxattr(path, "system.posix_acl_access") == before)


@needs_root
def test_root_acts_for_the_owner_and_is_root_again(tmp_path: Path) -> None:
    nobody = pwd.getpwnam("nobody")
    for folder in (tmp_path, *tmp_path.parents):
        if str(folder).startswith("/tmp/"):
            folder.chmod(folder.stat().st_mode | 0o055)
    theirs, roots = tmp_path / "theirs", tmp_path / "roots"
    theirs.mkdir()
    roots.mkdir(0o700)
    os.chown(theirs, nobody.pw_uid, nobody.pw_gid)
    (theirs / "models").symlink_to(roots)
    with acting_for(theirs / "models"):
        assert os.geteuid() != 0 or (theirs / "models").lstat().st_uid == 0
    os.lchown(theirs / "models", nobody.pw_uid, nobody.pw_gid)
    with acting_for(theirs / "models"), pytest.raises(WriteError):
        write_file(theirs / "models/x.toml", b"x", SHARED)
    assert os.geteuid() == 0 and os.getegid() == 0 and list(roots.iterdir()) == []
    with acting_for(theirs / "new"):
        write_file(theirs / "new/file", b"x", SHARED)
    assert (theirs / "new/file").stat().st_uid == nobody.pw_uid


@needs_root
def test_root_acts_for_whoever_decides_what_lies_there(tmp_path: Path) -> None:
    """Not for whom the file at the end belongs to: a link on the way, and a folder, are somebody's too."""
    nobody = pwd.getpwnam("nobody")
    theirs, roots = tmp_path / "theirs", tmp_path / "roots"
    for folder in (theirs, roots):
        folder.mkdir()
    os.chown(theirs, nobody.pw_uid, nobody.pw_gid)
    (theirs / "of root").write_text("of root")
    (roots / "passwd").write_text("of root")
    (theirs / "pictures").symlink_to(roots)
    for path, planted, who in (
        (theirs / "of root", False, nobody.pw_uid),
        (theirs / "pictures/passwd", False, 0),
        (theirs / "pictures/passwd", True, nobody.pw_uid),
        (theirs / "pictures/new", True, nobody.pw_uid),
        (roots / "passwd", True, 0),
        (roots / "new", True, 0),
    ):
        os.lchown(theirs / "pictures", nobody.pw_uid if planted else 0, -1)
        with acting_for(path):
            assert os.geteuid() == who, (path, planted)
        assert os.geteuid() == 0
    with acting_for(theirs / "of root", keeps=True):
        assert os.geteuid() == 0


@needs_root
def test_root_follows_no_link_of_somebody_else(tmp_path: Path) -> None:
    """Also none that was planted just before: the kernel guards what is opened, and not what readlink(2) says."""
    (tmp_path / "victim").write_text("of root")
    (tmp_path / "link").symlink_to("victim")
    (tmp_path / "again").symlink_to(tmp_path / "link")
    (tmp_path / "nowhere").symlink_to("new")
    (tmp_path / "itself").symlink_to("itself")
    assert followed(tmp_path / "again") == followed(tmp_path / "victim") == tmp_path / "victim"
    assert followed(tmp_path / "nowhere") == tmp_path / "new" and followed(tmp_path / "none") == tmp_path / "none"
    with pytest.raises(WriteError, match="symbolic links"):
        followed(tmp_path / "itself")
    os.lchown(tmp_path / "link", pwd.getpwnam("nobody").pw_uid, -1)
    for name in ("link", "again"):
        with pytest.raises(WriteError, match="root does not follow"):
            followed(tmp_path / name)


@needs_root
def test_a_root_without_that_right_says_so(tmp_path: Path) -> None:
    """As in a container, or a unit with CapabilityBoundingSet=."""
    tmp_path.chmod(0o755)
    os.chown(tmp_path, pwd.getpwnam("nobody").pw_uid, -1)
    code = (
        "import sys; from pathlib import Path; from edged.system.files import acting_for\nwith acting_for(Path(sys.argv[1])): pass"
    )
    command = ["setpriv", "--bounding-set", "-all", "--inh-caps", "-all", sys.executable, "-c", code, str(tmp_path / "x")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "WriteError" in done.stderr and "for whom this root may not act" in done.stderr


def test_an_output_is_written_where_a_person_said(tmp_path: Path) -> None:
    """A link stays one, also where nothing is yet; a folder is none; a pipe gets it, and is there afterwards."""
    (tmp_path / "link").symlink_to("file")
    write_output(tmp_path / "link", b"one", PRIVATE)
    assert (tmp_path / "link").is_symlink() and (tmp_path / "file").read_bytes() == b"one"
    assert (tmp_path / "file").stat().st_mode & 0o777 == PRIVATE
    with pytest.raises(WriteError, match="Is a directory"):
        write_output(tmp_path, b"x", PRIVATE)
    os.mkfifo(tmp_path / "pipe")
    end = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    try:
        write_output(tmp_path / "pipe", b"two", PRIVATE)
        assert os.read(end, 10) == b"two" and stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)
    finally:
        os.close(end)


@needs_root
def test_a_device_is_written_to_and_never_replaced(tmp_path: Path) -> None:
    """`sudo edged fit --plot /dev/null` made a file of the whole machine's /dev/null."""
    for name, number, why in (("null", 3, None), ("full", 7, "No space left on device")):
        os.mknod(tmp_path / name, stat.S_IFCHR | 0o666, os.makedev(1, number))
        with contextlib.nullcontext() if why is None else pytest.raises(WriteError, match=why):
            write_output(tmp_path / name, b"x", PRIVATE)
        found = (tmp_path / name).stat()
        assert stat.S_ISCHR(found.st_mode) and found.st_rdev == os.makedev(1, number)
