"""The documents' commands as they stand there, beside a daemon with its config at /etc/edged and a broker at localhost:1883."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.documents import COMMANDS, TOP, RunHere
from tests.e2e.running import HANG_S, MOSQUITTO, wait_for
from tests.models import a_picture
from tests.system_folders import SystemFolders, needs_own_folders

pytestmark = needs_own_folders
HERE = {command: how for command, how in COMMANDS.items() if isinstance(how, RunHere)}


class Board:
    """Mount and network namespaces of its own, in which /etc/edged and port 1883 are free."""

    def __init__(self, folder: Path) -> None:
        self._folder, folders = folder, SystemFolders(folder / "system")
        album = folder / "album"
        album.mkdir()
        a_picture(album)
        folders.config("edged.toml", f"device = 'door'\n[camera]\nkind = 'pictures'\nsource = '{album}'\n")
        tools = folder / "bin"
        tools.mkdir()
        for name, does in (("sudo", 'exec "$@"'), ("edged", f'exec "{sys.executable}" -m edged "$@"')):
            (tools / name).write_text(f"#!/bin/sh\n{does}\n")
            (tools / name).chmod(0o755)
        broker = folder / "mosquitto.conf"
        broker.write_text(
            "listener 1883 127.0.0.1\nallow_anonymous true\nuser root\n"
        )  # who may read this machine's hosts.allow here
        self._path = f"{tools}:{os.environ['PATH']}"
        self._keeper = subprocess.Popen(["unshare", "--net", *folders.command("sleep", "infinity")])
        wait_for(lambda: Path(f"/proc/{self._keeper.pid}/comm").read_text() == "sleep\n", 10, "its namespaces")
        self.run("ip link set lo up", check=True)
        self._started = [
            subprocess.Popen(self.command(words), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            for words in (f"exec {MOSQUITTO} -c {broker}", "exec edged run")
        ]
        wait_for(lambda: ", connected" in self.run("edged status").stdout, 60, "the daemon is connected")
        wait_for(lambda: "last result" in self.run("edged status").stdout, 30, "it sees")

    def command(self, words: str) -> list[str]:
        return [
            "nsenter",
            "-t",
            str(self._keeper.pid),
            "-n",
            "-m",
            "env",
            "-C",
            str(self._folder),
            f"PATH={self._path}",
            "bash",
            "-c",
            words,
        ]

    def run(self, words: str, *, check: bool = False) -> subprocess.CompletedProcess[str]:
        return subprocess.run(self.command(words), capture_output=True, text=True, timeout=HANG_S, check=check)

    def close(self) -> None:
        for one in (*self._started, self._keeper):
            one.terminate()
        for one in (*self._started, self._keeper):
            one.wait(HANG_S)


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Board]:
    board = Board(tmp_path_factory.mktemp("board"))
    yield board
    board.close()


@pytest.mark.parametrize("command", HERE)
def test_it_does_what_the_document_says(board: Board, command: str) -> None:
    how = HERE[command]
    board.run('mosquitto_pub -t edged/door/control -m \'{"action": "resume"}\'')  # an earlier one may have paused it
    wait_for(lambda: "camera    ok" in board.run("edged status").stdout, 20, "it sees")
    words = f"cd {TOP} && {command}" if command.startswith("make") else command
    news = threading.Event()
    if "door/event" in command:  # what it waits for must happen after it has subscribed
        threading.Thread(target=_pause_and_resume, args=(board, news), daemon=True).start()
    done = board.run(f"{words} {how.options}")
    news.set()
    assert done.returncode in ((0, 1) if how.code is None else (how.code,)), done.stderr
    assert how.says in done.stdout, done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def _pause_and_resume(board: Board, over: threading.Event) -> None:
    while not over.wait(3.0):  # a label stays at least for hold_s
        for action in ("pause", "resume"):
            board.run(f'mosquitto_pub -t edged/door/control -m \'{{"action": "{action}"}}\'')
