"""Who stands in systemd's place: a real socket such as it listens on, and every word that came, in order."""

import socket
import threading
from pathlib import Path

from tests.e2e.running import HANG_S


class Manager:
    def __init__(self, folder: Path, watchdog_s: float = 30.0) -> None:
        self.words: list[str] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(folder / "notify"))
        self.environment = {"NOTIFY_SOCKET": str(folder / "notify"), "WATCHDOG_USEC": f"{watchdog_s * 1e6:.0f}"}
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def _listen(self) -> None:
        while word := self._socket.recv(4096).decode():
            self.words.append(word)

    def count(self, word: str) -> int:
        """How many messages hold a line that begins so."""
        return sum(any(line.startswith(word) for line in words.split("\n")) for words in list(self.words))

    @property
    def status(self) -> str:
        """The last one."""
        said = [words.removeprefix("STATUS=") for words in list(self.words) if words.startswith("STATUS=")]
        return said[-1] if said else ""

    def close(self) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as last:
            last.sendto(b"", self._socket.getsockname())
        self._listener.join(HANG_S)
        self._socket.close()
