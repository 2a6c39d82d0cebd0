"""The pure parts of following: what a change is, what a profile makes of the settings, when a model has proven itself."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edged.config.diff import to_change
from edged.config.edit import write_model_name
from edged.config.profile import to_hour, with_wish
from edged.config.reading import Settings, to_settings
from edged.config.source import Source, parse_source, salvage
from edged.daemon.requests import to_wish
from edged.errors import ConfigError
from edged.models.store import Store
from edged.rollout.active import Active
from edged.rollout.last_good import LastGood
from edged.rollout.override import clear_override, load_override, save_override, to_override
from edged.rollout.startup import Starts
from edged.rollout.switcher import BAD, GOOD, Proof


def of(text: str) -> Settings:
    reading = to_settings(parse_source(Path("/x/edged.toml"), text.encode()))
    assert not reading.faults
    return reading.settings


@given(st.lists(st.floats(0, 200)), st.floats(1, 100))
def test_a_proof_ends_one_way_and_stays_there(latencies, limit_ms):
    proof, verdict = Proof(limit_ms), ""
    for ms in latencies:
        proof.see(ms)
        said = "proven" if proof.proven else proof.fault
        assert not verdict or said == verdict
        verdict = said
    first = latencies[: GOOD + BAD - 1]
    enough = sum(ms <= limit_ms for ms in first) >= GOOD or sum(ms > limit_ms for ms in first) >= BAD
    assert bool(verdict) == enough


@given(st.integers(0, 1439), st.integers(0, 1439), st.integers(0, 1439))
def test_a_profile_has_its_hours_also_over_midnight(begins, ends, minute):
    if begins == ends:
        return
    clock = lambda m: f"{m // 60:02}:{m % 60:02}"  # noqa: E731
    settings = of(f'[profile.night]\nfrom = "{clock(begins)}"\nuntil = "{clock(ends)}"\n')
    passed = {(begins + n) % 1440 for n in range((ends - begins) % 1440)}
    assert (to_hour(settings, minute) == "night") == (minute in passed)
    assert to_hour(settings, None) == ""


NIGHT = """
[model]
name = "home_0.25_96"
threads = 2
[camera]
fps = 8.0
[decision]
enter = 0.5
[profile.night]
from = "22:00"
until = "06:00"
[profile.night.model]
name = "home_0.25_128"
[profile.night.camera]
fps = 2.0
"""


def test_a_wish_lies_over_the_profile_of_the_hour():
    settings = of(NIGHT)
    day, night = with_wish(settings, "", 12 * 60), with_wish(settings, "", 23 * 60)
    assert (day.model.name, day.camera.fps) == ("home_0.25_96", 8.0)
    assert (night.model.name, night.model.threads, night.camera.fps, night.decision.enter) == ("home_0.25_128", 2, 2.0, 0.5)
    assert with_wish(settings, "@night", 12 * 60) == night
    named = with_wish(settings, "auto", 23 * 60)
    assert (named.model.name, named.camera.fps) == ("auto", 2.0)
    with pytest.raises(ConfigError, match=r'no profile "nite"; the config has @night'):
        with_wish(settings, "@nite", None)


@pytest.mark.parametrize("wish", ["@nite", "@"])
def test_a_profile_that_is_not_there_is_no_fault_of_the_config(wish):
    """As a model that is not there, which is 1: a 78 sends the person to a file that has nothing to mend."""
    with pytest.raises(ConfigError, match="there is no profile") as refused:
        with_wish(of(NIGHT), wish, 23 * 60)
    assert refused.value.exit_code == 1


def test_a_profile_needs_a_name():
    reading = to_settings(parse_source(Path("/x/edged.toml"), b'[profile.""]\ncamera.fps = 2.0\n'))
    assert [fault.what for fault in reading.faults] == ["is no name for a profile: give it one, as in [profile.night]"]


def test_with_another_model_the_labels_of_the_former_one_go_and_all_else_stays():
    settings = of('[model]\nname = "gate.tflite"\nlabels = "gate.txt"\nrecast = false\nthreads = 2\nfamily = "own"\n')
    model = with_wish(settings, "home_0.25_96", None).model
    assert model == settings.model.model_copy(update={"name": "home_0.25_96", "labels": ""})


def test_a_change_is_sorted_by_what_must_be_done():
    old = of('device = "a"\n')
    change = to_change(old, of('device = "b"\n[camera]\nfps = 2.0\n[outbox]\nttl_s = 5.0\n[mqtt]\nresult_fps = 2.0\n'))
    assert set(change.keys) == {"device", "camera.fps", "outbox.ttl_s", "mqtt.result_fps"}
    assert change.at_start == ("outbox.ttl_s",)
    assert not to_change(old, of('# the same\ndevice = "a"\n')).keys


@pytest.mark.parametrize(
    ("payload", "wish"),
    [
        (b"home_0.25_96", "home_0.25_96"),
        (b" auto\n", "auto"),
        (b"@night", "@night"),
        (b"", None),
        (b"/etc/passwd", None),
        (b"../x", None),
        (b"x.tflite", None),
        (b"~/x", None),
        (b"\xff", None),
        (b"a\x00b", None),
        (b"x" * 201, None),
    ],
)
def test_a_wish_is_never_a_path(payload, wish):
    assert to_wish(payload) == wish


def test_an_override_holds_until_the_model_section_changes(tmp_path):
    settings = of(NIGHT).model_copy(update={"state_folder": tmp_path})
    save_override(tmp_path, to_override(settings, "auto", "use"))
    assert load_override(settings).wish == "auto"
    assert load_override(settings.model_copy(update={"model": settings.model.model_copy(update={"threads": 1})})) is None
    whole = (tmp_path / "override.json").read_bytes().rstrip()
    for length in range(len(whole)):
        (tmp_path / "override.json").write_bytes(whole[:length])
        assert load_override(settings) is None
    clear_override(tmp_path)
    clear_override(tmp_path)


def test_the_last_good_pair_is_whole_or_not_there(tmp_path):
    """Whatever a power cut left of any of its files."""
    installed = Store(tmp_path).find("home_0.25_96")
    last_good, source = LastGood(tmp_path), parse_source(tmp_path / "edged.toml", NIGHT.encode())
    assert last_good.running() is None and last_good.reading() is None
    last_good.remember(source, "@night", Active(installed, 1, "config"))
    assert last_good.reading().settings == to_settings(source).settings and last_good.wish == "@night"
    assert last_good.running().installed.sha256 == installed.sha256 and last_good.running().installed.labels == installed.labels
    for file in (tmp_path / "last_good").iterdir():
        whole = file.read_bytes()
        for length in range(0, len(whole), max(1, len(whole) // 50)):
            file.write_bytes(whole[:length])
            reading, running = last_good.reading(), last_good.running()
            assert reading is None or reading.source.data == NIGHT.encode()
            assert running is None or running.installed.sha256 == installed.sha256
            assert reading is None or running is None or not whole[length:].strip()  # without its last line's end it is whole
        file.write_bytes(whole)
    assert last_good.running() is not None


def test_starts_are_counted_until_one_comes_to_something(tmp_path):
    assert [Starts(tmp_path).begin() for _ in range(3)] == [0, 1, 2]
    Starts(tmp_path).end()
    assert Starts(tmp_path).begin() == 0
    (tmp_path / "starts.json").write_text('{"unfinished": -5}')
    assert Starts(tmp_path).begin() == 0


def test_the_state_folder_is_found_in_a_file_that_is_no_toml(tmp_path):
    path = tmp_path / "edged.toml"
    path.write_text('# mine\nstate_folder = "/srv/edged"\n[camera\n')
    assert salvage(path, "state_folder") == "/srv/edged"
    path.write_text('[camera\nstate_folder = "/srv/edged"\n')
    assert salvage(path, "state_folder") is None


def test_a_name_is_written_between_the_comments(tmp_path):
    path = tmp_path / "edged.toml"
    path.write_text('# a\n[model] # b\nname = "x" # c\n\n[camera]\nfps = 2.0\n')
    write_model_name(path, "auto")
    assert path.read_text() == '# a\n[model] # b\nname = "auto" # c\n\n[camera]\nfps = 2.0\n'
    path.write_text("[model\n")
    with pytest.raises(ConfigError, match="not TOML"):
        write_model_name(path, "auto")
    assert path.read_text() == "[model\n"


def test_defaults_are_an_empty_source():
    assert to_settings(Source()).settings.model_dump() == Settings().model_dump()
