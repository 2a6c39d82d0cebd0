"""Cameras' addresses with secrets in every part of them: nothing of a secret is shown, wherever it stands."""

import json
import logging
import random
import re
import subprocess
import sys
from pathlib import Path

import pytest

from edged.config.reading import read_settings, to_settings
from edged.config.source import Source
from edged.doctor.bundle import redacted, to_bundle
from edged.doctor.finding import fail, warn
from edged.doctor.site import Site
from edged.errors import ConfigError
from edged.system.text import PrintableFormatter, shown_address, to_sentence, without_secrets
from edged.vision.cameras.camera import CameraFault
from edged.vision.cameras.stream import StreamCamera, with_login
from tests.campaigns.size import SEED, count, report
from tests.e2e.running import HANG_S

SECRET = "Zq7XwPk"  # in no other word here
SHORT, FULL = 10_000, 100_000
SCHEMES = ("rtsp", "rtsps", "http", "https", "rtmp", "RTSP", "Http")
HOSTS = ("cam", "192.168.1.20", "[fe80::1]", "cam.lan:554", "[::1]:8080", "cam-2.example")
PATHS = ("", "/", "/live", "/h264/ch1/main", "/a%20b", "/cam/realmonitor", "/axis-media/media.amp")
AROUND = (
    "",
    "/",
    "@",
    ":",
    "#",
    "?",
    "&",
    "=",
    ";",
    "%40",
    "%2F",
    " ",
    "\\",
    "é",
    "\x1b",
    "\n",
    "//",
    "@@",
    "://",
    "%",
    '"',
    "'",
    "<",
    ",",
)


def secret(rng: random.Random) -> str:
    """A password with anything around its middle, the middle being what is looked for."""
    return rng.choice(AROUND) + SECRET + rng.choice(AROUND)


def address(rng: random.Random) -> str:
    """One with a secret where cameras, and people who copy from a forum, put it."""
    scheme, host, path = rng.choice(SCHEMES), rng.choice(HOSTS), rng.choice(PATHS)
    word = secret(rng)
    kind = rng.randrange(10)
    if kind == 0:
        return f"{scheme}://admin:{word}@{host}{path}"
    if kind == 1:
        return f"{scheme}://{word}@{host}{path}"
    if kind == 2:
        return f"{scheme}://{host}{path}?user=admin&pwd={word}"
    if kind == 3:
        return f"{scheme}://{host}?{word}"
    if kind == 4:
        return f"{scheme}://{host}/user=admin&password={word}&channel=1&stream=0.sdp"
    if kind == 5:
        return f"{scheme}://{host}{path}#{word}"
    if kind == 6:
        return f"{scheme}://{host}{path};user=admin;pwd={word}"
    if kind == 7:
        return f"{scheme}:/{rng.choice(('', '/'))}admin:{word}@{host}{path}?token={word}"
    if kind == 8:
        return f"admin:{word}@{host}{path}"
    return f"{scheme}://a:b@{host}{path}?x=a@b&p={word}@{host}/{word}?{word}"


def test_no_secret_is_shown() -> None:
    wanted, rng = count(SHORT, FULL), random.Random(SEED)
    shown_hosts = 0
    formatter = PrintableFormatter("%(levelname)s %(message)s")
    for _ in range(wanted):
        source = address(rng)
        shown = shown_address(source)
        assert SECRET not in shown and shown.isprintable(), (source, shown)
        line = formatter.format(logging.LogRecord("edged", 30, "", 0, "[tcp] %s failed", (source.replace(" ", ""),), None))
        assert line.isprintable(), (source, line)
        if re.match(r"[A-Za-z]+://", source) and not any(c in source for c in " \n\"'<>"):
            assert SECRET not in line, (source, line)
        shown_hosts += "…" not in shown and shown != "an address"
    report("addresses", {"addresses": wanted, "secrets_shown": 0, "with_a_host": shown_hosts, "seed": SEED})


def test_no_fault_of_a_config_shows_one() -> None:
    """Also where the address stands at a key that it does not belong to, or has the wrong type."""
    wanted, rng = count(2000, 20_000), random.Random(SEED)
    for _ in range(wanted):
        source = address(rng)
        camera = rng.choice(
            (
                {"kind": "stream", "source": source},
                {"source": source},
                {"kind": "pictures", "source": source},
                {"kind": "v4l2", "source": source},
                {"source": [source]},
                {"source": source + "x" * 2000},
                {"kind": "stream", "source": source, "user": "admin", "password_file": "/nowhere"},
            )
        )
        reading = to_settings(Source(values={"camera": camera}))
        error = reading.to_error()
        assert error is None or SECRET not in str(error), (camera, str(error))


def test_no_camera_shows_one() -> None:
    wanted, rng = count(60, 300), random.Random(SEED)
    for _ in range(wanted):
        source = address(rng).replace("cam.lan", "127.0.0.1").replace("192.168.1.20", "127.0.0.1").replace("cam", "127.0.0.1")
        if "127.0.0.1" not in source:
            continue
        with pytest.raises(CameraFault) as told:
            StreamCamera(source, fps=5)
        assert SECRET not in str(told.value), (source, str(told.value))


@pytest.mark.parametrize(
    "source",
    [
        f"http://cam/v.cgi?user=a&pwd={SECRET}",
        f"rtsp://u:a@{SECRET}@host",
        f"rtsp://u:a/{SECRET}@host",
        f"rtsp://u:{SECRET}@host/live",
    ],
)
@pytest.mark.parametrize("option", [[], ["--json"]])
def test_check_shows_none(tmp_path: Path, source: str, option: list[str]) -> None:
    path = tmp_path / "edged.toml"
    path.write_text(f"[camera]\nkind = 'stream'\nsource = {json.dumps(source)}\n")
    done = subprocess.run(
        [sys.executable, "-m", "edged", "check", "-c", path, *option], capture_output=True, text=True, check=False, timeout=HANG_S
    )
    assert done.returncode == 0 and SECRET not in done.stdout + done.stderr


def test_no_bundle_for_a_helper_shows_one(tmp_path: Path) -> None:
    """Secrets in the config's address, in password files, and wherever a finding, a fault or somebody's name may hold them."""
    wanted, rng = count(60, 2000), random.Random(SEED)
    (tmp_path / "etc/edged").mkdir(parents=True)
    for number in range(wanted):
        source = address(rng)
        own = f"own{SECRET}{number}"
        (tmp_path / "etc/edged/mqtt_password").write_text(f"{own}\nsecond line\n")
        values = {"camera": {"kind": "stream", "source": source}, "mqtt": {"user": f"me{SECRET}", "host": "pi"}, "device": "door"}
        values["state_folder"] = str(tmp_path)
        reading = to_settings(Source("x.toml", values))
        found = [
            fail("camera", f"{source.replace(' ', '')} gave no picture", f"curl {source.replace(' ', '')}"),
            warn("broker", f"refused: user me{SECRET}, password {own}", ""),
        ]
        text = to_bundle(Site(tmp_path), reading.settings, "x.toml", found[1:])
        assert SECRET not in text, (source, text)
        assert "== doctor" in text and "== log" in text and 'mqtt.host = "pi"' in text
        if re.match(r"[A-Za-z]+://", source) and not any(c in source for c in " \n\"'<>"):
            assert SECRET not in to_bundle(Site(tmp_path), reading.settings, "x.toml", found[:1]), source
    report("bundles", {"bundles": wanted, "secrets_shown": 0, "seed": SEED})


def test_what_is_no_secret_is_shown_whole() -> None:
    for source in (
        "0",
        "/dev/video0",
        "/base/soc/i2c0mux/i2c@1/imx708@1a",
        "rtsp://cam:554/live/ch1",
        "http://[::1]:80/v",
        "album",
    ):
        assert shown_address(source) == source
    assert shown_address("rtsp://u:a@b@cam:554/live") == "rtsp://cam:554/live"
    assert without_secrets(f"a rtsp://u:{SECRET}@cam/1, b http://x?p={SECRET} c") == "a rtsp://cam/1, b http://x c"


def test_a_login_is_quoted_whole() -> None:
    assert with_login("rtsp://cam/live", "a@b", "p:/?#@é") == "rtsp://a%40b:p%3A%2F%3F%23%40%C3%A9@cam/live"


def test_the_config_itself_is_read_with_all_of_them(tmp_path: Path) -> None:
    rng, path = random.Random(SEED), tmp_path / "edged.toml"
    for _ in range(count(300, 3000)):
        path.write_text(f"[camera]\nkind = 'stream'\nsource = {json.dumps(address(rng))}\n")
        try:
            read_settings(path)
        except ConfigError as error:
            assert SECRET not in str(error)


def test_what_is_cut_was_made_fit_to_be_shown_before() -> None:
    """Half of an address looks like another one: `rtsp://admin:12345` like a host and its port."""
    for room in range(1900, 2010):
        line = "x" * room + " rtsp://admin:12345678@camera/live"
        for said in (to_sentence(line), redacted(line, [])):
            assert len(said) <= 2000 and "admin" not in said and "1234" not in said
