"""A whole Debian with systemd, booted from systemd/boot: a board without the board."""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.e2e.running import children, wait_for

HERE = Path(__file__).parent
_UP = ("starting", "running", "degraded")
_ASK_EVERY_S = 0.1
_PATH = "PATH=/usr/sbin:/usr/bin:/sbin:/bin"


class Machine:
    """Root's hands in it. Commands enter its namespaces from outside; it has no network but its own loopback."""

    def __init__(self, folder: Path, *layers: Path) -> None:
        """`layers`: what other machines left in their `changed`, to begin with; theirs must be off."""
        self.folder, self._layers = folder, layers
        self._asked_s = 0.0
        folder.mkdir(exist_ok=True)

    @property
    def changed(self) -> Path:
        """What it wrote. Put files here only before it is on."""
        return self.folder / "changed"

    def on(self) -> None:
        command = [str(HERE / "systemd" / "boot"), str(self.folder), *map(str, self._layers)]
        with (self.folder / "console").open("ab") as console:
            self._nspawn = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=console, stderr=console)
        try:
            wait_for(self._find_init, 30, f"the machine boots; see {self.folder}/console")
            wait_for(lambda: self.says("systemctl", "is-system-running") in _UP, 60, "it starts its services")
        except BaseException:
            self._nspawn.kill()
            raise

    def _find_init(self) -> bool:
        assert self._nspawn.poll() is None, (self.folder / "console").read_text()[-2000:]
        self.init = 0
        for pid in children(self._nspawn.pid):
            with contextlib.suppress(OSError):  # what boots it forks more than once, and some of that is gone by now
                if Path(f"/proc/{pid}/comm").read_text().strip() == "systemd":
                    self.init = pid
                    break
        return self.init != 0

    def off(self, *, softly: bool = False) -> None:
        """As a power cut, or as a shutdown."""
        if softly:
            self.run("systemctl", "poweroff")
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._nspawn.wait(60)
        if self._nspawn.poll() is None:
            os.kill(self.init, signal.SIGKILL)
            self._nspawn.wait(30)
        for group in Path("/sys/fs/cgroup").glob(f"**/bed_{self._nspawn.pid}"):
            for inner in sorted((path for path in group.rglob("*") if path.is_dir()), reverse=True):
                inner.rmdir()
            group.rmdir()

    def command(self, *command: str) -> list[str]:
        return ["nsenter", "-t", str(self.init), "-a", "/usr/bin/env", "-i", _PATH, "DEBIAN_FRONTEND=noninteractive", *command]

    def run(self, *command: str, check: bool = True, deadline_s: float = 180) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(self.command(*command), capture_output=True, text=True, timeout=deadline_s, check=False)
        assert not check or done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        return done

    def says(self, *command: str) -> str:
        """What it prints; asked in a loop, not more often than the machine can bear."""
        wait_s = self._asked_s + _ASK_EVERY_S - time.monotonic()
        if wait_s > 0:
            threading.Event().wait(wait_s)
        self._asked_s = time.monotonic()
        return self.run(*command, check=False).stdout.strip()

    def path(self, inside: str) -> Path:
        """A file of the machine that is on."""
        return Path(f"/proc/{self.init}/root{inside}")

    def write(self, inside: str, text: str) -> None:
        self.path(inside).parent.mkdir(parents=True, exist_ok=True)
        self.path(inside).write_text(text)

    def show(self, *properties: str, unit: str = "edged") -> list[str]:
        """What systemd says of a unit."""
        said = self.says("systemctl", "show", unit, *(f"-p{name}" for name in properties)).splitlines()
        values = dict(line.split("=", 1) for line in said if "=" in line)
        return [values[name] for name in properties]

    def journal(self, unit: str = "edged") -> str:
        return self.says("journalctl", "--no-pager", "-b", "-o", "cat", "-u", unit)

    def main_pid(self) -> int:
        """By the machine's own count; 0 while there is none."""
        return int(self.show("MainPID")[0])

    def vision_pid(self) -> int | None:
        return next(iter(map(int, self.says("pgrep", "-f", r"edged\.vision [0-9]").split())), None)

    def outside(self, pid: int) -> int:
        """The number of one of its processes on the machine that it runs on."""
        namespace = Path(f"/proc/{self.init}/ns/pid").readlink()
        for status in Path("/proc").glob("[0-9]*/status"):
            with contextlib.suppress(OSError):
                numbers = re.search(r"^NSpid:(.*)$", status.read_text(), re.MULTILINE)
                if numbers and int(numbers[1].split()[-1]) == pid and (status.parent / "ns/pid").readlink() == namespace:
                    return int(status.parent.name)
        raise AssertionError(f"the machine has no process {pid}")

    @contextlib.contextmanager
    def frozen(self, thread: int) -> Iterator[None]:
        """One thread stands still, and the others of its process do not; `thread` is an outside number."""
        tracer = subprocess.Popen([sys.executable, str(HERE / "freeze.py"), str(thread)], stdout=-1, text=True)
        assert tracer.stdout is not None
        try:
            assert tracer.stdout.readline() == "frozen\n"
            yield
        finally:
            tracer.kill()  # which lets go of the thread
            tracer.wait()

    def remove(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)


class Listener:
    """A subscriber inside the machine, from when its broker first answers; (when, topic, payload, retained)."""

    def __init__(self, machine: Machine, *options: str) -> None:
        """`options` of mosquitto_sub."""
        self.messages: list[tuple[float, str, Any, bool]] = []
        loop = f"until mosquitto_sub {' '.join(options)} -q 1 -t 'edged/#' -F '%r %t %p'; do sleep 0.2; done"
        self._process = subprocess.Popen(machine.command("sh", "-c", loop), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            with contextlib.suppress(ValueError, UnicodeDecodeError):
                retained, topic, payload = line.decode().rstrip("\n").split(" ", 2)
                body = json.loads(payload) if payload[:1] == "{" else payload
                self.messages.append((time.monotonic(), topic.split("/", 2)[-1], body, retained == "1"))

    def of(self, topic: str, since_s: float = 0.0) -> list[Any]:
        """Not what was retained."""
        return [body for at_s, name, body, retained in list(self.messages) if name == topic and at_s >= since_s and not retained]

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
