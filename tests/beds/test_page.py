"""The page in a real Chromium, before a real edged, broker and camera of pictures: what a person does with it.

Skips where there is no Chromium; the part with axe-core where `tests/beds/page/build` was not run. EDGED_WRITE_DOCS=1 also makes
the screenshots of docs/page.md, after a real fit.
"""

import importlib.resources
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import pytest
import tomlkit

from edged.system.files import shipped
from tests.beds.page.chromium import BROWSER, Chromium, Tab
from tests.e2e.paged import Paged, page_with, with_page
from tests.e2e.running import Broker, Edged, edged_with, wait_for
from tests.e2e.test_page_attacked import at_its_place

pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium here: sudo apt install chromium")

AXE = Path(os.environ.get("EDGED_BEDS", "/var/tmp/edged-beds"), "page/node_modules/axe-core/axe.min.js")
DOCS = Path(__file__).parents[2] / "docs" if os.environ.get("EDGED_WRITE_DOCS") else None
SMALL, LARGE = "home_0.25_96", "home_0.25_128"
SPOILED = "spoiled"
SEES = "!document.querySelector('#picture').hidden && document.querySelector('#picture').naturalWidth > 0"


class World:
    """edged, its page, its broker, its camera, and a browser."""

    def __init__(self, folder: Path, broker: Broker, edged: Edged, page: Paged, browser: Chromium) -> None:
        self.album, self.broker, self.edged, self.page, self.browser = folder / "album", broker, edged, page, browser

    def tab(self, width: int = 1440, *, dark: bool = False) -> Tab:
        """Logged in, and seeing."""
        tab = self.browser.open(f"{self.page.url}/", width, dark=dark)
        tab.until("document.querySelector('#token') || document.querySelector('#verdict')", "a page")
        if tab.run("!!document.querySelector('#token')"):
            log_in(tab, self.page.tokens.control)
        tab.until(SEES, "the picture")
        return tab


def log_in(tab: Tab, token: str) -> None:
    tab.until("document.querySelector('#form button:enabled')", "the login")
    tab.fill("#token", token)
    tab.click("button")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("page")
    (folder / "album").mkdir()
    for number, name in enumerate(("chelsea", "coffee")):
        for again in range(40):
            source = Path(str(importlib.resources.files("skimage.data"))) / f"{name}.png"
            (folder / "album" / f"{number}{again:02}_{name}.png").symlink_to(source)
    broker = Broker(folder)
    config = with_page(
        {
            "device": "door",
            "state_folder": str(folder / "state"),
            "camera": {"kind": "pictures", "source": str(folder / "album"), "fps": 5.0},
            "model": {"name": SMALL},
            "mqtt": {"host": "127.0.0.1", "port": broker.port},
        }
    )
    spoil(folder)
    browser = Chromium(folder / "profile")
    try:
        with edged_with(folder, config) as edged, page_with(folder, edged.config, config["page"]["port"]) as page:
            wait_for(lambda: "camera ok" in edged.said.read_text(), 60, "edged sees")
            yield World(folder, broker, edged, page, browser)
    finally:
        browser.close()
        broker.end()


def spoil(folder: Path) -> None:
    """A model whose file is not what was installed, any more."""
    config = folder / "models.toml"
    config.write_text(f'state_folder = "{folder / "state"}"\n')
    command = [
        sys.executable,
        "-m",
        "edged",
        "models",
        "add",
        str(shipped("models", f"{SMALL}.tflite")),
        "--as",
        SPOILED,
        "-c",
        str(config),
    ]
    subprocess.run(command, check=True, capture_output=True)
    with (folder / "state/models" / f"{SPOILED}.tflite").open("ab") as file:
        file.write(b"more")


def choose(tab: Tab, wish: str) -> None:
    tab.until(f"[...document.querySelector('#wish').options].some((one) => one.value === '{wish}')", f"{wish} may be wished for")
    tab.run(f"document.querySelector('#wish').value = '{wish}'")
    tab.click("#switch button")


def test_a_wrong_token_a_right_one_and_one_that_may_only_look(world: World) -> None:
    world.browser.call("Storage.clearCookies")  # of whoever looked before
    tab = world.browser.open(f"{world.page.url}/")
    log_in(tab, "x" * 24)
    tab.until("document.querySelector('#said').innerText.includes('not one of the tokens')", "refused, with what to do")
    log_in(tab, world.page.tokens.view)
    tab.until(f"document.querySelector('#picture') && {SEES}", "the picture")
    assert "may look, and change nothing" in tab.text("#about")
    shown = tab.run("[...document.querySelectorAll('.changes')].filter((one) => one.offsetParent).length")
    assert shown == 0, "nothing that changes anything is offered"
    tab.drag(*corners(tab, 0.2, 0.2, 0.6, 0.6))
    assert tab.run("document.querySelectorAll('.tried').length") == 0
    tab.click("#logout")
    tab.until("document.querySelector('#token')", "logged out")
    tab.close()


def corners(tab: Tab, *shares: float) -> tuple[tuple[float, float], tuple[float, float]]:
    box = tab.box("#stage")
    x1, y1, x2, y2 = shares
    return (
        (box["x"] + x1 * box["width"], box["y"] + y1 * box["height"]),
        (box["x"] + x2 * box["width"], box["y"] + y2 * box["height"]),
    )


def test_everything_that_a_person_does(world: World) -> None:
    tab = world.tab()
    tab.until("document.querySelector('#verdict').innerText.startsWith('Works')", "five seconds, and one sentence")
    tab.until(
        "document.querySelector('#label').innerText === 'cat' || document.querySelector('#label').innerText === 'none'", "a label"
    )
    tab.until("document.querySelector('#events tbody tr')", "events")
    times = tab.run("[...document.querySelectorAll('#events tbody tr')].map((one) => one.dataset.key)")
    assert len(set(times)) == len(times) and [one[:24] for one in times] == sorted((one[:24] for one in times), reverse=True)
    tab.until("document.querySelector('svg.strip')", "the hour")
    tab.until("document.querySelectorAll('#models tbody tr').length >= 5", "models")
    drag_a_region(tab, world)
    try_thresholds(tab)
    switch_the_model(tab)
    pause(tab)
    assert tab.complaints() == []
    assert {request.split("/")[2] for request in tab.requests() if request.startswith("http")} == {f"127.0.0.1:{world.page.port}"}
    tab.close()


def drag_a_region(tab: Tab, world: World) -> None:
    before = world.edged.config.read_text()
    tab.drag(*corners(tab, 0.25, 0.1, 0.75, 0.9))
    tab.until("document.querySelector('#effect').innerText.includes('There:')", "its effect, before it is saved")
    assert tab.run("document.querySelectorAll('.tried').length") == 1 and not tab.text("#toml")
    tab.click("#region-save")
    tab.until("document.querySelector('#toml').innerText.includes('region = [0.25')", "saved, and the lines that make it permanent")
    assert "edged.toml" in tab.text("#edit") and world.edged.config.read_text() == before
    tab.until("Math.abs(document.querySelector('.holds').getAttribute('x') - 250) < 15", "the picture shows it")
    if DOCS is None:
        tab.click("input[value=model]")
        tab.until("document.querySelector('#picture').naturalWidth <= 128", "as the model sees it")
        tab.click("input[value=whole]")
    tab.until("document.querySelector('#picture').naturalWidth > 128", "the whole again")
    tab.click("#undo")
    tab.until("document.querySelector('#override').hidden", "undone")
    tab.until("document.querySelector('.holds').getAttribute('width') > 990", "the whole picture holds")
    # the same with the keyboard
    tab.fill("#region input[name=x]", "30")
    tab.fill("#region input[name=w]", "40")
    tab.until("document.querySelector('#effect').innerText.includes('There:')", "tried while it is typed")
    tab.click("#region-back")


def try_thresholds(tab: Tab) -> None:
    tab.fill("#thresholds input[name=enter]", "0.99")
    tab.until("document.querySelector('#would').innerText.includes('With these')", "what the hour would have been")
    tab.until("[...document.querySelectorAll('svg.strip text')].some((one) => one.textContent === 'it would')", "and drawn")
    tab.fill("#thresholds input[name=leave]", "1")
    tab.until("document.querySelector('#would').innerText.includes('above enter')", "what can not be meant")
    tab.fill("#thresholds input[name=leave]", "0.5")
    tab.until("document.querySelector('#would').innerText.includes('With these')", "again")
    tab.click("#thresholds-save")
    tab.until("document.querySelector('#toml').innerText.includes('enter = 0.99')", "saved")
    tab.click("#undo")
    tab.until("document.querySelector('#override').hidden", "undone")


def switch_the_model(tab: Tab) -> None:
    choose(tab, LARGE)
    tab.until("document.querySelector('#switched').innerText.includes('has proven itself')", "proven, and said", 40)
    tab.until(f"document.querySelector('#runs').innerText === '{LARGE}'", "it runs")
    tab.until(f"document.querySelector('tr.runs').dataset.name === '{LARGE}'", "the table says so")
    choose(tab, SPOILED)
    tab.until("document.querySelector('#switched').className.includes('bad')", "refused", 40)
    assert "is not the one that was installed" in tab.text("#switched"), tab.text("#switched")
    assert tab.text("#runs") == LARGE
    choose(tab, "@file")
    tab.until(f"document.querySelector('#runs').innerText === '{SMALL}'", "what the file says", 40)


def pause(tab: Tab) -> None:
    tab.click("#pause")
    tab.until("document.querySelector('#verdict').innerText.startsWith('Paused')", "paused")
    tab.until("document.querySelector('#picture').hidden", "and no picture")
    tab.until("document.querySelector('#no-picture').innerText.startsWith('Paused')", "and why")
    assert tab.text("#score") == "" and tab.text("#bars") == "", "nor the scores of a look that is over"
    tab.click("#pause")
    tab.until("document.querySelector('#verdict').innerText.startsWith('Works')", "and on")
    tab.until(SEES, "the picture again")


def test_what_is_set_beside_the_file_is_shown_as_long_as_it_holds(world: World) -> None:
    """Also where another tab, the file or a command changes it."""
    tab = world.tab()
    shown = "!document.querySelector('#override').hidden"
    cookie = world.page.log_in(world.page.tokens.control)
    text = world.edged.config.read_text()
    try:
        for region in ([0.1, 0.1, 0.5, 0.5], [0.2, 0.2, 0.5, 0.5]):
            assert "error" not in world.page.post("/tune", {"values": {"camera.region": region}}, cookie)[1]
            tab.until(
                f"{shown} && document.querySelector('#toml').innerText.includes('{region[0]}, ')", "what somebody else set", 30
            )
        world.edged.config.write_text(text.replace("[camera]", "[camera]\nregion = [0.0, 0.0, 0.9, 0.9]"))
        tab.until(f"!({shown})", "the file was edited, and holds", 30)
        assert "error" not in world.page.post("/tune", {"values": {"decision.hold_s": 2.5}}, cookie)[1]
        tab.until(shown, "set again", 30)
        clear = [sys.executable, "-m", "edged", "use", "--clear", "-c", str(world.edged.config)]
        subprocess.run(clear, check=True, capture_output=True)
        tab.until(f"!({shown})", "cleared at the terminal", 30)
    finally:
        world.edged.config.write_text(text)
    tab.until("document.querySelector('.holds').getAttribute('width') > 990", "the file as it was, for whoever looks next")
    tab.close()


def test_what_is_typed_is_what_is_saved(world: World) -> None:
    """A width below the least was passed over: the field showed 1 %, and 40 % was saved."""
    tab = world.tab()
    tab.fill("#region input[name=w]", "40")
    tab.until("!document.querySelector('#region-save').disabled", "it could be saved")
    tab.fill("#region input[name=w]", "1")
    tab.until("document.querySelector('#effect').innerText.includes('at least')", "that it is too small")
    assert tab.run("document.querySelector('#region-save').disabled")
    tab.fill("#region input[name=w]", "30")
    tab.until("document.querySelector('#effect').innerText.includes('There:')", "its effect")
    tab.click("#region-save")
    tab.until("document.querySelector('#toml').innerText.includes('region = [0, 0, 0.3, 1]')", "saved")
    tab.click("#undo")
    tab.until("document.querySelector('#override').hidden", "undone")
    tab.close()


def test_a_clock_that_is_set_back_hides_no_event(world: World, tmp_path: Path) -> None:
    """Ten events of a future that was none, and one after the clock was set: the last is the newest."""
    (tmp_path / "state").mkdir()
    config = with_page({"device": "test", "state_folder": str(tmp_path / "state")})
    (tmp_path / "edged.toml").write_text(tomlkit.dumps(config))
    bodies = [{"event_type": "entered", "label": f"l{number}", "score": 0.9, "reason": "seen"} for number in range(12)]
    times = [f"2037-01-01T00:00:{number:02}.000Z" for number in range(11)] + ["2026-01-01T00:00:00.000Z"]
    told = [{"topic": "event", "time": time, "body": body} for time, body in zip(times, bodies, strict=True)]
    watched: list[int] = []

    def say(request: dict[str, object], _file: BinaryIO) -> Iterator[bytes]:
        if request.get("verb") != "watch":
            yield b'{"ok": false, "error": "no"}\n'
            return
        watched.append(1)
        yield b"".join(json.dumps(line).encode() + b"\n" for line in told)  # and it ends: they are told again

    with at_its_place(tmp_path / "state", say), page_with(tmp_path, tmp_path / "edged.toml", config["page"]["port"]) as page:
        tab = world.browser.open(f"{page.url}/")
        log_in(tab, page.tokens.control)
        first = "document.querySelector('#events tbody tr') && document.querySelector('#events tbody tr').innerText"
        tab.until(f"({first} || '').includes('entered l11')", "the newest first")
        before = len(watched)
        wait_for(lambda: len(watched) > before + 2, 30, "told again")
        rows = tab.run("[...document.querySelectorAll('#events tbody tr')].map((one) => one.cells[1].innerText)")
        assert rows == [f"entered l{number}" for number in range(11, 1, -1)]
        tab.close()


def test_what_breaks_is_said_and_what_is_back_too(world: World) -> None:
    tab = world.tab()
    says = "document.querySelector('#verdict').innerText.startsWith"
    tab.until(f"{says}('Works')", "it works")
    world.broker.end(signal.SIGKILL)
    tab.until(f"{says}('Broker away')", "the broker is away", 30)
    tab.until("document.querySelector('#faults .cure')", "with its cure")
    world.broker.start()
    tab.until(f"{says}('Works, and')", "the broker is back", 60)
    away = world.album.with_name("away")
    world.album.rename(away)
    tab.until(f"{says}('Camera lost')", "the camera is lost", 30)
    away.rename(world.album)
    tab.until(f"{says}('Works, and')", "the camera is back", 60)
    tab.until(SEES, "and seen")
    assert tab.complaints() == []
    world.page.process.kill()
    world.page.process.wait()
    tab.until(f"{says}('The page does not answer')", "the page is gone", 30)
    world.page.start()
    tab.until(f"{says}('Works, and')", "the page is back, and nobody logged in again", 60)
    tab.until(SEES, "and the picture")
    assert all("ERR_" in complaint or "Failed to fetch" in complaint for complaint in tab.complaints()), tab.complaints()
    tab.close()


def test_a_long_label_leaves_its_bar_in_sight(tmp_path: Path, world: World) -> None:
    config = tomlkit.parse(world.edged.config.read_text()).unwrap()
    labels = [
        "background",
        *(f"{name} that somebody gave a name of many words, and one more" for name in ("person", "cat")),
        *"defgh",
    ]
    (tmp_path / "labels.txt").write_text("\n".join(labels))
    config["model"] = {"name": str(shipped("models", f"{SMALL}.tflite")), "labels": str(tmp_path / "labels.txt")}
    config = with_page(
        config | {"state_folder": str(tmp_path / "state"), "device": "a-name-of-many-words-for-one-door-of-one-house"}
    )
    with edged_with(tmp_path, config) as edged, page_with(tmp_path, edged.config, config["page"]["port"]) as page:
        tab = world.browser.open(f"{page.url}/")
        log_in(tab, page.tokens.control)
        tab.until("document.querySelector('#label').innerText.startsWith('cat that')", "the cat", 60)
        for width in (1440, 900, 375):
            tab.show(width)
            tab.until("document.querySelector('#bars meter')", "its bar")
            assert tab.run("document.querySelector('#bars meter').getBoundingClientRect().width") >= 60, width
            assert tab.run("document.querySelector('#verdict').getBoundingClientRect().width") >= 0.4 * width, width
            assert tab.run("document.documentElement.scrollWidth") <= width
        tab.close()


def test_it_fits_a_phone_and_the_dark_and_asks_for_nothing_while_hidden(world: World) -> None:
    tab = world.tab(375)
    assert tab.run("document.documentElement.scrollWidth") <= 375
    tab.until("document.querySelectorAll('#models tbody tr').length >= 5", "models")
    rows = "[...document.querySelectorAll('#models tbody tr')].map((one) => one.getBoundingClientRect().height)"
    assert max(tab.run(rows)) < 60, "no name is broken into pieces"
    least = tab.run(
        "Math.min(...[...document.querySelectorAll('button, select, .button, input[type=number]')]"
        ".filter((one) => one.offsetParent).map((one) => one.getBoundingClientRect().height))"
    )
    assert least >= 44, "a finger is not a pointer"
    light = tab.run("getComputedStyle(document.documentElement).backgroundColor")
    tab.show(375, dark=True)
    assert tab.run("getComputedStyle(document.documentElement).backgroundColor") != light
    tab.run("Object.defineProperty(document, 'hidden', { value: true, configurable: true })")
    tab.run("document.dispatchEvent(new Event('visibilitychange'))")
    other = world.tab()
    before = len(tab.requests())
    seen = len(other.requests())
    wait_for(lambda: len(other.requests()) > seen + 10, 30, "another one looks")
    assert len(tab.requests()) == before
    tab.run("Object.defineProperty(document, 'hidden', { value: false, configurable: true })")
    tab.run("document.dispatchEvent(new Event('visibilitychange'))")
    wait_for(lambda: len(tab.requests()) > before, 10, "it looks again")
    tab.close()
    other.close()


@pytest.mark.skipif(not AXE.is_file(), reason=f"no axe-core at {AXE}; `make bed-page` builds it")
@pytest.mark.parametrize(("width", "dark"), [(1440, False), (1440, True), (375, False), (375, True)])
def test_axe_finds_nothing_serious(world: World, width: int, dark: bool) -> None:
    tab = world.tab(width, dark=dark)
    tab.until("document.querySelector('svg.strip') && document.querySelector('#models tbody tr')", "all of it")
    tab.drag(*corners(tab, 0.25, 0.1, 0.75, 0.9))
    tab.until("document.querySelector('#effect').innerText.includes('There:')", "with a region that is tried")
    tab.run(AXE.read_text())
    look = "axe.run().then((r) => r.violations.map((v) => [v.impact, v.id, v.nodes.map((n) => n.html.slice(0, 120))]))"
    assert [one for one in tab.run(look) if one[0] in ("serious", "critical")] == []
    tab.run("document.querySelector('#picture').removeAttribute('alt')")
    assert [one[1] for one in tab.run(look)] == ["image-alt"], "it would have found something"
    tab.close()


def test_the_keyboard_reaches_everything(world: World) -> None:
    tab = world.tab()
    tab.until("document.querySelector('#models tbody tr')", "all of it")
    reached: list[str] = []
    for _ in range(60):
        tab.key("Tab", 9)
        reached.append(str(tab.run("(document.activeElement.id || document.activeElement.name || document.activeElement.tagName)")))
    for name in ("pause", "logout", "x", "w", "enter", "hold_s", "wish", "view", "hour"):
        assert name in reached, (name, reached)
    tab.close()


@pytest.mark.skipif(DOCS is None, reason="EDGED_WRITE_DOCS=1 makes the screenshots of docs/page.md")
def test_screenshots(world: World) -> None:
    assert DOCS is not None
    for command in (("models", "remove", SPOILED), ("fit",)):
        subprocess.run([sys.executable, "-m", "edged", *command, "-c", str(world.edged.config)], check=False, capture_output=True)
    tab = world.tab()
    tab.until("document.querySelector('#frontier svg')", "the frontier", 30)
    tab.until("document.querySelector('#label').innerText === 'cat'", "the cat", 30)
    tab.drag(*corners(tab, 0.25, 0.1, 0.75, 0.9))
    tab.until("document.querySelector('#effect').innerText.includes('There: cat')", "its effect", 20)
    tab.fill("#thresholds input[name=enter]", "0.99")
    tab.until("document.querySelector('#would').innerText.includes('With these')", "tried")
    tab.run("document.activeElement.blur(); window.scrollTo(0, 0)")
    tab.picture(DOCS / "page_desktop.jpg")
    tab.show(1440, dark=True)
    tab.picture(DOCS / "page_dark.jpg")
    tab.close()
    tab = world.tab(375)
    tab.until("document.querySelector('#frontier svg') && document.querySelector('svg.strip')", "all of it", 30)
    tab.until("document.querySelector('#label').innerText === 'cat'", "the cat", 30)
    tab.picture(DOCS / "page_phone.jpg")
    tab.close()
