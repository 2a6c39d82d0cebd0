"""The config: what a file comes to, where each value came from, and that nothing in it can break the reading."""

import os
import re
import tomllib
from pathlib import Path

import pytest
import tomlkit
from hypothesis import example, given
from hypothesis import strategies as st

from edged.config.faults import show
from edged.config.reading import choose_daemon_folder, choose_state_folder, load_settings, read_settings, to_settings
from edged.config.settings import Settings, to_device
from edged.config.source import LONGEST, Source, find_lines
from edged.decision import Thresholds, to_thresholds
from edged.errors import ConfigError
from edged.process.control import SOCKET
from edged.system.files import shipped

JARGON = re.compile(
    r"pydantic|Input should|validat|_type|NoneType|<class|tuple\b|\bdict\b|Traceback|ValueError|field required", re.I
)


def written(folder: Path, text: str) -> Path:
    path = folder / "edged.toml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("text", ["", "\n\n", "# only\n# comments\n", "[camera]\n[mqtt]\n", "\r\n# x\r\n"])
def test_nothing_is_a_valid_config(tmp_path: Path, text: str) -> None:
    settings = load_settings(written(tmp_path, text))
    assert settings.model_dump(exclude={"state_folder"}) == Settings().model_dump(exclude={"state_folder"})
    assert set(settings.origins) >= {"device", "camera.fps", "mqtt.host", "decision.groups"}


def test_each_value_knows_its_line(tmp_path: Path) -> None:
    text = 'device = "a"\n\n[decision]\n# why\nk = 3\nignore = [\n  "x",\n]\n[camera]\n  fps = 2\nregion=[0,0,0.5,1]\n'
    text += '[decision.groups]\npet=["cat"]\n'
    path = written(tmp_path, text)
    origins = load_settings(path).origins
    for key, line in {
        "device": 1,
        "decision.k": 5,
        "decision.ignore": 6,
        "camera.fps": 10,
        "camera.region": 11,
        "decision.groups": 12,
    }.items():
        assert origins[key] == f"{path}:{line}"
    assert origins["mqtt.host"] == "default"


def test_settings_are_frozen_values(tmp_path: Path) -> None:
    settings = load_settings(written(tmp_path, '[decision]\nignore = ["a"]\nk = 1\n[mqtt]\nversion = "3.1.1"\n[camera]\nfps = 2\n'))
    assert settings.decision.ignore == ("a",)
    assert settings.mqtt.version == 4
    assert isinstance(settings.camera.fps, float)
    with pytest.raises(ValueError, match="frozen"):
        settings.camera.fps = 3.0  # type: ignore[misc]


def test_relative_paths_begin_at_the_config(tmp_path: Path) -> None:
    settings = load_settings(
        written(
            tmp_path,
            'state_folder = "state"\n[camera]\nkind = "pictures"\nsource = "album"\n[model]\nname = "m.tflite"\nlabels = "/l.txt"\n'
            '[mqtt]\nuser = "u"\npassword_file = "secret"\n[profile.n.model]\nname = "./n.tflite"\n',
        )
    )
    assert settings.state_folder == tmp_path / "state"
    assert settings.camera.source == str(tmp_path / "album")
    assert settings.model.name == str(tmp_path / "m.tflite")
    assert settings.model.labels == "/l.txt"
    assert settings.mqtt.password_file == str(tmp_path / "secret")
    assert settings.profile["n"].model.name == str(tmp_path / "n.tflite")


def test_a_camera_number_and_a_model_name_are_no_paths(tmp_path: Path) -> None:
    settings = load_settings(written(tmp_path, '[camera]\nsource = "1"\n[model]\nname = "home_0.25_96"\n'))
    assert (settings.camera.source, settings.model.name) == ("1", "home_0.25_96")


def test_a_profile_is_whole(tmp_path: Path) -> None:
    text = "[camera]\nfps = 8\nloop = false\n[decision]\nk = 3\nn = 4\n[profile.night]\ncamera.fps = 1\ndecision.enter = 0.8\n"
    text += "[profile.day]\n"
    path = written(tmp_path, text)
    settings = load_settings(path)
    night, day = settings.profile["night"], settings.profile["day"]
    assert (night.camera.fps, night.decision.enter, night.decision.k, night.decision.n) == (1.0, 0.8, 3, 4)
    assert (day.camera.fps, day.decision) == (8.0, settings.decision)
    assert settings.origins["profile.night.decision.enter"] == f"{path}:9"
    assert settings.origins["profile.night.decision.k"] == f"{path}:5"
    assert settings.origins["profile.night.model.name"] == "default"


def test_the_password_is_not_in_the_settings(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("hunter2")
    settings = load_settings(written(tmp_path, '[mqtt]\nuser = "u"\npassword_file = "secret"\n'))
    assert "hunter2" not in settings.model_dump_json()


@pytest.mark.parametrize(
    ("host", "device"), [("Front Door.lan", "front-door-lan"), ("pi", "pi"), ("", "edged"), ("Küche", "k-che")]
)
def test_the_device_is_the_host_name_fit_for_a_topic(host: str, device: str) -> None:
    assert to_device(host) == device


@given(st.text(max_size=200))
def test_any_host_name_makes_a_valid_device(host: str) -> None:
    assert to_settings(Source("f", {"device": to_device(host)})).faults == ()


def test_the_state_folder_is_the_users_own_where_it_must_be(tmp_path: Path) -> None:
    assert choose_state_folder(tmp_path / "a" / "b", {}) == tmp_path / "a" / "b"
    occupied = tmp_path / "file"
    occupied.write_text("")
    assert choose_state_folder(occupied / "below", {"XDG_STATE_HOME": "/x"}) == Path("/x/edged")
    assert choose_state_folder(occupied / "below", {"XDG_STATE_HOME": "relative"}) == Path.home() / ".local/state/edged"


@pytest.mark.parametrize("name", sorted(path.name for path in shipped("config").glob("*.toml")))
def test_the_shipped_configs_are_sound(name: str) -> None:
    assert read_settings(shipped("config", name)).faults == ()


def test_the_shipped_config_has_every_key_with_its_default() -> None:
    text = re.sub(r"^#(?=[\w\[])", "", shipped("config", "edged.toml").read_text(), flags=re.MULTILINE)
    values = tomllib.loads(text)
    reading = to_settings(Source("/etc/edged/edged.toml", values, find_lines(text)))
    assert reading.faults == ()
    from_elsewhere = {
        "camera": {"show_s"},
        "decision": {"enter", "leave", "margin"},
        "device": True,
        "budget": True,
        "profile": True,
    }
    defaults = Settings().model_dump(by_alias=True, exclude=from_elsewhere, mode="json")
    shown = reading.settings.model_dump(by_alias=True, exclude=from_elsewhere, mode="json")
    assert shown == defaults
    decision = reading.settings.decision
    assert (decision.enter, decision.leave, decision.margin) == to_thresholds(Thresholds(), Thresholds())
    for key, origin in reading.settings.origins.items():
        if not key.startswith(("profile.", "web.")):  # the latter is the old name of [page]
            assert origin != "default", f"{key} is not in edged.toml"


def test_lines_do_not_depend_on_how_a_key_is_written() -> None:
    text = '"camera".fps = 1 # c\n[ decision . "groups" ]\n\'pet\' = [ # x\n"#", """a\n[b]\n"""]\n'
    text += '[[a.b]]\nc.d = {e = 1, "f g" = 2}\n[[a.b]]\nc.z = 1'
    assert find_lines(text) == {
        ("camera",): 1, ("camera", "fps"): 1, ("decision",): 2, ("decision", "groups"): 2, ("decision", "groups", "pet"): 3,
        ("a",): 7, ("a", "b"): 7, ("a", "b", "c"): 8, ("a", "b", "c", "d"): 8, ("a", "b", "c", "d", "e"): 8,
        ("a", "b", "c", "d", "f g"): 8, ("a", "b", "c", "z"): 10,
    }  # fmt: skip


_keys = st.text("ab.\"' #=[]é\n", min_size=1, max_size=4)
_values = st.recursive(
    st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=20) | st.dates() | st.times(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_keys, inner, max_size=3),
    max_leaves=12,
)


@given(st.dictionaries(_keys, _values, max_size=6))
def test_lines_agree_with_another_parser(values: dict[str, object]) -> None:
    """tomlkit writes the document; each of its first-level keys must begin on the line that we say."""
    text = tomlkit.dumps(values)
    lines = find_lines(text)
    for key in tomllib.loads(text):
        line = text.split("\n")[lines[(key,)] - 1]
        assert re.match(r"\s*\[*\s*", line) and any(form in line for form in (key, tomlkit.key(key).as_string())), (key, line)


_sections = dict(Settings.model_fields)
_known = sorted({name for table in Settings().model_dump(by_alias=True).values() if isinstance(table, dict) for name in table})
_names = st.sampled_from([*_known, *_sections, "profile", "night", "fsp", "x y", "", "a\0", "[key]"])
_configs = st.dictionaries(
    st.sampled_from([*_sections, "camra"]),
    _values | st.dictionaries(_names, _values | st.dictionaries(_names, _values, max_size=3), max_size=5),
)


@given(_configs)
@example({"decision": {"groups": {"a": [], "b": False}}})
def test_whatever_toml_holds_is_told_in_our_words(values: dict[str, object]) -> None:
    reading = to_settings(Source("f.toml", values))
    error = reading.to_error()
    assert (error is None) == (not reading.faults)
    for line in error.faults if error else []:
        assert line.isprintable() and line.startswith("f.toml")
        assert not JARGON.search(re.sub(r'"(?:[^"\\]|\\.)*"', "", line)), line
    assert isinstance(reading.settings, Settings)


@given(st.binary(max_size=300) | st.text("a=[]{}\"'#.,\n\r\\1 é", max_size=60).map(str.encode))
def test_whatever_bytes_are_a_config_or_a_config_error(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "bytes.toml"
    path.write_bytes(data)
    try:
        load_settings(path)
    except ConfigError as error:
        assert error.faults
        for fault in error.faults:
            place = re.match(rf"{re.escape(str(path))}:(\d+): ", fault)
            assert place is not None and 1 <= int(place[1]) <= data.count(b"\n") + 1, fault


@pytest.mark.parametrize(
    "text",
    ["a = " + "[" * 5000, "x = " + "9" * 20_000, "# " * LONGEST, "a = [\n" + "1,\n" * 20_000 + "]", "a = [\n" + "1,\n" * 20_000],
)
def test_a_monstrous_file_is_refused_soon(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError):
        load_settings(written(tmp_path, text))


@given(_values)
def test_any_value_can_be_shown(value: object) -> None:
    assert len(show(value)) <= 200


@pytest.mark.parametrize("kind", ["v4l2", "picamera2", "stream"])
@pytest.mark.parametrize("source", ["rtsp://admin:hunter2@cam/1", "admin:hunter2@cam/1", "ftp://admin:hunter2@cam/1"])
def test_a_camera_s_password_is_in_no_fault(tmp_path: Path, kind: str, source: str) -> None:
    try:
        load_settings(written(tmp_path, f'[camera]\nkind = "{kind}"\nsource = "{source}"\n'))
    except ConfigError as error:
        assert "hunter2" not in str(error)


def test_a_command_finds_the_daemon_of_who_may_not_write_in_its_folder(tmp_path: Path) -> None:
    """A member of the daemon's group may pass through its folder (0750) and ask, but writes nothing there."""
    service, own = tmp_path / "service", {"XDG_STATE_HOME": str(tmp_path / "own")}
    service.mkdir(mode=0o750)
    (tmp_path / "own/edged").mkdir(parents=True)
    for path in (service / SOCKET, tmp_path / "own/edged" / SOCKET):
        assert choose_daemon_folder(service, own) == service
        path.touch()
    assert choose_daemon_folder(service, own) == service


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
def test_the_groups_member_finds_it_as_the_service_document_says(tmp_path: Path) -> None:
    for folder in tmp_path.parents:
        if folder.stat().st_uid == os.geteuid() and not folder.stat().st_mode & 0o001 and folder != Path("/"):
            folder.chmod(folder.stat().st_mode | 0o011)
    tmp_path.chmod(0o711)
    (tmp_path / "service").mkdir()
    (tmp_path / "service").chmod(0o750)
    os.chown(tmp_path / "service", 0, 54321)
    (tmp_path / "service" / SOCKET).touch()
    told, tells = os.pipe()
    child = os.fork()
    if child == 0:
        os.setgroups([54321])
        os.setresgid(54320, 54320, 54320)
        os.setresuid(54320, 54320, 54320)
        own = {"XDG_STATE_HOME": "/nowhere"}
        found = choose_state_folder(tmp_path / "service", own), choose_daemon_folder(tmp_path / "service", own)
        os.write(tells, "\n".join(map(str, found)).encode())
        os._exit(0)
    os.close(tells)
    os.waitpid(child, 0)
    assert os.read(told, 4096).decode().split() == ["/nowhere/edged", str(tmp_path / "service")]
    os.close(told)


def test_a_user_without_a_home_has_the_systems_state_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", nobody)
    wanted = tmp_path / "file" / "edged"
    wanted.parent.touch()  # so that nobody can write there
    assert choose_state_folder(wanted, {}) == wanted
