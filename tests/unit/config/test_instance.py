"""What a second camera has by the place of its config."""

import socket
from pathlib import Path

import pytest

from edged.config.instance import instance_of, to_config, to_instance_device, to_state_folder
from edged.config.reading import choose_state_folder, to_settings
from edged.config.settings import to_device
from edged.config.source import Source
from edged.daemon.identity import load_device_id
from edged.errors import ConfigError


@pytest.mark.parametrize(
    ("path", "name"),
    [
        (None, ""),
        ("/etc/edged/edged.toml", ""),
        ("/etc/edged/front.toml", "front"),
        ("/etc/edged/../edged/front.toml", "front"),
        ("/etc/edged/back-door_2.toml", "back-door_2"),
        ("/etc/edged/Front.toml", ""),
        ("/etc/edged/.toml", ""),
        ("/etc/edged/front.toml~", ""),
        ("/etc/edged/sub/front.toml", ""),
        ("/home/pi/front.toml", ""),
        ("/etc/edged/" + "x" * 49 + ".toml", ""),
    ],
)
def test_an_instance_is_known_by_the_place_of_its_config(path: str | None, name: str) -> None:
    assert instance_of(Path(path) if path else None) == name
    folder = f"/var/lib/edged/instances/{name}" if name else "/var/lib/edged"
    assert to_state_folder(Path(path) if path else None) == Path(folder)
    if name:
        assert to_config(name) == Path("/etc/edged", f"{name}.toml")


@pytest.mark.parametrize("name", ["edged", "Front", "", "a/b", "..", "x" * 49, "a b", "-x"])
def test_what_can_be_no_instance_is_refused(name: str) -> None:
    with pytest.raises(ConfigError) as refused:
        to_config(name)
    assert refused.value.exit_code == 78 and len(refused.value.faults) == 1
    assert ("belongs to edged.service" in str(refused.value)) is (name == "edged")


def test_defaults_follow_from_the_name_and_what_the_file_says_wins() -> None:
    settings = to_settings(Source("/etc/edged/front.toml")).settings
    assert settings.device == f"{to_device(socket.gethostname())}-front"
    assert settings.state_folder == Path("/var/lib/edged/instances/front")
    assert settings.origins["device"] == settings.origins["state_folder"] == "default"
    own = to_settings(Source("/etc/edged/front.toml", {"device": "x", "state_folder": "/srv/x"})).settings
    assert (own.device, own.state_folder) == ("x", Path("/srv/x"))
    first = to_settings(Source("/etc/edged/edged.toml")).settings
    assert first.state_folder == Path("/var/lib/edged") and first.device == to_device(socket.gethostname())
    assert load_device_id(first.state_folder) != load_device_id(settings.state_folder)
    assert len(to_instance_device("y" * 48)) <= 64


def test_who_may_not_write_there_has_a_folder_of_their_own_for_each(tmp_path: Path) -> None:
    own = {"XDG_STATE_HOME": str(tmp_path)}
    occupied = tmp_path / "file"
    occupied.write_text("")
    assert choose_state_folder(occupied / "below", own) == tmp_path / "edged"
    assert choose_state_folder(Path("/var/lib/edged/instances/front"), own) in (
        Path("/var/lib/edged/instances/front"),
        tmp_path / "edged/instances/front",
    )
