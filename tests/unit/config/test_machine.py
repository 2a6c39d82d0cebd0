"""The config against what is on the machine."""

from pathlib import Path

import pytest

from edged.config.machine import read_checked, surroundings
from edged.config.reading import read_settings
from edged.errors import ConfigError


def whats(folder: Path, text: str, *, camera: bool = False) -> list[str]:
    path = folder / "edged.toml"
    path.write_text(f'state_folder = "{folder}/state"\n{text}')
    return [f"{'.'.join(fault.keys)}: {fault.what}" for fault in surroundings(read_settings(path), camera=camera)]


def test_a_credential_of_the_service_is_not_looked_for(tmp_path: Path) -> None:
    assert whats(tmp_path, '[mqtt]\nuser = "u"\npassword_file = "/run/credentials/edged.service/mqtt_password"\n') == []


def test_labels_of_the_catalogue_and_of_the_named_file_are_known(tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text("fox\nhedgehog\n")
    text = '[decision]\nignore = ["macaw", "fox"]\n[model]\nname = "x.tflite"\nlabels = "labels.txt"\n'
    (fault,) = whats(tmp_path, text)
    assert fault.startswith("model.name: ")
    assert whats(tmp_path, '[decision]\nignore = ["macaw", "fxo"]\n')[0].startswith(
        'decision.ignore: no model knows the label "fxo"'
    )


def test_an_absent_camera_is_a_fault_for_check_only(tmp_path: Path) -> None:
    text = '[camera]\nkind = "pictures"\nsource = "nope"\n'
    assert whats(tmp_path, text) == []
    (fault,) = whats(tmp_path, text, camera=True)
    assert fault.startswith("camera.source: ")
    assert read_checked(tmp_path / "edged.toml").settings.camera.source == str(tmp_path / "nope")


def test_a_profiles_faults_are_told_at_the_profile(tmp_path: Path) -> None:
    found = whats(tmp_path, '[profile.night]\nmodel.name = "nope"\ndecision.ignore = ["xyzzy"]\n')
    assert [fault.split(": ")[0] for fault in found] == ["profile.night.model.name", "profile.night.decision.ignore"]


def test_what_is_outside_of_a_profile_is_told_once(tmp_path: Path) -> None:
    found = whats(tmp_path, '[model]\nlabels = "nope.txt"\n[decision]\nignore = ["xyzzy"]\n[profile.night]\ncamera.fps = 1\n')
    assert [fault.split(": ")[0] for fault in found] == ["model.labels", "decision.ignore"]


def test_all_faults_come_together_by_line(tmp_path: Path) -> None:
    path = tmp_path / "edged.toml"
    path.write_text('[decision]\nignore = ["xyzzy"]\nk = 0\n[mqtt]\ntls_ca = "nope"\n[gate]\nthreshold = 2\n')
    with pytest.raises(ConfigError) as raised:
        read_checked(path)
    assert [int(fault.removeprefix(f"{path}:").split(":")[0]) for fault in raised.value.faults] == [2, 3, 5, 7]
