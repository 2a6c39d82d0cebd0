"""A headless Chromium, driven over the DevTools protocol through a pair of pipes: no driver, no library, no port."""

import base64
import contextlib
import fcntl
import json
import os
import shutil
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

from tests.e2e.running import HANG_S

BROWSER = next((found for name in ("chromium", "chromium-browser") if (found := shutil.which(name))), None)
_PRINTED = ("error", "assert")
_MOST_CLICKS = 10


def _high(ends: tuple[int, int]) -> tuple[int, int]:
    """The same pipe above 3 and 4, which are what Chromium listens on."""
    one, other = (fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 20) for end in ends)
    for end in ends:
        os.close(end)
    return one, other


class Chromium:
    """One browser with a profile of its own. Thread: any, one at a time."""

    def __init__(self, profile: Path) -> None:
        ours_in, theirs_out = _high(os.pipe())
        theirs_in, ours_out = _high(os.pipe())
        assert BROWSER is not None
        options = [
            "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--disable-extensions",
            "--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-default-browser-check",
            "--hide-scrollbars", f"--user-data-dir={profile}", "--remote-debugging-pipe", "about:blank",
        ]  # fmt: skip
        script = f'exec "$@" 3<&{theirs_in} 4>&{theirs_out}'
        self._said = (profile.parent / "chromium.log").open("ab")
        streams = {"stdin": subprocess.DEVNULL, "stdout": self._said, "stderr": self._said}
        command = ["bash", "-c", script, "bash", BROWSER, *options]
        self.process = subprocess.Popen(command, pass_fds=(theirs_in, theirs_out), start_new_session=True, **streams)
        os.close(theirs_in)
        os.close(theirs_out)
        self._in, self._out = os.fdopen(ours_in, "rb", buffering=0), os.fdopen(ours_out, "wb", buffering=0)
        self._number, self._answers, self._news = 0, dict[int, dict[str, Any]](), threading.Condition()
        self.events: list[dict[str, Any]] = []
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        rest = b""
        with contextlib.suppress(OSError, ValueError):
            while part := self._in.read(1 << 16):
                *whole, rest = (rest + part).split(b"\0")
                with self._news:
                    for message in map(json.loads, whole):
                        if "id" in message:
                            self._answers[message["id"]] = message
                        else:
                            self.events.append(message)
                    self._news.notify_all()

    def call(self, method: str, session: str = "", **params: Any) -> dict[str, Any]:
        with self._news:
            self._number += 1
            number = self._number
        said = {"id": number, "method": method, "params": params} | ({"sessionId": session} if session else {})
        self._out.write(json.dumps(said).encode() + b"\0")
        with self._news:
            assert self._news.wait_for(lambda: number in self._answers, HANG_S), f"Chromium did not answer {method}"
            answer = self._answers.pop(number)
        assert "error" not in answer, f"{method}: {answer['error']}"
        return dict(answer["result"])

    def open(self, url: str, width: int = 1440, height: int = 1000, *, dark: bool = False) -> "Tab":
        return Tab(self, url, width, height, dark=dark)

    def close(self) -> None:
        with contextlib.suppress(OSError, AssertionError):
            self.call("Browser.close")
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._out.close()
        self._said.close()


class Tab:
    """One page of it."""

    def __init__(self, browser: Chromium, url: str, width: int, height: int, *, dark: bool) -> None:
        self._browser = browser
        self._target = browser.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = browser.call("Target.attachToTarget", targetId=self._target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")
        self.show(width, height, dark=dark)
        self.go(url)

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        return self._browser.call(method, self._session, **params)

    def show(self, width: int, height: int = 1000, *, dark: bool = False) -> None:
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.call("Emulation.setEmulatedMedia", features=scheme)

    def go(self, url: str) -> None:
        self.call("Page.navigate", url=url)

    def run(self, script: str) -> Any:
        """The value of an expression; of a promise, what it comes to."""
        told = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in told, told["exceptionDetails"]
        return told["result"].get("value")

    def until(self, script: str, what: str = "", deadline_s: float = 20) -> None:
        """The expression becomes true; the deadline only ends a hang."""
        deadline_s = max(deadline_s, HANG_S)
        ends_s, error = time.monotonic() + deadline_s, ""
        while time.monotonic() < ends_s:
            try:
                if self.run(f"!!({script})"):
                    return
            except AssertionError as failed:  # between two documents
                error = str(failed)[:300]
            threading.Event().wait(0.05)
        raise AssertionError(f"not within {deadline_s:g} s: {what or script}; {error}; it says: {self.said()}")

    def said(self) -> str:
        """What it tells a person: verdict, effects, errors; and what stands in the fields."""
        texts = "[...document.querySelectorAll('#verdict, .effect, [role=status], [role=alert]')].map((one) => one.innerText)"
        fields = "[...document.querySelectorAll('input')].filter((one) => one.type === 'number').map((one) => one.value)"
        with contextlib.suppress(AssertionError):
            return str(self.run(f"JSON.stringify([...new Set({texts}), {fields}])"))
        return "nothing"

    def text(self, selector: str) -> str:
        with contextlib.suppress(AssertionError):
            return str(self.run(f"(document.querySelector({json.dumps(selector)}) || {{}}).innerText || ''"))
        return ""

    def click(self, selector: str) -> None:
        """As a person does: once more where it moved away from under the finger, for the page is alive."""
        found = f"document.querySelector({json.dumps(selector)})"
        for _ in range(_MOST_CLICKS):
            self.run(f"window.reached = false, {found}.addEventListener('click', () => window.reached = true, {{once: true}})")
            x, y = self.middle(selector)
            self.mouse("mousePressed", x, y)
            self.mouse("mouseReleased", x, y)
            try:
                if self.run("window.reached !== false"):  # or it led to another document, which knows nothing of it
                    return
            except AssertionError:  # on its way there
                return
        raise AssertionError(f"{selector} was not reached by {_MOST_CLICKS} clicks")

    def middle(self, selector: str) -> tuple[float, float]:
        box = self.box(selector)
        return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2

    def box(self, selector: str) -> dict[str, float]:
        """In the window; scrolled to, first."""
        found = f"document.querySelector({json.dumps(selector)})"
        self.run(f"{found}.scrollIntoView({{block: 'center', behavior: 'instant'}})")
        return dict(self.run(f"{found}.getBoundingClientRect().toJSON()"))

    def mouse(self, kind: str, x: float, y: float) -> None:
        held = 0 if kind == "mouseReleased" else 1
        self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", buttons=held, clickCount=1)

    def drag(self, begin: tuple[float, float], end: tuple[float, float]) -> None:
        self.mouse("mousePressed", *begin)
        for step in range(1, 9):
            self.mouse("mouseMoved", *(a + (b - a) * step / 8 for a, b in zip(begin, end, strict=True)))
        self.mouse("mouseReleased", *end)

    def fill(self, selector: str, text: str) -> None:
        """As fingers do."""
        self.click(selector)
        self.run(f"document.querySelector({json.dumps(selector)}).select()")
        self.call("Input.insertText", text=text)

    def key(self, name: str, code: int) -> None:
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=name, code=name, windowsVirtualKeyCode=code)

    def picture(self, path: Path, *, whole: bool = True) -> None:
        """A PNG or JPEG of the page; whole: also of what is below the window."""
        more: dict[str, Any] = {"format": "png"} if path.suffix == ".png" else {"format": "jpeg", "quality": 82}
        if whole:
            size = self.call("Page.getLayoutMetrics")["cssContentSize"]
            clip = {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}
            more |= {"captureBeyondViewport": True, "clip": clip}
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", **more)["data"]))

    def close(self) -> None:
        self._browser.call("Target.closeTarget", targetId=self._target)

    # what it noticed

    def _mine(self, method: str) -> list[dict[str, Any]]:
        return [e["params"] for e in list(self._browser.events) if e.get("sessionId") == self._session and e["method"] == method]

    def complaints(self) -> list[str]:
        """Errors in the console: of scripts, of the content security policy, of requests."""
        printed = [f"{p['type']}: {p['args']}" for p in self._mine("Runtime.consoleAPICalled") if p["type"] in _PRINTED]
        thrown = [str(p["exceptionDetails"]) for p in self._mine("Runtime.exceptionThrown")]
        logged = [f"{p['entry']['source']}: {p['entry']['text']} {p['entry'].get('url', '')}" for p in self._mine("Log.entryAdded")
                  if p["entry"]["level"] == "error"]  # fmt: skip
        return printed + thrown + logged

    def requests(self) -> list[str]:
        """The address of each request so far."""
        return [str(p["request"]["url"]) for p in self._mine("Network.requestWillBeSent")]
