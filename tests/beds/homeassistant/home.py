"""A real Home Assistant of the test's own, headless, on a loopback port, driven over its HTTP API as its own page does it."""

import json
import re
import signal
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

from tests.e2e.running import HANG_S, free_port, wait_for

HERE = Path(__file__).parent
_CONFIG = """
homeassistant:
  name: bed
  latitude: 52.0
  longitude: 13.0
  elevation: 30
  unit_system: metric
  time_zone: UTC
http:
  server_host: 127.0.0.1
  server_port: {port}
api:
auth:
config:
onboarding:
websocket_api:
logger:
  default: warning
"""


class HomeAssistant:
    """Its folder outlives it, so that it can be started again."""

    def __init__(self, python: Path, folder: Path) -> None:
        self._python, self.folder, self._port = python, folder, free_port()
        self._url, self._token = f"http://127.0.0.1:{self._port}", ""
        folder.mkdir()
        (folder / "configuration.yaml").write_text(_CONFIG.format(port=self._port))
        self.start()
        self._onboard()

    def start(self) -> None:
        with (self.folder / "said").open("ab") as said:
            command = [str(self._python), str(HERE / "start.py"), "-c", str(self.folder)]
            self._process = subprocess.Popen(command, stdout=said, stderr=said)
        wait_for(self._answers, 240, f"Home Assistant answers; see {self.folder}/said")

    def end(self) -> None:
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(120)

    def kill(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def add_mqtt(self, port: int) -> None:
        flow = self._ask("/api/config/config_entries/flow", {"handler": "mqtt", "show_advanced_options": False})
        if flow.get("type") == "menu":
            flow = self._ask(f"/api/config/config_entries/flow/{flow['flow_id']}", {"next_step_id": "broker"})
        done = self._ask(f"/api/config/config_entries/flow/{flow['flow_id']}", {"broker": "127.0.0.1", "port": port})
        assert done["type"] == "create_entry", done

    def states(self) -> dict[str, dict[str, Any]]:
        """By entity id, those of MQTT only."""
        known = set(self.entities())
        return {one["entity_id"]: one for one in self._ask("/api/states") if one["entity_id"] in known}

    def entities(self) -> list[str]:
        """Every enabled entity of MQTT in its registry, also those that nobody announces any more."""
        found = self._ask("/api/template", {"template": "{{ integration_entities('mqtt') | to_json }}"})
        return list(found)

    def call(self, service: str, entity: str, **data: Any) -> None:
        """As a tap on its page: `switch.turn_off`."""
        domain, _, name = service.partition(".")
        self._ask(f"/api/services/{domain}/{name}", {"entity_id": entity, **data})

    def picture(self, state: dict[str, Any]) -> bytes:
        with urllib.request.urlopen(self._url + state["attributes"]["entity_picture"], timeout=HANG_S) as answer:
            return bytes(answer.read())

    def complaints(self) -> list[str]:
        """Warnings and errors of its MQTT integration, and of whoever else names it."""
        lines = (self.folder / "home-assistant.log").read_text(errors="replace").splitlines()
        lines += [line for path in self.folder.glob("home-assistant.log.*") for line in path.read_text().splitlines()]
        return [line for line in lines if re.search(r" (WARNING|ERROR|CRITICAL) ", line) and "mqtt" in line]

    def _answers(self) -> bool:
        assert self._process.poll() is None, (self.folder / "said").read_text()[-2000:]
        try:
            if self._token:
                return bool(self._ask("/api/config").get("state") == "RUNNING")
            return bool(urllib.request.urlopen(f"{self._url}/api/onboarding", timeout=5).read())
        except (OSError, ValueError):
            return False

    def _onboard(self) -> None:
        client = f"{self._url}/"
        user = {"client_id": client, "name": "bed", "username": "bed", "password": "bed-bed-bed", "language": "en"}
        code = self._ask("/api/onboarding/users", user)["auth_code"]
        form = urllib.parse.urlencode({"grant_type": "authorization_code", "code": code, "client_id": client}).encode()
        with urllib.request.urlopen(f"{self._url}/auth/token", form, timeout=HANG_S) as answer:
            short = json.loads(answer.read())
        self._token = short["access_token"]
        # no further step: that of the place sets up a weather service, which asks the internet

    def _ask(self, path: str, data: dict[str, Any] | None = None) -> Any:
        headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {self._token}"} if self._token else {})
        body = None if data is None else json.dumps(data).encode()
        try:
            with urllib.request.urlopen(urllib.request.Request(self._url + path, body, headers), timeout=HANG_S) as answer:
                return json.loads(answer.read() or b"null")
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{path}: {error.code} {error.read()[:500]!r}") from None
