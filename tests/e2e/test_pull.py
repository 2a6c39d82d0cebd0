"""`edged models pull` from a loopback server that is good, broken, hostile or silent: the model is there whole, or not at all."""

import contextlib
import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import tomlkit

from edged.errors import FAILED, IO_FAILED, OK, UNAVAILABLE, ModelError, UnavailableError
from edged.models.pull import download, pull, to_most_bytes, to_most_s
from edged.models.store import Store

TRIAL = "trial.tgz"


class Server(BaseHTTPRequestHandler):
    """Serves one archive, in the way that the path's first part names."""

    archive = b""
    released = threading.Event()
    sent_bytes = 0
    sends_on_to = ""

    def do_GET(self) -> None:
        how = self.path.split("/")[1]
        if how == "absent":
            self.send_error(404)
            return
        if how == "elsewhere":
            self.send_response(302)
            self.send_header("Location", self.sends_on_to)
            self.end_headers()
            return
        if how == "endless":
            self.send_response(200)
            self.end_headers()
            with contextlib.suppress(OSError):  # it hangs up
                while True:
                    self.wfile.write(bytes(65536))
                    Server.sent_bytes += 65536
            return
        if how.startswith("drips"):
            whole = b"HTTP/1.0 200 OK\r\nContent-Length: 100000\r\n\r\n" + self.archive
            fast = whole.index(self.archive) if how == "drips-body" else 0
            with contextlib.suppress(OSError):  # it hangs up
                self.wfile.write(whole[:fast])
                for at in range(fast, len(whole)):
                    self.wfile.write(whole[at : at + 1])
                    self.wfile.flush()
                    if self.released.wait(1):
                        return
            return
        body = self.archive[:-1] + bytes([self.archive[-1] ^ 1]) if how == "changed" else self.archive
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: len(body) // 2])
        if how == "stalls":
            self.wfile.flush()
            self.released.wait(30)
        elif how != "truncated":
            self.wfile.write(body[len(body) // 2 :])

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def mirror() -> Iterator[str]:
    Server.released.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    Server.released.set()
    server.shutdown()
    server.server_close()


def packed(model: bytes, name: str = "./trial.tflite") -> bytes:
    """As the published archives: the model among other files."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        for member, content in (("./trial_info.txt", b"Model: trial"), (name, model)):
            entry = tarfile.TarInfo(member)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return out.getvalue()


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


def publish(state: Path, archive: bytes, sha256: str = "") -> None:
    """A card in the state folder for a model that is still to be pulled: a bundled one under another name."""
    Server.archive = archive
    store = Store(state)
    held = next(one for one in store.held() if one.bundled)
    card = held.card.model_copy(
        update={
            "name": "trial",
            "file": "",
            "archive": f"example.org/models/{TRIAL}",
            "archive_sha256": hashlib.sha256(archive).hexdigest(),
        }
    )
    store.folder.mkdir(parents=True, exist_ok=True)
    (store.folder / "trial.toml").write_text(tomlkit.dumps(card.to_toml()))


def bundled() -> bytes:
    return next(one for one in Store(Path("/nonexistent")).held() if one.bundled).path.read_bytes()


def run(state: Path, mirror: str, *more: str) -> subprocess.CompletedProcess[str]:
    config = state.parent / "edged.toml"
    config.write_text(tomlkit.dumps({"state_folder": str(state), "camera": {"kind": "pictures", "source": "/"}}))
    command = [sys.executable, "-m", "edged", "models", "pull", "trial", "--mirror", mirror, "-c", str(config), *more]
    environment = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    return subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment)


def nothing_is_half_there(state: Path) -> bool:
    return not [path for path in (state / "models").rglob("*") if path.is_file() and path.suffix != ".toml"]


def test_a_good_archive_is_installed_and_a_second_time_too(state: Path, mirror: str) -> None:
    publish(state, packed(bundled()))
    told = run(state, f"{mirror}/good", "--json")
    assert told.returncode == OK, told.stderr
    assert json.loads(told.stdout) == {
        "name": "trial",
        "installed": True,
        "path": str(state / "models/trial.tflite"),
        "recast": "",
    }
    assert Store(state).find("trial").card.top1 is not None
    assert run(state, f"{mirror}/good").stdout == "installed trial\n"
    assert not list((state / "models/.pull").iterdir())


def test_what_runs_does_not_get_another_card(state: Path, mirror: str) -> None:
    """The same file again, under a card that somebody has changed since: who runs it is asked first."""
    publish(state, packed(bundled()))
    store = Store(state)
    card = next(card for card in store.known() if card.name == "trial")
    pull(store, card, f"{mirror}/good", None)
    changed = store.folder / "trial.toml"
    changed.write_text(tomlkit.dumps(store.find("trial").card.model_copy(update={"licence": "changed"}).to_toml()))
    before = changed.read_text()

    def refuse(name: str) -> None:
        raise ModelError(f"{name} runs now")

    with pytest.raises(ModelError, match="trial runs now"):
        pull(store, card, f"{mirror}/good", None, check_change=refuse)
    assert changed.read_text() == before
    pull(store, card, f"{mirror}/good", None)
    assert changed.read_text() != before
    pull(store, card, f"{mirror}/good", None, check_change=refuse)  # nothing changes, so nobody is asked


@pytest.mark.parametrize(
    ("how", "code", "says"),
    [
        ("absent", UNAVAILABLE, "404"),
        ("truncated", UNAVAILABLE, "the download failed"),
        ("changed", FAILED, "is not the published one"),
    ],
)
def test_what_does_not_arrive_as_published_is_not_installed(state: Path, mirror: str, how: str, code: int, says: str) -> None:
    publish(state, packed(bundled()))
    told = run(state, f"{mirror}/{how}")
    assert (told.returncode, told.stdout) == (code, "")
    assert says in told.stderr and len(told.stderr.splitlines()) == 1 and "Traceback" not in told.stderr, told.stderr
    assert nothing_is_half_there(state)
    assert run(state, f"{mirror}/good").returncode == OK


def test_nobody_answers(state: Path) -> None:
    publish(state, packed(bundled()))
    told = run(state, "http://127.0.0.1:9")
    assert told.returncode == UNAVAILABLE and "the download failed" in told.stderr and len(told.stderr.splitlines()) == 1


NO_ADDRESSES = [
    "http://a..b/",
    "http://[x/",
    f"http://{'a' * 70}/",
    "http://\u00fc..x/",
    "http://127.0.0.1:99999/",
    "nowhere",
    "ftp://x/",
]


@pytest.mark.parametrize("where", NO_ADDRESSES)
def test_a_mirror_that_is_no_address(state: Path, where: str) -> None:
    publish(state, packed(bundled()))
    told = run(state, where)
    assert (told.returncode, told.stdout) == (UNAVAILABLE, ""), told.stderr
    assert "the download failed (" in told.stderr and len(told.stderr.splitlines()) == 1
    assert nothing_is_half_there(state)


@pytest.mark.parametrize("where", [*(where for where in NO_ADDRESSES if where.startswith("http")), "http://\u00fc/"])
def test_a_server_that_sends_on_to_what_is_no_address(state: Path, mirror: str, where: str) -> None:
    Server.sends_on_to = where
    with pytest.raises(UnavailableError, match="the download failed"):
        download(f"{mirror}/elsewhere/{TRIAL}", "0" * 64, state, False, 5.0)


@pytest.mark.parametrize(("name", "value"), [("http_proxy", "http://a..b/"), ("REQUESTS_CA_BUNDLE", "/nowhere")])
def test_an_environment_that_is_wrong(state: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    scheme = "https" if name == "REQUESTS_CA_BUNDLE" else "http"
    with pytest.raises(UnavailableError, match="the download failed"):
        download(f"{scheme}://192.0.2.1/{TRIAL}", "0" * 64, state, False, 5.0)


def test_a_server_that_stalls_is_left(state: Path, mirror: str) -> None:
    publish(state, packed(bundled()))
    store = Store(state)
    card = next(card for card in store.known() if card.name == "trial")
    with pytest.raises(UnavailableError, match="the download failed"):
        pull(store, card, f"{mirror}/stalls", None, stall_s=0.5)
    assert nothing_is_half_there(state)


@pytest.mark.parametrize("how", ["drips-head", "drips-body"])
def test_a_server_that_sends_a_byte_a_second_is_left(state: Path, mirror: str, how: str) -> None:
    """It is never silent for long, so only the time of the whole download bounds it."""
    publish(state, packed(bundled()))
    store = Store(state)
    card = next(card for card in store.known() if card.name == "trial")
    with pytest.raises(UnavailableError, match="sends too slowly, 2 s have passed: nothing was installed"):
        pull(store, card, f"{mirror}/{how}", None, most_s=2.0)
    assert nothing_is_half_there(state)
    assert 60 < to_most_s(to_most_bytes(card)) < 3600  # what holds for this model without being told


def test_an_endless_answer_is_cut_off(state: Path, mirror: str) -> None:
    publish(state, packed(bundled()))
    Server.sent_bytes = 0
    told = run(state, f"{mirror}/endless")
    assert told.returncode == FAILED and "sends more than the" in told.stderr and len(told.stderr.splitlines()) == 1, told.stderr
    assert nothing_is_half_there(state)
    most = to_most_bytes(next(card for card in Store(state).known() if card.name == "trial"))
    assert len(packed(bundled())) < most < Server.sent_bytes < most + (32 << 20)  # what the sockets hold comes on top


@pytest.mark.parametrize("name", ["../../trial.tflite", "/tmp/trial.tflite", "a/../../trial.tflite"])
def test_an_archive_that_points_outside_is_not_unpacked(state: Path, mirror: str, name: str) -> None:
    publish(state, packed(bundled(), name))
    told = run(state, f"{mirror}/good")
    assert told.returncode == FAILED and "points outside of the archive" in told.stderr
    assert nothing_is_half_there(state)
    assert not list(state.parent.rglob("trial.tflite"))


def test_an_archive_with_another_model_in_it(state: Path, mirror: str) -> None:
    publish(state, packed(bundled()[:-1] + b"x"))
    told = run(state, f"{mirror}/good")
    assert told.returncode == FAILED and "is not the one that the card of trial names" in told.stderr
    assert nothing_is_half_there(state)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts a small disk")
def test_a_full_disk(state: Path, mirror: str) -> None:
    state.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=160k", "tmpfs", str(state)], check=True)
    try:
        publish(state, packed(bundled()))
        told = run(state, f"{mirror}/good")
        assert told.returncode == IO_FAILED and "No space left on device" in told.stderr and "Traceback" not in told.stderr
        assert nothing_is_half_there(state)
    finally:
        subprocess.run(["umount", str(state)], check=True)


def test_unknown_and_unpublished_names_are_told(state: Path) -> None:
    publish(state, b"")
    store = Store(state)
    (store.folder / "trial.toml").write_text(
        tomlkit.dumps(next(c for c in store.known() if c.name == "trial").model_copy(update={"archive_sha256": ""}).to_toml())
    )
    told = run(state, "http://127.0.0.1:9")
    assert told.returncode == FAILED and "no archive whose hash is known" in told.stderr
