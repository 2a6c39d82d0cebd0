"""What systemd hears, by a real socket such as it listens on."""

import os
import socket
import threading
import time

import pytest

from edged.system.systemd import Notify, open_notify


@pytest.fixture(params=["path", "name"])
def manager(request, tmp_path):
    """A socket and its address, as systemd hands it out: in a folder, or as a name in the kernel."""
    address = str(tmp_path / "notify") if request.param == "path" else f"@edged-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(address.replace("@", "\0", 1))
        listening.settimeout(5)
        yield listening, address


def heard(listening):
    return listening.recv(4096).decode()


def test_each_word_arrives_as_systemd_wants_it(manager):
    listening, address = manager
    notify = Notify(address)
    assert notify.heard
    assert notify.extend(12.5)
    assert heard(listening) == "EXTEND_TIMEOUT_USEC=12500000"
    assert notify.up()
    assert heard(listening) == "READY=1"
    before_us = time.monotonic_ns() // 1000
    assert notify.reloading()
    first, second = heard(listening).split("\n")
    assert first == "RELOADING=1"
    assert before_us <= int(second.removeprefix("MONOTONIC_USEC=")) <= time.monotonic_ns() // 1000
    assert notify.ready()
    assert heard(listening) == "READY=1"
    assert notify.status("8.1 fps,\nhome_0.25_128,\tbroker ok")
    assert heard(listening) == "STATUS=8.1 fps, home_0.25_128, broker ok"
    assert notify.feed()
    assert heard(listening) == "WATCHDOG=1"
    assert notify.give_up()
    assert heard(listening) == "WATCHDOG=trigger"
    assert notify.forgive()
    assert heard(listening) == "RESTART_RESET=1"
    assert notify.stopping()
    assert heard(listening) == "STOPPING=1"
    notify.close()
    assert not notify.feed()


def test_a_reload_makes_no_service_ready_that_does_not_work_yet(manager):
    listening, address = manager
    notify = Notify(address)
    assert not notify.reloading()
    assert not notify.ready()
    notify.status("starting")
    assert heard(listening) == "STATUS=starting"


def test_a_manager_that_does_not_read_is_not_waited_for(manager):
    listening, address = manager
    notify = Notify(address)
    said: list[bool] = []
    feeding = threading.Thread(target=lambda: said.extend(notify.feed() for _ in range(20_000)), daemon=True)
    feeding.start()
    feeding.join(30)
    assert not feeding.is_alive(), "it waits for whoever does not read"
    assert said[0] and not said[-1]
    while True:
        listening.setblocking(False)
        try:
            listening.recv(4096)
        except BlockingIOError:
            break
    assert notify.feed()


def test_a_manager_that_is_gone_changes_nothing(tmp_path):
    notify = Notify(str(tmp_path / "nobody"))
    assert not notify.up()
    assert not notify.is_up
    assert not notify.feed()


def test_without_a_manager_every_word_is_for_nobody():
    for environment in ({}, {"NOTIFY_SOCKET": ""}, {"NOTIFY_SOCKET": "@"}, {"NOTIFY_SOCKET": "vsock:2:1"}):
        notify = open_notify(environment)
        assert not notify.heard
        assert not notify.feed()
        assert notify.up()
        assert notify.watchdog_s == 0


@pytest.mark.parametrize(
    ("usec", "pid", "watchdog_s"),
    [
        ("30000000", "own", 30.0),
        ("2000000", "", 2.0),
        ("2000000", "1", 0.0),
        ("soon", "", 0.0),
        ("9" * 400, "", 0.0),
        ("", "", 0.0),
    ],
)
def test_only_a_watchdog_that_is_meant_for_this_process_is_fed(usec, pid, watchdog_s):
    pid = str(os.getpid()) if pid == "own" else pid
    environment = {"NOTIFY_SOCKET": "/run/systemd/notify", "WATCHDOG_USEC": usec, "WATCHDOG_PID": pid}
    assert open_notify(environment).watchdog_s == watchdog_s
