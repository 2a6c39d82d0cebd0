"""The system that is looked at: everything below one folder, "/" in earnest and another one in tests.

Files under /proc, /sys and /etc may be absent, odd or endless; here they are short text or nothing.
"""

import os
import stat
from dataclasses import dataclass
from pathlib import Path

_MOST_BYTES = 256 * 1024
_MOST_NAMES = 5000


@dataclass(frozen=True, slots=True)
class Site:
    """Never raises. Thread: any."""

    root: Path = Path("/")

    def path(self, name: str) -> Path:
        """`name` as the system says it, e.g. /etc/os-release."""
        return self.root / name.lstrip("/")

    def data(self, name: str, most_bytes: int = _MOST_BYTES) -> bytes | None:
        """The file's first bytes; None for what is absent, not a plain file or not readable."""
        try:
            handle = os.open(self.path(name), os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a pipe would be waited for
        except (OSError, ValueError):
            return None
        try:
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                return None
            parts, left = list[bytes](), most_bytes
            while left > 0 and (part := os.read(handle, min(left, 1 << 20))):  # /proc gives a page at a time
                parts.append(part)
                left -= len(part)
        except OSError:
            return None
        finally:
            os.close(handle)
        return b"".join(parts)

    def text(self, name: str) -> str:
        """The file's text, "" for what can't be read; what is no UTF-8 in it is replaced."""
        return (self.data(name) or b"").decode(errors="replace").strip("\0\n\r\t ")

    def number(self, name: str, base: int = 10) -> int | None:
        try:
            return int(self.text(name)[:40], base)
        except ValueError:
            return None

    def has(self, name: str) -> bool:
        return self.stat(name) is not None

    def stat(self, name: str) -> os.stat_result | None:
        try:
            return self.path(name).stat()
        except (OSError, ValueError):
            return None

    def glob(self, pattern: str) -> list[str]:
        """The names of what fits, as the system says them, in order."""
        try:
            found = sorted(str(path) for path in self.root.glob(pattern.lstrip("/")))
        except (OSError, ValueError):
            return []
        return ["/" + os.path.relpath(path, self.root) for path in found[:_MOST_NAMES]]

    @property
    def model(self) -> str:
        """What the board calls itself; "" for a machine without a device tree."""
        return self.text("/proc/device-tree/model") or self.text("/sys/firmware/devicetree/base/model")

    @property
    def is_pi(self) -> bool:
        return "Raspberry Pi" in self.model

    def drop_ins(self, name: str) -> list[str]:
        """systemd's files of this name, e.g. system.conf, then NAME.d/*.conf; the later win. systemd-system.conf(5)."""
        main = next((path for path in (f"{folder}/{name}" for folder in _SYSTEMD) if self.has(path)), "")
        named: dict[str, str] = {}
        for folder in reversed(_SYSTEMD):
            named |= {path.rsplit("/", 1)[-1]: path for path in self.glob(f"{folder}/{name}.d/*.conf")}
        return ([main] if main else []) + [named[one] for one in sorted(named)]

    def setting(self, files: list[str], key: str) -> tuple[str, str]:
        """(value, file) of systemd's `KEY=value`, the last one; ("", "") when it is set nowhere."""
        value = where = ""
        for file in files:
            for line in self.text(file).splitlines():
                name, equals, text = line.partition("=")
                if equals and name.strip() == key:
                    value, where = text.strip(), file
        return value, where


_SYSTEMD = ("/etc/systemd", "/run/systemd", "/usr/lib/systemd", "/lib/systemd")
