"""The page from outside: who gets in, what it answers, and what attacks come to. The browser's part is tests/beds/test_page.py."""

import contextlib
import http.client
import json
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tomlkit

from edged.page.tokens import new_tokens
from edged.system.clock import is_set
from tests.certificates import make_certificate
from tests.e2e.paged import JSON, Paged, page_with, with_page
from tests.e2e.running import HANG_S, Edged, Heard, edged_with, free_port, wait_for
from tests.models import any_model_config

ROUTES = ("/live", "/picture", "/hour", "/models", "/tuned", "/page.js", "/picture.js")
CHANGES = {"/act": {"action": "pause"}, "/use": {"wish": "auto"}, "/tune": {"values": {"decision.enter": 0.9}}}


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Paged]:
    """With no daemon behind it."""
    config = with_page({"device": "test", "state_folder": str(tmp_path / "state")})
    (tmp_path / "edged.toml").write_text(tomlkit.dumps(config))
    with page_with(tmp_path, tmp_path / "edged.toml", config["page"]["port"]) as page:
        yield page


@pytest.fixture
def both(tmp_path: Path, config: dict[str, Any], heard: Heard) -> Iterator[tuple[Edged, Paged]]:
    config = with_page(config | {"model": any_model_config()})
    config["decision"] = {"ignore": [], "enter": 0.2, "leave": 0.1, "margin": 0.0, "hold_s": 0.1}
    with edged_with(tmp_path, config) as edged, page_with(tmp_path, edged.config, config["page"]["port"]) as page:
        wait_for(lambda: heard.of("result"), 30, "results")
        yield edged, page


def test_nothing_is_seen_without_a_token_also_on_this_board(page: Paged) -> None:
    for path in ROUTES:
        assert page.get(path)[0] == 401, path
        assert page.get(path, cookie="edged_page=control.99999999999." + "0" * 64)[0] == 401
    for path, body in CHANGES.items():
        assert page.post(path, body)[0] == 401
    for path in ("/metrics", "/api"):
        assert page.get(path)[0] == 401
        assert page.get(path, cookie=page.log_in(page.tokens.control))[0] == 401, "by bearer token only"
    status, _, said = page.get("/")
    assert status == 200 and b'id="token"' in said and b"verdict" not in said
    assert page.get("/healthz")[2] == b"ok\n"


def test_it_ends_quietly_while_somebody_looks(page: Paged) -> None:
    """Python 3.11 prints a traceback for a connection whose task is cancelled."""
    with socket.create_connection(("127.0.0.1", page.port)) as silent, socket.create_connection(("127.0.0.1", page.port)) as viewer:
        viewer.sendall(f"GET /live HTTP/1.1\r\nHost: 127.0.0.1\r\nCookie: {page.log_in(page.tokens.view)}\r\n\r\n".encode())
        assert viewer.recv(12) == b"HTTP/1.0 200" and silent.fileno() > 0
        assert page.end() == 0
    assert "Traceback" not in page.said.read_text()


def test_a_token_lets_in_and_the_other_one_may_only_look(page: Paged) -> None:
    status, told = page.post("/login", {"token": "x" * 24})
    assert status == 401 and "edged page token" in told["error"]
    control, view = page.log_in(page.tokens.control), page.log_in(page.tokens.view)
    _, headers, said = page.get("/", cookie=view)
    assert b'id="verdict"' in said
    assert "script-src 'self'" in headers["content-security-policy"] and "unsafe" not in headers["content-security-policy"]
    for path, body in CHANGES.items():
        assert page.post(path, body, view) == (403, {"error": "this token may look, and change nothing"})
        assert "does not answer" in page.post(path, body, control)[1]["error"], "it came through, and no edged is there"
    _, headers, _ = page.ask("POST", "/login", {"token": page.tokens.view}, JSON)
    assert "HttpOnly; SameSite=Strict" in headers["set-cookie"] and page.tokens.view not in headers["set-cookie"]
    said_in_log = page.said.read_text()
    assert page.tokens.control not in said_in_log and page.tokens.view not in said_in_log


def test_other_sites_and_other_names_come_to_nothing(page: Paged) -> None:
    cookie = page.log_in(page.tokens.control)
    for headers in (
        JSON | {"Origin": "http://evil.example"},
        JSON | {"Sec-Fetch-Site": "cross-site"},
        {"Content-Type": "application/json"},
        {"Content-Type": "text/plain", "X-Edged": "1"},
        {"Content-Type": "application/x-www-form-urlencoded"},
    ):
        assert page.post("/act", {"action": "pause"}, cookie, headers)[0] == 403
    for host in ("evil.example", f"evil.example:{page.port}", "127.0.0.1.evil.example", ""):
        assert page.ask("GET", "/", None, {"Host": host}, cookie)[0] in (400, 421)
    assert page.ask("GET", "/", None, {"Host": f"localhost:{page.port}"}, cookie)[0] == 200


def test_a_method_that_an_address_does_not_take_is_refused_with_those_that_it_takes(page: Paged) -> None:
    cookie = page.log_in(page.tokens.control)
    for path, allowed in (
        *((path, "GET, HEAD") for path in ("/", "/healthz", "/page.css", "/api", *ROUTES)),
        *((path, "POST") for path in ("/login", "/logout", "/try", *CHANGES)),
    ):
        for method in ("OPTIONS", "PUT", "DELETE", "PATCH", "GET" if allowed == "POST" else "POST"):
            told = [page.ask(method, path, None if method == "GET" else {"action": "pause"}, JSON, one) for one in ("", cookie)]
            status, headers, said = told[0]
            assert (status, headers["allow"], said) == (405, allowed, f"here only {allowed}".encode()), (method, path)
            assert "access-control-allow-origin" not in headers and "set-cookie" not in headers
            assert told[0] == told[1], "it is nobody's business who asks"
    for method in ("OPTIONS", "PUT"):
        assert page.ask(method, "/nothing")[0] == 404
    assert page.ask("BREW", "/")[0] == 400


@pytest.mark.parametrize(
    "path",
    [
        "/../../etc/passwd",
        "/..%2f..%2fetc/passwd",
        "/static/../routes.py",
        "//etc/passwd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/page.html",
        "/login.html",
        "/page.js/../../routes.py",
        "/pageXjs",
        "/picture?view=../../etc/passwd",
        "/hour?enter=nan",
        "/hour?enter=1e999",
    ],
)
def test_no_path_leads_anywhere_else(page: Paged, path: str) -> None:
    cookie = page.log_in(page.tokens.control)
    with socket.create_connection(("127.0.0.1", page.port), 10) as raw:
        raw.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nCookie: {cookie}\r\n\r\n".encode())
        answer = b"".join(iter(lambda: raw.recv(65536), b""))
    assert b"root:" not in answer and b"import asyncio" not in answer
    assert answer.split(b" ")[1] in (b"404", b"400") or b'"error"' in answer
    assert "Traceback" not in page.said.read_text()


@pytest.mark.parametrize("behind", [b"", b"\r\n", b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"])
@pytest.mark.parametrize("ends", [True, False])
def test_whoever_says_more_or_no_more_gets_the_answer(page: Paged, behind: bytes, ends: bool) -> None:
    """`nc` and `socat` end what they send once they have sent it, and some clients send a line end too many."""
    cookie = page.log_in(page.tokens.control)
    for path, status in (("/healthz", b"200 OK"), ("/nothing", b"404 Not Found"), ("/hour", b"200 OK")):
        with socket.create_connection(("127.0.0.1", page.port), 20) as end:
            end.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nCookie: {cookie}\r\n\r\n".encode() + behind)
            if ends:
                end.shutdown(socket.SHUT_WR)
            said = b""
            while part := end.recv(65536):
                said += part
        assert said.startswith(b"HTTP/1.0 " + status + b"\r\n") and said.partition(b"\r\n\r\n")[2], (path, said)


@pytest.mark.parametrize("query", ["view=%ff", "view=%zz", "%", "view=%-1"])
def test_no_query_is_worth_a_traceback(page: Paged, query: str) -> None:
    assert page.get(f"/picture?{query}")[0] == 400 and page.get(f"/healthz?{query}")[0] == 400
    assert page.get("/healthz?%C3%A9=+")[0] == 200
    assert "Traceback" not in page.said.read_text()


def test_tokens_can_not_be_guessed_by_trying(page: Paged) -> None:
    began_s = time.monotonic()
    codes = [page.post("/login", {"token": f"guess{n}" * 4})[0] for n in range(40)]
    codes += [page.get("/api", Authorization=f"Bearer guess{n}")[0] for n in range(10)]
    allowed = 5 + 0.1 * (time.monotonic() - began_s) + 1
    assert codes.count(401) + codes.count(429) == len(codes) and codes.count(401) <= allowed < 40


def test_slow_many_and_large_senders_hold_up_nobody(page: Paged) -> None:
    """200 connections that send a byte now and then, and hundreds of megabytes that are announced, or sent."""
    cookie = page.log_in(page.tokens.control)
    before_mb = page.memory_mb()
    slow: list[socket.socket] = []
    began_s, served = time.monotonic(), 0
    while (passed_s := time.monotonic() - began_s) < 8 or (served < 5 and passed_s < HANG_S):
        while len(slow) < 200:
            one = socket.create_connection(("127.0.0.1", page.port), 5)
            one.setblocking(False)
            slow.append(one)
            with contextlib.suppress(OSError):
                one.send(b"GET / HTTP/1.1\r\nX-")
        for one in list(slow):
            try:
                one.send(b"a")
                if one.recv(1) == b"":
                    raise ConnectionError
            except BlockingIOError:
                continue
            except OSError:
                one.close()
                slow.remove(one)
        with contextlib.suppress(OSError):
            served += page.get("/", cookie=cookie)[0] == 200
    for one in slow:
        one.close()
    assert served >= 5, "whoever asks properly is answered meanwhile"
    with socket.create_connection(("127.0.0.1", page.port), 10) as large:
        large.sendall(b"POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Length: 104857600\r\n\r\n")
        with contextlib.suppress(OSError):
            for _ in range(100):
                large.sendall(bytes(1 << 20))
    for head in (b"A" * 1_000_000, b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 100_000):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", page.port), 10) as large:
            large.sendall(head)
            large.recv(100)
    assert wait_for(lambda: page.get("/", cookie=cookie)[0] == 200, 10, "it answers as before")
    assert page.memory_mb() < before_mb + 15
    assert len(list(Path(f"/proc/{page.process.pid}/fd").iterdir())) < 100
    assert "Traceback" not in page.said.read_text()


def test_it_shows_what_edged_sees_and_an_attack_harms_no_result_and_no_event(both: tuple[Edged, Paged], heard: Heard) -> None:
    edged, page = both
    cookie = page.log_in(page.tokens.control)
    status, headers, jpeg = page.get("/picture?view=whole", cookie)
    assert status == 200 and jpeg.startswith(b"\xff\xd8\xff") and headers["cache-control"] == "no-store"
    assert page.get("/picture?view=model", cookie)[2] != jpeg
    for none in ([0, 0, 0, 0], [0.9, 0.9, 0.5, 0.5], [0.1, 0.1, 0.005, 0.5], [True, 0, 1, 1], "all"):
        status, refused = page.post("/try", {"region": none}, cookie)
        assert status == 400 and "inside the picture" in refused["error"], none
    told = page.post("/try", {"region": [0.2, 0.2, 0.5, 0.5]}, cookie)[1]
    assert told["scores"] and told["now"]["rules"]["enter"] == 0.2
    assert page.get("/models", cookie)[0] == 200
    hour = wait_for(lambda: (h := json.loads(page.get("/hour?enter=0.9", cookie)[2]))["rows"] > 2 and h, 20, "rows of the hour")
    assert "<svg" in hour["svg"] and "would" in hour
    bearer = f"Bearer {page.tokens.view}"
    assert b"edged_frames_total" in page.get("/metrics", Authorization=bearer)[2]
    api = json.loads(page.get("/api", Authorization=bearer)[2])
    assert api["camera"]["state"] == "ok" and api["model"]["card"] and api["info"]["page"] == f"http://127.0.0.1:{page.port}/"
    assert page.memory_mb() <= 40, "what the page may take, with a picture, the hour and the models shown"
    # 10 s of everything that was refused above, while results and events go on
    began, began_s, hostile = len(heard.of("result")), time.monotonic(), 0
    results = lambda: len(heard.of("result")) - began  # noqa: E731
    while (passed_s := time.monotonic() - began_s) < 10 or (min(hostile / 500, results() / 8) < 1 and passed_s < HANG_S):
        crowd = []
        for _ in range(100):
            with contextlib.suppress(OSError):
                one = socket.create_connection(("127.0.0.1", page.port), 1)
                one.sendall(b"GET /../../etc/passwd HTTP/1.1\r\nHost: evil\r\n\r\n" if len(crowd) % 2 else b"P")
                crowd.append(one)
                hostile += 1
        with contextlib.suppress(OSError):
            page.post("/login", {"token": "x"})
            page.ask("POST", "/act", b"x" * 4000, JSON, cookie)
        for one in crowd:
            one.close()
    assert hostile >= 500 and results() >= 8, "they go on, as without"
    page.process.kill()
    page.process.wait()
    began = len(heard.of("result"))
    wait_for(lambda: len(heard.of("result")) > began + 2, 20, "nobody else notices")
    assert edged.end() == 0
    seqs = [event["seq"] for event in heard.of("event") if event["event_type"] != "gap"]
    assert seqs == list(range(1, len(seqs) + 1)), "no event is missing"
    frames = heard.of("health")[-1]["frames"]
    assert frames["captured"] == sum(count for fate, count in frames.items() if fate != "captured")


def test_a_region_is_saved_shown_and_undone(both: tuple[Edged, Paged], heard: Heard) -> None:
    edged, page = both
    cookie = page.log_in(page.tokens.control)
    written = edged.config.read_text()
    status, told = page.post("/tune", {"values": {"camera.region": [0.25, 0.25, 0.5, 0.5], "decision.enter": 0.3}}, cookie)
    assert status == 200 and told["toml"] == "[camera]\nregion = [0.25, 0.25, 0.5, 0.5]\n[decision]\nenter = 0.3"
    refused = page.post("/tune", {"values": {"decision.leave": 0.9}}, cookie)[1]["error"]
    assert "above enter" in refused
    assert json.loads(page.get("/hour?leave=0.9", cookie)[2])["error"] == refused, "a trial says the same"
    shown = subprocess.run([sys.executable, "-m", "edged", "check", "-c", edged.config], capture_output=True, text=True, check=True)
    assert "camera.region = [0.25, 0.25, 0.5, 0.5]  # the page; wins until" in shown.stdout
    status_said = subprocess.run(
        [sys.executable, "-m", "edged", "status", "-c", edged.config], capture_output=True, text=True, check=True
    ).stdout
    assert "camera.region = [0.25, 0.25, 0.5, 0.5], decision.enter = 0.3 (by the page" in status_said
    subprocess.run([sys.executable, "-m", "edged", "use", "--clear", "-c", edged.config], capture_output=True, check=True)
    assert json.loads(page.get("/tuned", cookie)[2]) == {"ok": True, "tuned": {}, "toml": ""}
    assert edged.config.read_text() == written, "the file itself was never written"


def test_no_picture_leaves_while_paused_or_where_the_config_says_no(both: tuple[Edged, Paged], heard: Heard) -> None:
    edged, page = both
    cookie = page.log_in(page.tokens.view)
    assert page.get("/picture", cookie)[2].startswith(b"\xff\xd8")
    heard.publish("edged/test/control", b'{"action": "pause"}')
    wait_for(lambda: b"no picture" in page.get("/picture", cookie)[2], 10, "none while paused")
    heard.publish("edged/test/control", b'{"action": "resume"}')
    wait_for(lambda: page.get("/picture", cookie)[2].startswith(b"\xff\xd8"), 20, "again")
    edged.config.write_text(edged.config.read_text() + "\n[snapshot]\nlocal = false\n")
    wait_for(lambda: b"no picture" in page.get("/picture", cookie)[2], 10, "not allowed any more")


def test_it_shows_nothing_any_more_once_the_config_says_so(both: tuple[Edged, Paged]) -> None:
    """edged follows the edit at once; the page, which read the file when it began, is told."""
    edged, page = both
    cookie = page.log_in(page.tokens.control)
    text = edged.config.read_text()
    assert page.get("/picture", cookie)[0] == 200
    edged.config.write_text(text.replace("[page]\nenabled = true", "[page]\nenabled = false"))
    wait_for(lambda: page.get("/picture", cookie)[0] == 403, 30, "no picture")
    assert b"page.enabled is false" in page.get("/picture", cookie)[2]
    assert page.post("/try", {"region": [0.2, 0.2, 0.5, 0.5]}, cookie)[0] == 403
    edged.config.write_text(text)
    wait_for(lambda: page.get("/picture", cookie)[0] == 200, 30, "switched on again")


def test_the_config_of_the_first_package_starts_with_its_port_set(tmp_path: Path, config: dict[str, Any], heard: Heard) -> None:
    """[web] as it was written then, with nothing else touched."""
    config |= {"model": any_model_config(), "web": {"enabled": False, "host": "127.0.0.1", "port": 8099}}
    with edged_with(tmp_path, config) as edged:
        wait_for(lambda: heard.of("result"), 30, "results")
        assert "[web] is read as [page]" in edged.said.read_text()
        assert edged.said.read_text().count("[web]") == 1
        assert edged.end() == 0


def test_with_a_certificate_nothing_travels_readable(tmp_path: Path) -> None:
    cert, key, port = tmp_path / "page.crt", tmp_path / "page.key", free_port()
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    command += ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(cert)]
    subprocess.run(command, check=True, capture_output=True)
    config = with_page({"device": "test", "state_folder": str(tmp_path / "state")}, port=port, tls_cert=str(cert), tls_key=str(key))
    (tmp_path / "edged.toml").write_text(tomlkit.dumps(config))
    tokens = new_tokens(tmp_path / "page_token")
    command = [sys.executable, "-m", "edged", "page", "-c", str(tmp_path / "edged.toml")]
    with subprocess.Popen([*command, "--token-file", str(tmp_path / "page_token")], stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            assert f"https://127.0.0.1:{port}/" in process.stderr.readline()
            trusted = ssl.create_default_context(cafile=str(cert))
            connection = http.client.HTTPSConnection("localhost", port, context=trusted, timeout=HANG_S)
            connection.request(
                "POST", "/login", json.dumps({"token": tokens.control}), JSON | {"Origin": f"https://localhost:{port}"}
            )
            answer = connection.getresponse()
            assert answer.status == 200 and "; Secure" in (answer.getheader("Set-Cookie") or "")
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 5) as plain:
                plain.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
                assert b"200" not in plain.recv(1000)
        finally:
            process.terminate()


def test_a_certificate_that_ran_out_is_used_and_told_where_the_clock_is_right(tmp_path: Path) -> None:
    cert, key = make_certificate(tmp_path, "20200101000000Z", "20210101000000Z")
    config = with_page({"device": "test", "state_folder": str(tmp_path / "state")}, tls_cert=str(cert), tls_key=str(key))
    (tmp_path / "edged.toml").write_text(tomlkit.dumps(config))
    new_tokens(tmp_path / "page_token")
    command = [sys.executable, "-m", "edged", "page", "-c", str(tmp_path / "edged.toml")]
    with subprocess.Popen([*command, "--token-file", str(tmp_path / "page_token")], stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None and "the page is at https://" in process.stderr.readline()
            if is_set():
                assert f"page.tls_cert: {cert} ran out on 2021-01-01 00:00 UTC" in process.stderr.readline()
            any_ = ssl._create_unverified_context()
            connection = http.client.HTTPSConnection("localhost", config["page"]["port"], context=any_, timeout=HANG_S)
            connection.request("GET", "/healthz")
            assert connection.getresponse().status == 200
        finally:
            process.terminate()
        if not is_set():
            assert "ran out" not in process.stderr.read(), "a board that does not know the date accuses nobody"


def test_on_another_address_the_picture_stays_on_the_board_unless_the_config_says_otherwise(tmp_path: Path) -> None:
    port = free_port()
    tokens = new_tokens(tmp_path / "token")
    values = {"host": "127.0.0.1", "port": port, "names": [], "tls_cert": "", "tls_key": "", "shows_picture": False}
    values |= {"folder": str(tmp_path), "config": "x", "token_file": str(tmp_path / "token")}
    with subprocess.Popen([sys.executable, "-m", "edged.page", json.dumps(values)], stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None and "the page is at" in process.stderr.readline()

            def ask(method: str, path: str, **headers: str) -> http.client.HTTPResponse:
                connection = http.client.HTTPConnection("127.0.0.1", port, timeout=HANG_S)
                connection.request(method, path, json.dumps({"token": tokens.view}) if method == "POST" else None, headers)
                return connection.getresponse()

            cookie = ask("POST", "/login", **JSON).getheader("Set-Cookie") or ""
            refused = ask("GET", "/picture", Cookie=cookie.split(";")[0])
            assert refused.status == 403 and b"page.picture is false" in refused.read()
        finally:
            process.terminate()


def test_where_it_can_not_start_it_says_what_to_do(tmp_path: Path) -> None:
    config = tmp_path / "edged.toml"

    def run(text: str, *more: str) -> tuple[int, str]:
        config.write_text(f'state_folder = "{tmp_path}"\n{text}')
        command = [sys.executable, "-m", "edged", "page", "-c", str(config), *more]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=HANG_S)
        return done.returncode, done.stderr

    code, said = run("")
    assert code == 78 and "page.enabled is false" in said
    code, said = run("[page]\nenabled = true", "--token-file", str(tmp_path / "none"))
    assert code == 78 and "edged page token --new" in said
    token = ["--token-file", str(tmp_path / "token")]
    made = subprocess.run(
        [sys.executable, "-m", "edged", "page", "token", "--new", *token], capture_output=True, text=True, check=True
    )
    assert len(made.stdout.strip()) >= 24
    with socket.create_server(("127.0.0.1", 0)) as taken:
        code, said = run(f"[page]\nenabled = true\nport = {taken.getsockname()[1]}", *token)
    assert code == 69 and "can not listen on 127.0.0.1" in said and "Traceback" not in said
    assert "Address already in use" in said and "attempting" not in said
    (tmp_path / "no.pem").write_text("no certificate")
    code, said = run(f'[page]\nenabled = true\ntls_cert = "{tmp_path}/no.pem"\ntls_key = "{tmp_path}/no.pem"', *token)
    assert code == 78 and "can not be used" in said and "Traceback" not in said


def test_a_certificate_that_can_not_be_used_is_named_with_why(tmp_path: Path) -> None:
    """OpenSSL says `PEM lib` for most of it, and asks the terminal for a pass phrase."""
    for name in ("one", "other"):
        new = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=door", "-days", "2"]
        subprocess.run([*new, "-keyout", f"{name}.key", "-out", f"{name}.pem"], check=True, capture_output=True, cwd=tmp_path)
    lock = ["openssl", "rsa", "-aes128", "-passout", "pass:x", "-in", "one.key", "-out", "locked.key"]
    subprocess.run(lock, check=True, capture_output=True, cwd=tmp_path)
    new_tokens(tmp_path / "token")
    config = tmp_path / "edged.toml"
    for cert, key, why in (
        ("one.pem", "other.key", "the key is another certificate's"),
        ("none.pem", "one.key", "none.pem can not be used: it cannot be read: No such file or directory"),
        ("one.key", "one.key", "one.key can not be used: it holds no certificate as PEM"),
        ("one.pem", "one.pem", "one.pem can not be used: it holds no private key as PEM"),
        ("one.pem", "locked.key", "locked.key can not be used: it wants a pass phrase, and nobody is there to type it"),
    ):
        page = f'[page]\nenabled = true\ntls_cert = "{tmp_path}/{cert}"\ntls_key = "{tmp_path}/{key}"\n'
        config.write_text(f'state_folder = "{tmp_path}"\n{page}')
        command = [sys.executable, "-m", "edged", "page", "-c", str(config), "--token-file", str(tmp_path / "token")]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, stdin=subprocess.DEVNULL)
        assert done.returncode == 78 and why in done.stderr and done.stderr.count("\n") == 1, done.stderr
