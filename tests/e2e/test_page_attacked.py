"""The page between two unkind ends: what answers at the control socket's place lies, and whoever connects never shakes hands."""

import contextlib
import http.client
import json
import resource
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import pytest
import tomlkit

from edged.page.tokens import new_tokens
from edged.process.control import SOCKET, address_of
from tests.e2e.paged import Paged, page_with, with_page
from tests.e2e.running import HANG_S, wait_for

MOST_MB = 96  # MemoryMax= of the unit
OPEN_FILES = 256  # and its LimitNOFILE=
LABEL = b'{"topic": "label", "time": "t", "body": "cat"}\n'
ANSWERS = {
    "a list": b"[]\n",
    "brackets": b"[" * 200_000 + b"\n",
    "brackets within": b'{"ok": true, "x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}\n",
    "nothing": b'{"ok": true}\n',
    "other types": b'{"ok": true, "rows": 1, "note": 2, "fit": 3, "health": 4, "device": 5}\n',
    "another fit": b'{"ok": true, "rows": [], "note": "", "fit": {"x": 1}}\n',
    "another health": b'{"ok": true, "device": "x", "health": {"frames": 1}}\n',
    "no number": b'{"ok": true, "rows": NaN, "note": "", "fit": NaN, "health": NaN}\n',
    "a refusal that is none": b'{"ok": false, "error": {"a": 1}, "code": "x"}\n',
}
WATCHED = {
    "brackets": b"[" * 200_000 + b"\n",
    "a topic that is none": b'{"topic": ["x"], "time": "t", "body": 1}\n',
    "an event without a time": b'{"topic": "event"}\n',
    "an event that is a text": b'{"topic": "event", "time": "t", "body": "x"}\n',
    "a line within a topic": b'{"topic": "label\\ndata: 1\\n\\nevent: x", "time": "t", "body": 1}\n',
    "no body": b'{"topic": "label"}\n',
    "a picture that is a number": b'{"picture": 1}\n',
    "20,000 topics": b"".join(b'{"topic": "t_%s", "time": "t", "body": "%s"}\n' % (b"x" * n, b"y" * 900) for n in range(39))
    + b"".join(b'{"topic": "t%d", "time": "t", "body": "%s"}\n' % (n, b"y" * 900) for n in range(20_000)),
}


@contextlib.contextmanager
def at_its_place(folder: Path, say: Callable[[dict[str, Any], BinaryIO], Iterable[bytes]]) -> Iterator[None]:
    """Something answers at the control socket's place. say: request, connection → what is sent."""

    def answer(end: socket.socket) -> None:
        with end, end.makefile("rwb") as file, contextlib.suppress(OSError, ValueError):
            for data in say(json.loads(file.readline()), file):
                end.sendall(data)

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=answer, args=(listening.accept()[0],), daemon=True).start()

    (folder / SOCKET).unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX) as listening:
        with address_of(folder / SOCKET) as address:
            listening.bind(address)
        listening.listen()
        threading.Thread(target=serve, daemon=True).start()
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                listening.shutdown(socket.SHUT_RDWR)  # which also ends the waiting thread


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Paged, Path]]:
    """In a folder so deep that no socket's name could say it whole."""
    folder = tmp_path_factory.mktemp("page")
    state = folder / ("deep" * 15) / ("deeper" * 10)
    state.mkdir(parents=True)
    config = with_page({"device": "test", "state_folder": str(state)})
    (folder / "edged.toml").write_text(tomlkit.dumps(config))
    with page_with(folder, folder / "edged.toml", config["page"]["port"]) as page:
        yield page, state


def test_it_reaches_a_daemon_however_deep_its_folder_lies(page: tuple[Paged, Path]) -> None:
    one, state = page
    with at_its_place(state, lambda *_: [b'{"ok": true, "tuned": {}}\n']):
        assert json.loads(one.get("/tuned", one.log_in(one.tokens.control))[2]) == {"ok": True, "tuned": {}}


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
def test_a_lie_is_told_in_a_sentence(page: tuple[Paged, Path], answer: bytes) -> None:
    one, state = page
    cookie = one.log_in(one.tokens.control)
    with at_its_place(state, lambda *_: [answer]):
        for path in ("/hour", "/models"):
            status, _, said = one.get(path, cookie)
            assert status == 200 and json.loads(said)["error"], path
        status, _, said = one.get("/metrics", Authorization=f"Bearer {one.tokens.view}")
        assert status == 503 and said.startswith(b"# ")
    assert "Traceback" not in one.said.read_text()


@pytest.mark.parametrize("lie", WATCHED.values(), ids=WATCHED)
def test_a_lie_leaves_nobody_in_the_dark_who_looks(page: tuple[Paged, Path], lie: bytes) -> None:
    """The stream that a browser has open goes on to tell what comes after it."""
    one, state = page
    cookie, before_mb = one.log_in(one.tokens.control), one.memory_mb()
    lies = [lie]

    def say(_request: dict[str, Any], file: BinaryIO) -> Iterable[bytes]:
        yield lies.pop() if lies else b""
        yield LABEL
        while file.readline():
            yield b'{"picture": {"jpeg": "no base64"}}\n'

    with at_its_place(state, say), socket.create_connection(("127.0.0.1", one.port), 20) as browser:
        browser.sendall(f"GET /live HTTP/1.0\r\nHost: localhost\r\nCookie: {cookie}\r\n\r\n".encode())
        heard = b""
        while b"event: label\n" not in heard:
            part = browser.recv(65536)
            assert part
            heard += part
        assert "picture" in json.loads(one.get("/picture", cookie)[2])["error"]
        api = json.loads(one.get("/api", Authorization=f"Bearer {one.tokens.view}")[2])
        assert api["label"] == "cat" and len(api) <= 33
    assert one.memory_mb() < before_mb + 8
    assert "Traceback" not in one.said.read_text()


def test_a_thousand_who_never_shake_hands_hold_up_nobody(tmp_path: Path) -> None:
    cert, key = tmp_path / "page.crt", tmp_path / "page.key"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    command += ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(cert)]
    subprocess.run(command, check=True, capture_output=True)
    config = with_page({"device": "test", "state_folder": str(tmp_path)}, tls_cert=str(cert), tls_key=str(key))
    (tmp_path / "edged.toml").write_text(tomlkit.dumps(config))
    new_tokens(tmp_path / "page_token")
    port, trusted, said = config["page"]["port"], ssl.create_default_context(cafile=str(cert)), tmp_path / "said"

    def answers() -> bool:
        connection = http.client.HTTPSConnection("localhost", port, context=trusted, timeout=HANG_S)
        with contextlib.suppress(OSError, http.client.HTTPException), contextlib.closing(connection):
            connection.request("GET", "/healthz")
            return connection.getresponse().status == 200
        return False

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4096), hard))
    command = ["prlimit", f"--nofile={OPEN_FILES}", sys.executable, "-m", "edged", "page", "-c", str(tmp_path / "edged.toml")]
    with said.open("wb") as log:
        process = subprocess.Popen([*command, "--token-file", str(tmp_path / "page_token")], stderr=log, stdout=log)
    crowd, served, peak_mb = list[socket.socket](), 0, 0.0
    try:
        wait_for(answers, 20, "the page answers")
        began_s = time.monotonic()
        while (passed_s := time.monotonic() - began_s) < 8 or (served < 4 and passed_s < HANG_S):
            while len(crowd) < 1000:
                try:
                    crowd.append(socket.create_connection(("127.0.0.1", port), 0.2))
                    crowd[-1].setblocking(False)
                    crowd[-1].send(b"\x16\x03\x01\x02\x00")  # a handshake that announces more than it says
                except OSError:
                    break
            for one in list(crowd):
                with contextlib.suppress(BlockingIOError):
                    try:
                        is_open = one.recv(1) != b""
                    except ConnectionError:
                        is_open = False
                    if not is_open:
                        crowd.remove(one)
                        one.close()
            served += answers()
            line = next(one for one in Path(f"/proc/{process.pid}/status").read_text().splitlines() if one.startswith("VmRSS"))
            peak_mb = max(peak_mb, int(line.split()[1]) / 1024)
    finally:
        for one in crowd:
            one.close()
        process.kill()
        process.wait()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert served >= 4, "whoever shakes hands is answered meanwhile"
    assert peak_mb < MOST_MB
    assert len(said.read_text().splitlines()) == 1, said.read_text()[-500:]  # where the page is, and nothing of each of them
