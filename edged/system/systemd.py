"""The door to systemd: what a service tells its manager, one datagram at a time. sd_notify(3), without its library.

Started by anything else than systemd, every word here goes nowhere, and nothing else changes.
"""

import logging
import os
import socket
import time
from collections.abc import Mapping

log = logging.getLogger("edged")


class Notify:
    """Says what it is told to say; False when nobody listens or there is no room for the words now. Never waits.

    Thread: any, one at a time.
    """

    def __init__(self, address: str = "", watchdog_s: float = 0.0) -> None:
        """`address`: a path, or @name for a name without a file; "": nobody listens. `watchdog_s`: 0 for none."""
        self.watchdog_s = watchdog_s
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) if address else None
        self._is_up = False

    @property
    def heard(self) -> bool:
        """Whether a manager listens."""
        return self._socket is not None

    @property
    def is_up(self) -> bool:
        """Whether it was told that the service works."""
        return self._is_up

    def up(self) -> bool:
        """The service works: once, at its start."""
        self._is_up = self._say("READY=1") or not self.heard
        return self._is_up

    def reloading(self) -> bool:
        """Settings are being read again; `ready` must follow."""
        return self._is_up and self._say("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def ready(self) -> bool:
        """The end of a reload. Before `up` it says nothing: a reload makes no service work that does not yet."""
        return self._is_up and self._say("READY=1")

    def stopping(self) -> bool:
        return self._say("STOPPING=1")

    def status(self, line: str) -> bool:
        """One line for people, as `systemctl status` shows it."""
        return self._say(f"STATUS={' '.join(line.split())}")

    def feed(self) -> bool:
        """The watchdog's food."""
        return self._say("WATCHDOG=1")

    def give_up(self) -> bool:
        """As if the watchdog had not been fed for too long: systemd kills the service and starts it again."""
        return self._say("WATCHDOG=trigger")

    def forgive(self) -> bool:
        """It ran well: the pause before its next restart begins small again. Heard from systemd 258 on."""
        return self._say("RESTART_RESET=1")

    def extend(self, by_s: float) -> bool:
        """Starting or stopping may take this much longer, counted from now."""
        return self._say(f"EXTEND_TIMEOUT_USEC={int(by_s * 1e6)}")

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _say(self, *lines: str) -> bool:
        if self._socket is None:
            return False
        try:
            self._socket.sendto("\n".join(lines).encode(), socket.MSG_DONTWAIT, self._address)
        except OSError as error:
            log.debug("systemd was not told %s: %s", lines[0], error.strerror or error)
            return False
        return True


def open_notify(environment: Mapping[str, str] = os.environ) -> Notify:
    """What the environment says about the manager of this very process; of a watchdog that is meant for another, nothing."""
    address, meant = environment.get("NOTIFY_SOCKET", ""), environment.get("WATCHDOG_PID", "")
    watchdog_us = environment.get("WATCHDOG_USEC", "")
    if not address.startswith(("/", "@")) or len(address) < 2:
        return Notify()
    ours = watchdog_us.isdecimal() and len(watchdog_us) < 18 and meant in ("", str(os.getpid()))
    return Notify(address, int(watchdog_us) / 1e6 if ours else 0.0)
