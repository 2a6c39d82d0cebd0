"""What no command can mean is one sentence and an exit code, and never a traceback or a wait for ever."""

import subprocess
import sys
from pathlib import Path

import pytest

from edged.commands.use import to_file
from edged.delivery.broker.subscriber import is_filter
from tests.contract.commands.test_check import edged
from tests.e2e.running import HANG_S, Broker, free_port
from tests.models import a_picture
from tests.terminal import END, INTERRUPT, in_terminal


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("watch", "--seconds", "nan"), "--seconds': must be 0 to 10000000, not nan"),
        (("watch", "--seconds", "-1"), "not -1"),
        (("audit", "--seconds", "inf"), "not inf"),
        (("demo", "--seconds", "nan"), "not nan"),
        (("watch", "-t", "a#b"), '"a#b" is no topic to subscribe to'),
        (("audit", "-t", "#/a"), '"#/a" is no topic to subscribe to'),
        (("watch", "-h", ""), 'must be a name or an address, not ""'),
        (("audit", "-h", "mqtt://pi"), 'must be a name or an address, not "mqtt://pi"'),
        (("fit", "--latency-ms", "nan"), "--latency-ms: must be a finite number, not nan"),
        (("fit", "--latency-ms", "-1"), "--latency-ms: must be more than 0, not -1"),
        (("fit", "--min-top1", "5"), "--min-top1: must be at most 1, not 5"),
        (("log",), "Choose from: debug, info, warning, error"),
    ],
    ids=" ".join,
)
def test_a_wrong_value_is_a_wrong_option(words: tuple[str, ...], says: str) -> None:
    done = edged(*words)
    assert (done.returncode, done.stdout) == (2, "")
    usage, sentence, *more = done.stderr.splitlines()
    assert usage.startswith("Usage: edged ") and says in sentence and not more


def test_what_a_broker_may_be_asked_for() -> None:
    for good in ("#", "+", "a", "/", "a/#", "+/+/#", "edged/+/event", "$SYS/#"):
        assert is_filter(good), good
    for bad in ("", "a#", "#/", "a/#/b", "a+/b", "+a", "a\0b", "x" * 65536):
        assert not is_filter(bad), bad


def test_a_file_that_is_the_same_by_another_name_may_be_written(tmp_path: Path) -> None:
    """As root: what the daemon was begun with may have a `..` in it, or be a link."""
    config = tmp_path / "edged.toml"
    config.touch()
    (tmp_path / "link.toml").symlink_to(config)
    (tmp_path / "folder").mkdir()
    for told in (f"{tmp_path}/folder/../edged.toml", f"{tmp_path}/link.toml", str(config)):
        assert to_file(told, config, is_root=True) == config


@pytest.fixture
def album(tmp_path: Path) -> Path:
    folder = tmp_path / "album"
    folder.mkdir()
    a_picture(folder)
    return folder


def test_an_answer_that_can_not_be_is_told_at_once_and_asked_again(tmp_path: Path, album: Path) -> None:
    typed = {
        "folder of pictures): ": (b"/nowhere\n", "camera.source: /nowhere cannot be read"),
        "cannot be read: No such file or directory": (f"{album}\n".encode(), ""),
        "or address [localhost]: ": (b"pi:bar\n", "bar is no port"),
        "is no port": (b":1883\n", "mqtt.host: must not be empty"),
        "must not be empty": (b"a b\n", "without spaces"),
        "without spaces": (f"127.0.0.1:{free_port()}\n".encode(), ""),
        "in the topics [": (b"Front Door\n", "device: must be of a-z, 0-9, _ and - only"),
        "and - only": (b"door\n", ""),
    }
    answers = [(seen, answer) for seen, (answer, _) in typed.items()]
    code, said = in_terminal("init", "--no-look", "-c", tmp_path / "edged.toml", answers=answers, cwd=tmp_path)
    assert code == 0, said
    for _, refusal in typed.values():
        assert refusal in said
    assert 'device = "door"' in (tmp_path / "edged.toml").read_text()


@pytest.mark.parametrize("key", [END, INTERRUPT])
def test_whoever_stops_answering_is_told_that_nothing_was_written(tmp_path: Path, key: bytes) -> None:
    code, said = in_terminal("init", answers=[("folder of pictures): ", key)], cwd=tmp_path)
    assert code == 130 and said.endswith("\nnothing was written\n")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("library", ["click", "edged.errors", "edged.system.text"])
def test_ctrl_c_before_the_command_line_is_read_is_quiet(library: str) -> None:
    """It comes in the moment in which a library is looked for."""
    hit = f"""
import os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever runs the tests in the background ignores it
class Hit:
    def find_spec(name, *_):
        if name == "{library}":
            os.kill(os.getpid(), signal.SIGINT)
sys.modules.pop("{library}", None)
sys.meta_path.insert(0, Hit)
sys.argv = ["edged", "--version"]
import edged.__main__
edged.__main__.main()
"""
    done = subprocess.run([sys.executable, "-c", hit], capture_output=True, text=True, timeout=HANG_S)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


@pytest.mark.parametrize(
    ("options", "code", "says"),
    [
        (("--device", "Front Door"), 78, 'device: must be of a-z, 0-9, _ and - only, not "Front Door"'),
        (("--broker", ":1883"), 78, 'mqtt.host: must not be empty, not ""'),
        (("--camera", "/nowhere"), 78, "camera.source: /nowhere cannot be read: No such file or directory"),
    ],
)
def test_no_line_is_named_of_a_file_that_is_not_there(
    tmp_path: Path, album: Path, options: tuple[str, ...], code: int, says: str
) -> None:
    done = edged("init", "--no-look", "--camera", album, *options, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (code, f"{says}\n")
    assert not (tmp_path / "edged.toml").exists()


LOGIN = "the user goes into mqtt.user, the password into mqtt.password_file"


@pytest.mark.parametrize(
    ("host", "says"),
    [
        ("bob:hunter2@pi", f"mqtt.host: must be a name or an address, without @; {LOGIN}"),
        ("bob:hunter2@pi:1883", f"mqtt.host: must be a name or an address, without @; {LOGIN}"),
        ("mqtt://bob:hunter2@pi", f"mqtt.host: must be a name or an address, without @; {LOGIN}"),
        ("127.0.0.1:18931:99", "mqtt.host: must be a name or an address; the port goes into mqtt.port"),
        ("a..b", "mqtt.host: must be a name, of 1 to 63 letters"),
    ],
)
def test_init_takes_no_broker_that_the_config_refuses(tmp_path: Path, album: Path, host: str, says: str) -> None:
    done = edged("init", "--no-look", "--camera", album, "--broker", host, cwd=tmp_path)
    assert done.returncode == 78 and done.stderr.startswith(says) and "hunter2" not in done.stderr + done.stdout
    assert not (tmp_path / "edged.toml").exists()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("-h", "bob:hun ter2@pi"), "without @; the user goes into -u, the password into the file of --password-file, not"),
        (("-h", "a..b"), "must be a name, of 1 to 63 letters"),
        (("-h", "pi:1883"), "the port goes into -p, not"),
    ],
)
@pytest.mark.parametrize("verb", ["watch", "audit"])
def test_who_listens_names_a_host(verb: str, words: tuple[str, ...], says: str) -> None:
    done = edged(verb, *words)
    assert done.returncode == 2 and says in done.stderr and "hun" not in done.stderr.split("edged: ")[-1], done.stderr


def test_a_host_in_the_wrong_place_is_not_repeated_with_its_login() -> None:
    done = edged("watch", "bob:hunter2@pi")
    assert done.returncode == 2 and "hunter2" not in done.stderr and done.stderr.endswith("edged watch -h …\n")


def test_a_broker_that_wants_a_password_is_there(tmp_path: Path, album: Path) -> None:
    passwords = tmp_path / "passwords"
    passwords.touch(0o600)
    subprocess.run(["mosquitto_passwd", "-b", str(passwords), "edged", "right"], check=True)
    broker = Broker(tmp_path, "allow_anonymous false", f"password_file {passwords}")
    (tmp_path / "right").write_text("right\n")
    place, look = f"127.0.0.1:{broker.port}", ("--no-look", "--camera", album)
    try:
        without = edged("init", *look, "--broker", place, "-c", "a.toml", cwd=tmp_path).stdout.splitlines()
        given = ("--user", "edged", "--password-file", "right")
        with_it = edged("init", *look, "--broker", place, *given, "-c", "b.toml", cwd=tmp_path).stdout.splitlines()
        watching = edged("watch", "-c", tmp_path / "a.toml", "--seconds", "1")
    finally:
        broker.end()
    assert without[1].startswith(f"broker   {place} does not take us yet (the broker refused: not authorized)")
    assert "  a password      mqtt.user, and a file with the password at mqtt.password_file" in without
    assert not any("apt install mosquitto" in line for line in without)
    assert with_it[1] == f"broker   {place} answers" and not any("password" in line for line in with_it)
    assert (watching.returncode, watching.stderr) == (69, f"{place}: the broker refused: not authorized\n")
