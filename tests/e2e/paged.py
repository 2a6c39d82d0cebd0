"""`edged page` as a user runs it, and a client that is no browser."""

import contextlib
import http.client
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from edged.page.tokens import Tokens, load_tokens, new_tokens
from tests.e2e.running import HANG_S, free_port, wait_for

JSON = {"X-Edged": "1", "Content-Type": "application/json"}


class Paged:
    """One page process. `tokens`: of its own file in the folder."""

    def __init__(self, folder: Path, config: Path, port: int) -> None:
        self._folder, self._config, self.port = folder, config, port
        self.token_file = folder / "page_token"
        if not self.token_file.exists():
            new_tokens(self.token_file)
        self.tokens: Tokens = load_tokens(self.token_file)
        self.said = folder / "page.log"
        self.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        command = [sys.executable, "-m", "edged", "page", "-c", str(self._config), "--token-file", str(self.token_file)]
        with self.said.open("ab") as log:
            self.process = subprocess.Popen(command, stderr=log, stdout=log, env=os.environ)
        wait_for(self._answers, 20, "the page answers")

    def _answers(self) -> bool:
        if self.process.poll() is not None:
            raise AssertionError(self.said.read_text())
        with contextlib.suppress(OSError, http.client.HTTPException):
            return self.get("/healthz")[0] == 200
        return False

    def ask(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None, cookie: str = ""
    ) -> tuple[int, dict[str, str], bytes]:
        """Status, headers by lower-case name, body."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=HANG_S)
        given = ({"Cookie": cookie} if cookie else {}) | (headers or {})
        data = json.dumps(body).encode() if body is not None and not isinstance(body, bytes) else body
        try:
            connection.request(method, path, data, given)
            answer = connection.getresponse()
            return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
        finally:
            connection.close()

    def get(self, path: str, cookie: str = "", **headers: str) -> tuple[int, dict[str, str], bytes]:
        return self.ask("GET", path, None, headers, cookie)

    def post(self, path: str, body: Any, cookie: str = "", headers: dict[str, str] | None = None) -> tuple[int, Any]:
        status, _, data = self.ask("POST", path, body, JSON if headers is None else headers, cookie)
        return status, json.loads(data) if data[:1] in (b"{", b"[") else data

    def log_in(self, token: str) -> str:
        """The cookie."""
        status, headers, said = self.ask("POST", "/login", {"token": token}, JSON)
        assert status == 200, said
        return headers["set-cookie"].split(";")[0]

    def memory_mb(self) -> float:
        line = next(one for one in Path(f"/proc/{self.process.pid}/status").read_text().splitlines() if one.startswith("VmRSS"))
        return int(line.split()[1]) / 1024

    def end(self) -> int:
        if self.process.poll() is None:
            self.process.terminate()
        return self.process.wait(HANG_S)


@contextlib.contextmanager
def page_with(folder: Path, config: Path, port: int) -> Iterator[Paged]:
    page = Paged(folder, config, port)
    try:
        yield page
    finally:
        if page.process.poll() is None:
            page.process.kill()
            page.process.wait()


def with_page(config: dict[str, Any], **more: Any) -> dict[str, Any]:
    """The config with the page on, on a port of its own."""
    return config | {"page": {"enabled": True, "port": free_port()} | more}
