"""What may be a host's name, and what of a login is shown."""

import pytest

from edged.system.text import shown_host, to_host, without_secrets


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("localhost", "localhost"),
        ("broker.lan.", "broker.lan."),
        ("front_door-2", "front_door-2"),
        ("küche.fritz.box", "küche.fritz.box"),
        ("192.168.1.5", "192.168.1.5"),
        ("127.1", "127.1"),
        ("0.0.0.0", "0.0.0.0"),
        ("::1", "::1"),
        ("[::1]", "::1"),
        ("fd00:1:2:3:4:5:6:7", "fd00:1:2:3:4:5:6:7"),
        ("[fe80::1%eth0]", "fe80::1%eth0"),
        ("x" * 63, "x" * 63),
    ],
)
def test_a_host_is_a_name_or_an_address(text: str, host: str) -> None:
    assert to_host(text, "the port") == host


@pytest.mark.parametrize(
    "text",
    (
        *("", ".", "a..b", ".a", "x" * 64, "a." * 126 + "ab", "ä" * 63, "a,b", "a b", "a/b", "[x]", "::g", "1.2.3.400"),
        *("pi:", "pi:80", "[::1]:80", "127.0.0.1:80:99", "mqtt://pi", "bob@pi", "bob:hunter2@pi"),
    ),
)
def test_what_no_host_can_be_is_refused_with_no_word_of_it(text: str) -> None:
    with pytest.raises(ValueError, match="must be a name") as refused:
        to_host(text, "the port")
    assert type(refused.value) is ValueError and "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("no connection to [bob:hunter2@broker.lan]:1883: why", "no connection to […@broker.lan]:1883: why"),
        ('mqtt.host = "bob:hunter2@pi"', 'mqtt.host = "…@pi"'),
        ("bob:hunt@er2@pi", "…@pi"),
        ('{"broker":"[bob:hunter2@pi]:1883"}', '{"broker":"[…@pi]:1883"}'),
        ("rtsp://bob:hunter2@cam/1 and bob:hunter2@pi", "rtsp://cam/1 and …@pi"),
        ('{"wish":"@night","to":"me@pi"}', '{"wish":"@night","to":"me@pi"}'),
        ("edged@front.service: use: @night", "edged@front.service: use: @night"),
        ("/base/soc/i2c0mux/i2c@1/imx708@1a", "/base/soc/i2c0mux/i2c@1/imx708@1a"),
    ],
)
def test_a_login_before_a_host_is_not_shown(text: str, shown: str) -> None:
    assert without_secrets(text) == shown


def test_of_a_host_with_a_login_nothing_is_shown() -> None:
    assert shown_host("bob:hun ter2@pi") == "…" and shown_host("pi") == "pi"
