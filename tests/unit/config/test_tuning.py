"""Single keys beside the file: checked as the file is, and in words of the file."""

import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edged.config.parts import shows_picture
from edged.config.reading import Settings, to_settings
from edged.config.source import parse_source
from edged.config.tuning import TUNABLE, to_toml, to_values, with_tuned
from edged.errors import ConfigError


def of(text: str = "") -> Settings:
    reading = to_settings(parse_source(Path("/x/edged.toml"), text.encode()))
    assert not reading.faults
    return reading.settings


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"camera.region": [0, 0, 2, 1]}, "camera.region: must be x, y, width, height"),
        ({"camera.region": [0, 0, 1]}, "camera.region: must have 4 numbers"),
        ({"camera.region": "all"}, "camera.region: must be an array"),
        ({"decision.enter": 1.5}, "decision.enter: must be at most 1"),
        ({"decision.enter": "0.5"}, "decision.enter: must be a number"),
        ({"decision.enter": True}, "decision.enter: must be a number"),
        ({"decision.leave": 0.9, "decision.enter": 0.5}, "decision.leave: 0.9 is above enter"),
        ({"decision.k": 5}, "decision.k: 5 of the last n"),
        ({"mqtt.host": "elsewhere"}, "mqtt.host: can not be set beside the file"),
        ({"camera.source": "/etc/shadow"}, "camera.source: can not be set beside the file"),
        ({"__class__": 1}, "can not be set"),
    ],
)
def test_what_the_file_could_not_say_is_refused_in_the_same_words(values: dict, said: str) -> None:
    with pytest.raises(ConfigError) as refused:
        with_tuned(of(), values)
    assert said in str(refused.value)


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "camera.region": st.sampled_from([[0, 0, 1, 1], [0.25, 0.5, 0.5, 0.25]]),
            "decision.enter": st.floats(0.5, 1),
            "decision.leave": st.floats(0, 0.5),
            "decision.margin": st.floats(0.01, 1),
            "decision.n": st.integers(3, 100),
            "decision.hold_s": st.floats(0, 3600),
        },
    )
)
def test_what_is_set_holds_and_its_toml_says_the_same(values: dict) -> None:
    before = of()
    after = with_tuned(before, values)
    assert to_values(after) == to_values(before) | values
    text = to_toml(values)
    tomllib.loads(text)
    assert to_values(of(text)) == to_values(after)
    assert set(values) <= set(TUNABLE)
    same = {"camera": before.camera, "decision": before.decision}
    assert after.model_copy(update=same) == before, "and nothing else"


@pytest.mark.parametrize(
    ("text", "shows"),
    [
        ("", True),
        ("[snapshot]\nlocal = false", False),
        ("[page]\nhost = '0.0.0.0'", False),
        ("[page]\nhost = '192.168.1.2'\npicture = true", True),
        ("[page]\nhost = '::1'", True),
        ("[page]\npicture = true\n[snapshot]\nlocal = false", False),
        ("[web]\nhost = '0.0.0.0'", False),
    ],
)
def test_where_the_page_may_show_the_picture(text: str, shows: bool) -> None:
    assert shows_picture(of(text)) == shows
