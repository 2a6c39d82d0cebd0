"""`edged check` and its door, as a person or a script meets them: broken configs, exit codes, output that nobody reads."""

import json
import os
import pkgutil
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import tomlkit

from edged import __version__, commands
from edged.config.reading import SYSTEM_FILE
from edged.models.catalogue import load_catalogue
from edged.system.files import shipped
from tests.e2e.running import HANG_S

COMMANDS = sorted(module.name for module in pkgutil.iter_modules(commands.__path__))


def edged(*arguments: object, cwd: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "edged", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=HANG_S,
        cwd=cwd,
        env={**os.environ, **environment},
    )


# text, then each (line, key, what must be in the sentence); line 0: the sentence has none
BROKEN: dict[str, tuple[str | bytes, list[tuple[int, str, str]]]] = {
    "text for a number": ('[camera]\nfps = "5"\n', [(2, "camera.fps", 'must be a number, not "5"')]),
    "number for text": ("device = 5\n", [(1, "device", "must be text in quotes, not 5")]),
    "number for a switch": ("[gate]\n\nenabled = 1\n", [(3, "gate.enabled", "must be true or false, not 1")]),
    "broken number for a count": ("[decision]\nk = 2.5\n", [(2, "decision.k", "must be a whole number, not 2.5")]),
    "a table for a value": ("[camera.fps]\nx = 1\n", [(1, "camera.fps", "must be a number, not a table")]),
    "a value for a table": ("# x\nmqtt = 'localhost'\n", [(2, "mqtt", "must be a table")]),
    "a date": ("device = 2026-01-01\n", [(1, "device", "must be text in quotes")]),
    "unknown key": ("[camera]\nkind = 'v4l2'\nfsp = 5\n", [(3, "camera.fsp", "unknown key (did you mean fps?)")]),
    "unknown table": ("[decisoin]\nk = 1\n", [(1, "decisoin", "unknown table (did you mean decision?)")]),
    "key of another table": ("host = 'pi'\n", [(1, "host", "unknown key (did you mean mqtt.host?)")]),
    "table of another table": ("[groups]\npet = ['cat']\n", [(1, "groups", "did you mean decision.groups?")]),
    "unknown choice": ("[camera]\n\n# c\nkind = 'picamera'\n", [(4, "camera.kind", "did you mean picamera2?")]),
    "below its range": ("[mqtt]\nport = 0\n", [(2, "mqtt.port", "must be at least 1, not 0")]),
    "above its range": ("[decision]\nenter = 60\n", [(2, "decision.enter", "must be at most 1, not 60")]),
    "not a number": ("[camera]\nfps = nan\n", [(2, "camera.fps", "not nan")]),
    "endless": ("[camera]\nfps = inf\n", [(2, "camera.fps", "not inf")]),
    "array too short": ("[camera]\nregion = [\n 0.1,\n 0.2]\n", [(2, "camera.region", "must have 4 numbers")]),
    "array with a wrong item": (
        "[decision]\nignore = ['cat', 5]\n",
        [(2, "decision.ignore", "item 2 must be text in quotes, not 5")],
    ),
    "region outside the picture": ("[camera]\nregion = [0.5, 0, 0.6, 1]\n", [(2, "camera.region", "inside the picture")]),
    "host with a scheme": ("[mqtt]\nhost = 'mqtt://pi'\n", [(2, "mqtt.host", 'without "mqtt://"')]),
    "host with a port": ("[mqtt]\nhost = 'pi:1883'\n", [(2, "mqtt.host", "mqtt.port")]),
    "host with a port and more": ("[mqtt]\nhost = '127.0.0.1:18931:99'\n", [(2, "mqtt.host", "the port goes into mqtt.port")]),
    "host with a user": ("[mqtt]\nhost = 'bob:hun ter2@pi'\n", [(2, "mqtt.host", 'into mqtt.password_file, not "…"')]),
    "hosts with a user": ("[mqtt]\nhost = ['bob:hunter2@pi']\n", [(2, "mqtt.host", "must be text in quotes, not an array")]),
    "long host with a user": (f"[mqtt]\nhost = 'bob:{'x' * 300}@pi'\n", [(2, "mqtt.host", 'at most 255 characters, not "…"')]),
    "host without a part": ("[mqtt]\nhost = 'a..b'\n", [(2, "mqtt.host", "must be a name, of 1 to 63 letters")]),
    "host with a long part": (f"[mqtt]\nhost = '{'x' * 64}.lan'\n", [(2, "mqtt.host", "must be a name, of 1 to 63 letters")]),
    "host that is nearly an address": ("[mqtt]\nhost = '192.168.1.300'\n", [(2, "mqtt.host", "or an address like")]),
    "a page at no host": ("[page]\nhost = 'cam..lan'\n", [(2, "page.host", "must be a name, of 1 to 63 letters")]),
    "a page at no host, by its old name": ("[web]\nhost = 'cam..lan'\n", [(2, "web.host", "must be a name, of 1 to 63 letters")]),
    "a page at a port": ("[page]\nhost = 'cam:80'\n", [(2, "page.host", "the port goes into page.port")]),
    "a camera at no host": (
        "[camera]\nkind = 'stream'\nsource = 'rtsp://bob:hunter2@a..b/x'\n",
        [(3, "camera.source", "rtsp://a..b/x: its host must be a name, of 1 to 63 letters")],
    ),
    "topic with a wildcard": ("[mqtt]\nprefix = 'a/#'\n", [(2, "mqtt.prefix", "without +, #")]),
    "device not fit for a topic": ("device = 'Front Door'\n", [(1, "device", "a-z, 0-9")]),
    "bad TOML": ("[camera]\nfps = = 5\n", [(2, "", "not TOML")]),
    "bracket never closed": ("[decision]\nignore = ['a',\n\n[mqtt]\nport = 1\n", [(2, "", "it begins here")]),
    "key twice": ("[camera]\nfps = 1\nfps = 2\n", [(3, "", "not TOML")]),
    "table twice": ("[camera]\nfps = 1\n[mqtt]\n[camera]\n", [(4, "", "not TOML")]),
    "key twice, by its name": ("[camera]\nfps = 1\n[mqtt]\nport = 1\nport = 2\n", [(5, "", "mqtt.port stands in line 4 already")]),
    "table twice, by its name": ("[camera]\nfps = 1\n[mqtt]\n[camera]\n", [(4, "", "camera stands in line 1 already: take one")]),
    "value and table": ("[decision]\ngroups = {}\n[decision.groups]\n", [(3, "", "decision.groups stands in line 2 already")]),
    "key twice at the end": ("device = 'a'\ndevice = 'b'", [(2, "", "device stands in line 1 already")]),
    "a number of very many digits": (f"[camera]\nfps = {'9' * 5000}\n", [(2, "", "a number of too many digits to be read")]),
    "not UTF-8": (b"# x\ndevice = 'K\xfcche'\n", [(2, "", "not UTF-8")]),
    "a byte order mark": (b"\xef\xbb\xbfdevice = 'x'\n", [(1, "", "byte order mark; save the file as UTF-8 without one")]),
    "line ends of Windows": ("[camera]\r\n\r\nfps = 'x'\r\n", [(3, "camera.fps", "must be a number")]),
    "zero bytes": (b"\0\0\0\0", [(1, "", "not TOML")]),
    "leave above enter": ("[decision]\nenter = 0.5\nleave = 0.6\n", [(3, "decision.leave", "0.6 is above enter = 0.5")]),
    "k above n": ("[decision]\nn = 2\nk = 3\n", [(3, "decision.k", "3 of the last n = 2")]),
    "latency against fps": ("[budget]\nlatency_ms = 300\n", [(2, "budget.latency_ms", "camera.fps = 5")]),
    "latency against the budget's fps": ("[budget]\nfps = 2\nlatency_ms = 600\n", [(3, "budget.latency_ms", "budget.fps = 2")]),
    "budget fps above the camera's": ("[camera]\nfps = 2\n[budget]\nfps = 4\n", [(4, "budget.fps", "camera.fps = 2")]),
    "a camera that is absent": ("[camera]\nkind='v4l2'\nsource='/dev/video99'\n", [(3, "camera.source", "/dev/video99 cannot be")]),
    "an absent one by its number": (
        "[camera]\nkind='v4l2'\nsource='99'\n",
        [(3, "camera.source", "/dev/video99 cannot be read: No")],
    ),
    "a stream without an address": ("[camera]\nkind = 'stream'\nsource = '/dev/video0'\n", [(3, "camera.source", "rtsp://")]),
    "pictures without a folder": ("[camera]\nkind = 'pictures'\n", [(2, "camera.kind", "camera.source")]),
    "a password without a user": ("[mqtt]\npassword_file = '/etc/passwd'\n", [(2, "mqtt.password_file", "mqtt.user")]),
    "a certificate without its key": ("[mqtt]\ntls = true\ntls_cert = '/etc/passwd'\n", [(3, "mqtt.tls_cert", "mqtt.tls_key")]),
    "a label that no model knows": (
        "[decision]\nignore = ['backgrund']\n",
        [(2, "decision.ignore", 'no model knows the label "backgrund" (did you mean background?)')],
    ),
    "a group of an unknown label": ("[decision.groups]\na = ['cat']\nb = ['unicron']\n", [(3, "decision.groups.b", '"unicron"')]),
    "a labels file that is not there": ("[model]\nlabels = 'nope.txt'\n", [(2, "model.labels", "No such file")]),
    "a model file that is not there": ("[model]\nname = './nope.tflite'\n", [(2, "model.name", "No such file")]),
    "an unknown model": ("[model]\nname = 'mobilenet_v1_1.0_244'\n", [(2, "model.name", "mobilenet_v1_1.0_224")]),
    "a certificate that is not there": ("[mqtt]\ntls_ca = '/nope/ca.pem'\n", [(2, "mqtt.tls_ca", "/nope/ca.pem cannot be read")]),
    "a folder for a file": ("[mqtt]\ntls_ca = '/etc'\n", [(2, "mqtt.tls_ca", "is not a file")]),
    "pictures that are not there": ("[camera]\nkind='pictures'\nsource='nope'\n", [(3, "camera.source", "No such file")]),
    "a page for all to read": ("[page]\nenabled = true\nhost = '0.0.0.0'\n", [(3, "page.host", "not this board alone")]),
    "the same by its old name": ("[web]\nenabled = true\nhost = '192.168.1.2'\n", [(3, "web.host", "not this board alone")]),
    "half of a certificate": ("[page]\ntls_cert = '/etc/passwd'\n", [(2, "page.tls_cert", "needs page.tls_key")]),
    "a port that is none, by its old name": ("[web]\nport = 0\n", [(2, "web.port", "at least 1")]),
    "a sensor for an unknown label": (
        "[homeassistant]\nlabels = ['persn']\n",
        [(2, "homeassistant.labels", 'no model knows the label "persn" (did you mean person?)')],
    ),
    "half a day": ("[profile.n]\nfrom = '22:00'\n", [(2, "profile.n.from", "needs until beside it")]),
    "a profile name that is taken": ("[profile.file]\ncamera.fps = 2.0\n", [(1, "profile.file", "is no name for a profile")]),
    "half a profile by the clock": ("[profile.n]\nuntil = '6:00'\n", [(2, "profile.n.until", 'a time of day like "06:30"')]),
    "a profile": ("[profile.night]\ncamera.kind = 'v4l2'\n", [(2, "profile.night.camera.kind", "unknown key")]),
    "a profile against what is outside": (
        "[decision]\nn = 2\n[profile.night.decision]\nk = 3\n",
        [(4, "profile.night.decision.k", "3 of the last n = 2")],
    ),
    "two faults at once": (
        "[camera]\nfps = 'a'\n[mqtt]\nport = 99999\n",
        [(2, "camera.fps", "must be a number"), (4, "mqtt.port", "must be at most 65535")],
    ),
    "five faults of every sort at once": (
        "device = 'A'\nfps = 1\n[decision]\nk = 9\nignore = ['unicron']\n[mqtt]\nuser = 'u'\npassword_file = 'nope'\n",
        [
            (1, "device", "a-z"),
            (2, "fps", "did you mean camera.fps?"),
            (4, "decision.k", "9 of the last n = 3"),
            (5, "decision.ignore", "unicron"),
            (8, "mqtt.password_file", "No such file"),
        ],
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_every_fault_is_named_with_its_line(tmp_path: Path, name: str) -> None:
    text, expected = BROKEN[name]
    path = tmp_path / "edged.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    done = edged("check", "-c", path)
    assert (done.returncode, done.stdout) == (78, "")
    lines = done.stderr.splitlines()
    assert len(lines) == len(expected), done.stderr
    for said, (line, key, what) in zip(lines, expected, strict=True):
        assert said.startswith(f"{path}:{line}: {key}: " if key else f"{path}:{line}: "), said
        assert what in said, said


@pytest.mark.parametrize(
    ("path", "what"),
    [
        ("nope.toml", "No such file"),
        (".", "is not a file"),
        ("/proc/self/mem", "cannot be read"),
        ("/dev/zero", "is not a file"),
        ("a\nb", "No such"),
    ],
)
def test_a_config_that_cannot_be_read(tmp_path: Path, path: str, what: str) -> None:
    done = edged("check", "-c", path, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (78, "")
    assert len(done.stderr.splitlines()) == 1 and what in done.stderr


def test_a_config_of_comments_is_valid_and_everything_is_shown(tmp_path: Path) -> None:
    path = tmp_path / "edged.toml"
    path.write_text("# nothing\n\n")
    done = edged("check", "-c", path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "camera.fps = 5.0  # default" in done.stdout.splitlines()


def test_json_says_what_and_from_where(tmp_path: Path) -> None:
    path = tmp_path / "edged.toml"
    path.write_text("[camera]\nfps = 2\n")
    done = edged("check", "--json", "-c", path)
    told = json.loads(done.stdout)
    assert done.returncode == 0 and told["ok"] is True and told["faults"] == []
    assert told["settings"]["camera"]["fps"] == 2.0
    assert told["origins"]["camera.fps"] == f"{path}:2"
    path.write_text("[camera]\nfps = 0\n")
    done = edged("check", "--json", "-c", path)
    told = json.loads(done.stdout)
    assert done.returncode == 78 and told["ok"] is False
    assert told["faults"] == done.stderr.splitlines()


@pytest.mark.parametrize("command", [["run"], ["classify", "x.png"], ["check"]])
def test_every_command_has_the_same_door(tmp_path: Path, command: list[str]) -> None:
    path = tmp_path / "edged.toml"
    path.write_text("[camera]\nfps = 0\n[mqqt]\n")
    done = edged(*command, "-c", path)
    assert (done.returncode, done.stdout) == (78, "")
    first, second = "camera.fps: must be at least 0.01, not 0", "mqqt: unknown table (did you mean mqtt?)"
    assert done.stderr == f"{path}:2: {first}\n{path}:3: {second}\n"


def test_the_version() -> None:
    done = edged("--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"edged {__version__}\n", "")


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (["chek"], "did you mean check?"),
        (["check", "--jsn"], "--jsn"),
        (["classify"], "PICTURE"),
        ([], "Usage"),
        (["check", "x"], "x"),
    ],
)
def test_a_wrong_command_line_is_2(arguments: list[str], what: str) -> None:
    done = edged(*arguments)
    assert done.returncode == 2 and what in done.stderr and "Traceback" not in done.stderr


def test_help_names_every_command() -> None:
    done = edged("--help")
    assert (done.returncode, done.stderr) == (0, "") and "Usage: edged" in done.stdout
    assert all(f"\n  {name}" in done.stdout for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(name: str) -> None:
    done = edged(name, "--help")
    assert (done.returncode, done.stderr) == (0, "") and f"Usage: edged {name}" in done.stdout


def test_a_reader_that_leaves_is_no_error_to_read_about() -> None:
    """`true` may be gone before or after the output comes."""
    command = f"{sys.executable} -m edged check -c {shipped('config', 'edged.toml')} | true; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=HANG_S)
    assert done.stderr == "" and done.stdout in ("0\n", "141\n")


def test_a_full_disk_behind_the_output_is_one_sentence() -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "edged", "check", "-c", shipped("config", "edged.toml")],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=HANG_S,
        )
    assert done.returncode == 74
    assert done.stderr == "the output cannot be written: No space left on device\n"


def test_closed_streams_are_no_reason_to_fail() -> None:
    command = f"{sys.executable} -m edged check -c {shipped('config', 'edged.toml')} >&- 2>&-; echo $? >&3"
    done = subprocess.run(["bash", "-c", f"exec 3>&1; {command}"], capture_output=True, text=True, timeout=HANG_S)
    assert done.stdout == "0\n"


def test_faults_are_never_wrapped(tmp_path: Path) -> None:
    path = tmp_path / ("long" * 50) / "edged.toml"
    path.parent.mkdir()
    path.write_text(f"device = '{'X' * 300}'\n")
    done = edged("check", "-c", path, COLUMNS="40")
    assert len(done.stderr.splitlines()) == 1


def test_the_exit_codes_are_those_of_the_docs() -> None:
    from edged import __main__ as cli
    from edged import errors

    documented = {int(code) for code in re.findall(r"^\| (\d+) \|", Path("docs/exit-codes.md").read_text(), re.MULTILINE)}
    known = {value for name, value in vars(errors).items() if name.isupper()} | {cli.INTERRUPTED, cli.NOBODY_READS}
    assert documented == known


def test_what_holds_is_shown_where_nothing_is_set(tmp_path: Path) -> None:
    """A model's card says from which score its answers are to be believed; the operator's word wins."""
    models = tmp_path / "models"
    models.mkdir()
    (card,) = [one for one in load_catalogue().cards if one.name == "home_0.25_128"]
    shutil.copy(shipped("models", card.file), models / "mine.tflite")
    own = card.model_copy(update={"name": "mine", "family": "mine", "file": "", "enter": 0.77, "leave": 0.57, "margin": 0.15})
    (models / "mine.toml").write_text(tomlkit.dumps(own.to_toml()))
    path = tmp_path / "edged.toml"
    path.write_text(f'state_folder = "{tmp_path}"\n[model]\nname = "mine"\n[decision]\nmargin = 0.2\n')
    lines = edged("check", "-c", path).stdout.splitlines()
    assert "decision.enter = 0.77  # the card of mine" in lines
    assert "decision.leave = 0.57  # the card of mine" in lines
    assert f"decision.margin = 0.2  # {path}:5" in lines
    assert "budget.latency_ms = no limit  # default" in lines


# what is printed last, and what --changed leaves

VERDICTS = {
    "": "no fault; 0 keys set, 0 other than the default",
    "[camera]\nfps = 5.0\n": "no fault; 1 key set, 0 other than the default",
    "[camera]\nfps = 2.0\n": "no fault; 1 key set, 1 other than the default",
    "device = 'x'\n[decision]\nk = 2\nn = 4\n[profile.night.decision]\nk = 1\n": "no fault; 4 keys set, 3 other than the default",
}


@pytest.mark.parametrize("text", VERDICTS)
def test_the_last_line_is_a_verdict_with_the_files_name(tmp_path: Path, text: str) -> None:
    path = tmp_path / "edged.toml"
    path.write_text(f"# mine\n[page]\n{text}" if not text.startswith("device") else text)
    done = edged("check", "-c", path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == f"# {path}: {VERDICTS[text]}"


def test_changed_shows_what_differs_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "edged.toml"
    path.write_text("[camera]\nfps = 2.0\nbuffers = 4\n[mqtt]\nport = 1884\n[profile.night.camera]\nfps = 1.0\n")
    rows = [line for line in edged("check", "--changed", "-c", path).stdout.splitlines() if not line.startswith("#")]
    assert rows == [
        f"camera.fps = 2.0  # {path}:2",
        f"mqtt.port = 1884  # {path}:5",
        f"profile.night.camera.fps = 1.0  # {path}:7",
    ]


def test_changed_is_also_what_a_program_gets(tmp_path: Path) -> None:
    path = tmp_path / "edged.toml"
    path.write_text("[camera]\nfps = 2.0\nbuffers = 4\n[profile.night]\nfrom = '22:00'\nuntil = '06:00'\n")
    told = json.loads(edged("check", "--changed", "--json", "-c", path).stdout)
    assert told["settings"] == {"camera": {"fps": 2.0}, "profile": {"night": {"from": "22:00", "until": "06:00"}}}
    assert told["origins"] == {
        "camera.fps": f"{path}:2",
        "profile.night.from": f"{path}:5",
        "profile.night.until": f"{path}:6",
    }


@pytest.mark.skipif(SYSTEM_FILE.exists(), reason=f"this machine has {SYSTEM_FILE}")
def test_without_a_file_it_says_so() -> None:
    done = edged("check", "--changed")
    assert done.returncode == 0
    assert (
        done.stdout.splitlines()[-1] == f"# no config file: {SYSTEM_FILE} is not there, and -c names none; these are the defaults"
    )


@pytest.mark.skipif(find_spec("picamera2") is not None, reason="picamera2 is installed here")
def test_a_picamera2_that_is_not_there_is_named_as_a_device_is(tmp_path: Path) -> None:
    path = tmp_path / "edged.toml"
    why = "picamera2 is not installed here: sudo apt install python3-picamera2, and a venv with --system-site-packages"
    path.write_text("[camera]\n\nkind = 'picamera2'\n")
    done = edged("check", "-c", path)
    assert (done.returncode, done.stdout, done.stderr) == (78, "", f"{path}:3: camera.kind: {why}\n")
    path.write_text("[camera]\nsource = '1'\n")
    assert edged("check", "-c", path).stderr == f"{path}:2: camera.source: {why}\n"
    path.write_text("[camera]\nfps = 2.0\n")
    done = edged("check", "-c", path)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"# camera: {why}; edged would run, and say that its camera is lost" in done.stdout.splitlines()


def test_a_threshold_that_gives_way_is_not_said_to_be_the_cards(tmp_path: Path) -> None:
    path = tmp_path / "edged.toml"
    path.write_text(
        "[model]\nname = 'home_0.25_96'\n[decision]\nleave = 0.99\n[profile.night.decision]\nenter = 0.2\nleave = 0.1\n"
    )
    said = edged("check", "-c", path).stdout.splitlines()
    assert "decision.enter = 0.99  # raised to decision.leave; the card of home_0.25_96 says 0.83" in said
    note = (
        "decision.leave: 0.99 is above the enter = 0.83 of home_0.25_96, which is raised to it: lower leave, or set decision.enter"
    )
    assert f"# {note}" in said
    assert note in json.loads(edged("check", "-c", path, "--json").stdout)["notes"]
    path.write_text("[model]\nname = 'home_0.25_96'\n[profile.night.decision]\nenter = 0.2\n[profile.day.decision]\nleave = 0.9\n")
    said = edged("check", "-c", path).stdout.splitlines()
    assert (
        "profile.night.decision.leave = 0.2  # lowered to profile.night.decision.enter; the card of home_0.25_96 says 0.63" in said
    )
    assert "profile.day.decision.enter = 0.9  # raised to profile.day.decision.leave; the card of home_0.25_96 says 0.83" in said
    assert "profile.day.decision.margin = 0.1  # the card of home_0.25_96" in said
    assert [line for line in said if "is above the enter" in line] == [
        "# profile.day.decision.leave: 0.9 is above the enter = 0.83 of home_0.25_96, which is raised to it: "
        "lower leave, or set profile.day.decision.enter"
    ]


@pytest.mark.skipif(Path("/dev/video0").exists(), reason="this machine has a camera")
def test_an_absent_camera_that_only_the_default_names_is_told_where_its_kind_is(tmp_path: Path) -> None:
    path = tmp_path / "edged.toml"
    path.write_text("[camera]\nkind = 'v4l2'\n")
    assert edged("check", "-c", path).stderr == f"{path}:2: camera.kind: /dev/video0 cannot be read: No such file or directory\n"
