"""Odd config files: each is read, or refused with a sentence, soon; by the door of a running daemon and of every command."""

import asyncio
import contextlib
import os
import pwd
import random
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from edged.config.edit import write_model_name
from edged.config.machine import read_checked
from edged.config.reading import find_state_folder, read_settings
from edged.config.source import LONGEST, find_lines
from edged.doctor.settings import check_config, read_config
from edged.doctor.site import Site
from edged.errors import ConfigError, EdgedError
from edged.models.store import Store
from edged.rollout.active import Active
from edged.rollout.desired import Intent
from edged.rollout.last_good import LastGood
from edged.rollout.startup import begin, find_config
from edged.system.clock import Clock
from edged.system.documents import DEEPEST
from edged.system.files import shipped
from tests.campaigns.mutations import mutated
from tests.campaigns.size import SEED, count, report
from tests.e2e.running import HANG_S
from tests.unit.daemon.played import admit

LIMIT_S = 5.0  # of processor time
GOOD = b'[camera]\nkind = "pictures"\nsource = "/nowhere"\n'

Make = Callable[[Path], object]


def holding(data: bytes | str) -> Make:
    return lambda path: path.write_bytes(data if isinstance(data, bytes) else data.encode())


def sparse(size: int) -> Make:
    return lambda path: (path.write_bytes(GOOD), os.truncate(path, size))


def linked(to: str) -> Make:
    return lambda path: path.symlink_to(to)


def _socket(path: Path) -> None:
    here = Path.cwd()
    with socket.socket(socket.AF_UNIX) as one:
        os.chdir(path.parent)
        one.bind(path.name)
        os.chdir(here)


# size, depth, encodings, links, pipes, partial writes of editors, wild values: all of them are refused
REFUSED: dict[str, Make] = {
    "dotted to death": holding(".".join(["a"] * 500) + " = 1\n"),
    "dotted to death, a header": holding("[" + ".".join(["a"] * 500) + "]\n"),
    "dotted with spaces": holding(" . ".join(["a"] * 500) + " = 1\n"),
    "dotted in quotes": holding(".".join(['"a"'] * 500) + " = 1\n"),
    "dotted in single quotes": holding(".".join(["'a'"] * 500) + " = 1\n"),
    "dotted as long as a file": holding(".".join(["a"] * 32_000) + " = 1\n"),
    "dotted in a table in line": holding("x = {" + ".".join(["a"] * 500) + " = 1}\n"),
    "headers in one another": holding("".join(f"[{'.'.join(['a'] * n)}]\n" for n in range(1, 200))),
    "arrays in arrays": holding("a = " + "[" * 2000 + "]" * 2000),
    "a few arrays too many": holding("a = " + "[" * 40 + "]" * 40),
    "tables in tables": holding("a = " + "{b = " * 500 + "1" + "}" * 500),
    "arrays that never end": holding("a = " + "[" * 60_000),
    "six thousand keys": holding("".join(f"key{n} = {n}\n" for n in range(4500))[: LONGEST - 10].rsplit("\n", 1)[0] + "\n"),
    "a thousand keys that are nearly right": holding("[camera]\n" + "".join(f"fsp{n} = 1\n" for n in range(1000))),
    "a thousand tables": holding("".join(f"[t{n}]\n" for n in range(1000))),
    "a thousand profiles of nothing": holding("".join(f"[profile.p{n}]\nx = 1\n" for n in range(900))),
    "a key of a mile": holding("x" * 60_000 + " = 1\n"),
    "a word of a mile": holding('[camera]\nsource = "' + "x" * 60_000 + '"\n'),
    "a statement over many lines": holding("a = [\n" + "1,\n" * 20_000),
    "a text over many lines": holding('a = """' + "x\n" * 30_000),
    "too large": holding(b"#" * (LONGEST + 1)),
    "sparse": sparse(3 << 30),
    "nothing but zeros": holding(bytes(1000)),
    "a zero in the middle": holding(GOOD + b"\0\n" + GOOD),
    "UTF-16": holding(GOOD.decode().encode("utf-16")),
    "UTF-32": holding(GOOD.decode().encode("utf-32")),
    "Latin-1": holding('# Türkamera\ndevice = "x"\n'.encode("latin-1")),
    "a byte order mark": holding(b"\xef\xbb\xbf" + GOOD),
    "surrogates": holding(b'device = "\xed\xa0\x80"\n'),
    "too long in bytes": holding(b'device = "\xc0\x80"\n'),
    "old line ends": holding(GOOD.replace(b"\n", b"\r")),
    "escapes": holding(b"\x1b]0;owned\x07 = 1\n"),
    "escapes in a key": holding(b'"\\u001b[2J" = 1\n'),
    "escapes in a value": holding(b'[camera]\nkind = "\\u001b[2J"\n'),
    "turned round": holding('[camera]\nsource = "a\u202eb"\n'),
    "a pipe": os.mkfifo,
    "a folder": lambda path: path.mkdir(),
    "a socket": _socket,
    "dev zero": linked("/dev/zero"),
    "dev random": linked("/dev/urandom"),
    "a terminal": linked("/dev/tty"),
    "memory": linked("/proc/self/mem"),
    "kernel messages": linked("/proc/kmsg"),
    "itself": lambda path: path.symlink_to(path),
    "nowhere": linked("/nowhere/at/all.toml"),
    "another kind of file": linked("/etc/passwd"),
    "half a statement": holding(b'[camera]\nkind = "pict'),
    "half a header": holding(b"[camera]\nfps = 2.0\n[mq"),
    "an editor's marks": holding(b"<<<<<<< HEAD\nfps = 1\n=======\nfps = 2\n>>>>>>> mine\n"),
    "twice the file": holding(GOOD + GOOD),
    "JSON": holding(b'{"camera": {"fps": 2}}'),
    "YAML": holding(b"camera:\n  fps: 2\n"),
    "INI": holding(b"[camera]\nkind = pictures\n"),
    "a web page": holding(b"<!DOCTYPE html><title>404</title>"),
    "a program": linked(sys.executable),
    "hardly any pictures": holding("[camera]\nfps = 1e-300\n"),
    "a number beyond all": holding("[camera]\nfps = 1e400\n"),
    "a number of 5,000 digits": holding("[mqtt]\nport = " + "9" * 5000 + "\n"),
    "no number": holding("[decision]\nenter = nan\n"),
    "a date": holding("device = 1979-05-27T07:32:00Z\n"),
    "a date that is none": holding("device = 2026-13-45\n"),
    "a source of 5,000 letters": holding('[camera]\nkind = "stream"\nsource = "rtsp://' + "x" * 5000 + '"\n'),
    "a source with spaces": holding('[camera]\nkind = "stream"\nsource = "rtsp://a b"\n'),
    "a user twice": holding('[camera]\nkind = "stream"\nsource = "rtsp://a:b@c"\nuser = "x"\n'),
    "a password without a user": holding('[camera]\nkind = "stream"\nsource = "rtsp://c"\npassword_file = "/etc/hosts"\n'),
    "a state folder with a zero": holding('state_folder = "/tmp/a\\u0000b"\n'),
    "a state folder that is a list": holding('state_folder = ["/tmp"]\n'),
    "labels that never end": holding('[model]\nlabels = "/dev/zero"\n'),
    "a model that never ends": holding('[model]\nname = "/dev/zero"\n'),
    "a thousand labels that nobody knows": holding(
        '[decision]\nignore = ["' + '", "'.join(f"lable{n}" for n in range(4000)) + '"]\n'
    ),
    "groups of groups": holding("[decision.groups]\n" + "".join(f'g{n} = ["unicron"]\n' for n in range(1900))),
}
TAKEN: dict[str, Make] = {
    "a good one": holding(GOOD),
    "line ends of Windows": holding(GOOD.replace(b"\n", b"\r\n")),
    "no line end": holding(GOOD.rstrip()),
    "a link": lambda path: (path.with_suffix(".real").write_bytes(GOOD), path.symlink_to(path.with_suffix(".real"))),
    "dots in a text": holding(GOOD + b"# a.b.c.d.e.f.g.h.i.j.k.l.m.n.o.p.q.r.s.t.u\n"),
    "dots in a value": holding('[camera]\nkind = "pictures"\nsource = "/' + "a." * 30 + 'b"\n'),
    "one space": holding(b" "),
    "a comment of 60 kB": holding(b"#" * 60_000 + b"\n" + GOOD),
    "the shipped one": lambda path: shutil.copy(shipped("config", "edged.toml"), path),
}


def judge(path: Path) -> str:
    """What the daemon does with it: the faults, or nothing. Always a sentence, and always soon."""
    began = time.process_time()
    said = ""
    try:
        read_checked(path)
    except ConfigError as error:
        said = str(error)
        assert error.faults and all(fault.isprintable() for fault in error.faults), error.faults[:3]
        assert len(said) < 60_000
    find_state_folder(path)  # even of a broken file; never raises
    assert time.process_time() - began < LIMIT_S, path
    return said


@pytest.mark.parametrize("name", REFUSED)
def test_an_odd_one_is_refused_soon(tmp_path: Path, name: str) -> None:
    path = tmp_path / "edged.toml"
    REFUSED[name](path)
    said = judge(path)
    assert said.startswith(str(path)), said[:200]
    found = check_config(Site(), path, *read_config(path))
    assert found.state == "fail" and all(line.isprintable() for line in (found.found + "\n" + found.cure).split("\n")), found
    with contextlib.suppress(EdgedError):  # of what is no config at all; and nothing else
        write_model_name(path, "auto")


@pytest.mark.parametrize("name", TAKEN)
def test_a_strange_one_is_taken(tmp_path: Path, name: str) -> None:
    path = tmp_path / "edged.toml"
    TAKEN[name](path)
    assert judge(path) == ""


def test_a_running_daemon_survives_each_of_them(tmp_path: Path) -> None:
    """The reload's way: what ran before still runs, and the reason is told."""
    path = tmp_path / "edged.toml"
    path.write_bytes(GOOD)
    intent = Intent(path, read_settings(path), Clock())
    before = intent.file
    for name, make in REFUSED.items():
        if path.is_dir() and not path.is_symlink():
            path.rmdir()
        path.unlink(missing_ok=True)
        make(path)
        try:
            _, error = asyncio.run(intent.load())
        except ConfigError as raised:
            error = raised
        assert error is not None, name
        assert intent.file is before
    report("odd_configs", {"refused": len(REFUSED), "taken": len(TAKEN), "ends_of_the_daemon": 0})


def test_random_damage(tmp_path: Path) -> None:
    wanted, rng = count(100, 5000), random.Random(SEED)
    path, refused = tmp_path / "edged.toml", 0
    streams = [mutated(shipped("config", "edged.toml").read_bytes().replace(b"\n#", b"\n"), seed=SEED, count=wanted)]
    for _ in range(wanted):
        _, data = next(streams[0])
        if rng.random() < 0.2:
            data += rng.choice((b".a" * 200, b"[" * 300, b"=" * 100, b'"""', b"[[", b"\n[a.b.c]\n" * 100))
        path.write_bytes(data)
        refused += bool(judge(path))
    report("odd_configs_random", {"configs": wanted, "refused": refused, "seed": SEED})


def test_no_traceback_in_a_terminal(tmp_path: Path) -> None:
    names = ["dotted to death", "a pipe", "sparse", "escapes in a key", "six thousand keys"]
    for name in names[: count(3, len(names))]:
        path = tmp_path / f"{name}.toml"
        REFUSED[name](path)
        done = subprocess.run(
            [sys.executable, "-m", "edged", "check", "-c", path], capture_output=True, text=True, check=False, timeout=HANG_S
        )
        assert done.returncode == 78 and "Traceback" not in done.stderr and "\x1b" not in done.stderr


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to be somebody who may not read")


def said_by_nobody(folder: Path, do: Callable[[], list[str]]) -> list[str]:
    """The lines of it as another user, in a process of its own; `folder` is one that this user finds."""
    nobody = pwd.getpwnam("nobody")
    for one in (folder, *folder.parents):
        if str(one).startswith("/tmp/"):
            one.chmod(one.stat().st_mode | 0o055)
    asyncio.run(asyncio.to_thread(int))  # what is imported late is out of reach where Python lies in root's home
    ours, theirs = os.pipe()
    if os.fork() == 0:
        said = ["it raised"]
        try:
            os.setgroups([])
            os.setgid(nobody.pw_gid)
            os.setuid(nobody.pw_uid)
            said = do()
        finally:
            os.write(theirs, "\n".join(said).encode())
            os._exit(0)
    os.close(theirs)
    with os.fdopen(ours) as told:
        lines = told.read().splitlines()
    os.wait()
    return lines


@needs_root
def test_unreadable_is_told_as_unreadable(tmp_path: Path) -> None:
    """To a command, at a start without a last good config, and at a reload."""
    path = tmp_path / "edged.toml"
    path.write_bytes(GOOD)
    intent = Intent(path, read_settings(path), Clock())
    path.chmod(0o600)

    def do() -> list[str]:
        said = []
        for one in (read_checked, lambda path: begin(find_config(path), Clock(), 0), lambda _: asyncio.run(intent.load())):
            try:
                one(path)
            except EdgedError as error:
                said.append(f"{error.exit_code} {error}")
        return said

    lines = said_by_nobody(tmp_path, do)
    assert lines == [f"78 {path}: cannot be read: Permission denied; only root may read it"] * 3


@needs_root
def test_where_it_is_unreadable_the_last_good_one_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, state, nobody = tmp_path / "edged.toml", tmp_path / "own/edged", pwd.getpwnam("nobody")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "own"))
    path.write_bytes(GOOD + b"fps = 3.0\n[model]\nname = 'home_0.25_96'\n")
    reading = read_settings(path)
    admit(state, "home_0.25_96")
    LastGood(state).remember(reading.source, "", Active(Store(state).find("home_0.25_96"), 1, "config"))
    for one in (state.parent, *state.parent.rglob("*")):
        os.chown(one, nobody.pw_uid, nobody.pw_gid)
    path.chmod(0o600)

    def do() -> list[str]:
        start = begin(find_config(path), Clock(), 0)
        assert start.fault is not None
        return [start.fault.kind, start.fault.sentence, f"{start.intent.settings().camera.fps}", start.active.name]

    kind, sentence, *runs = said_by_nobody(tmp_path, do)
    assert kind == "last_good_config" and "cannot be read: Permission denied" in sentence
    assert runs == ["3.0", "home_0.25_96"]


def test_lines_are_a_courtesy_that_takes_no_minutes() -> None:
    began = time.process_time()
    assert DEEPEST < 20
    find_lines("a = [\n" + "1,\n" * 20_000 + "]\n")
    find_lines("".join(f"k{n} = [\n" + "1,\n" * 390 + "]\n" for n in range(50)))
    assert time.process_time() - began < 60
