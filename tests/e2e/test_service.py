"""What a service manager hears of the daemon."""

import os
import re
import signal

import pytest

from tests.e2e.manager import Manager
from tests.e2e.running import Broker, edged_with, free_port, wait_for
from tests.models import any_model_config


@pytest.fixture
def manager(tmp_path):
    manager = Manager(tmp_path, watchdog_s=2)
    yield manager
    manager.close()


def test_it_is_ready_when_the_first_frame_was_classified_and_waits_for_no_broker(tmp_path, config, manager):
    config["mqtt"]["port"] = port = free_port()
    config["model"] = any_model_config()
    with edged_with(tmp_path, config, environment=manager.environment) as edged:
        wait_for(lambda: manager.count("READY=1"), 30, "ready")
        before = manager.words[: manager.words.index("READY=1")]
        assert any(word.startswith("EXTEND_TIMEOUT_USEC=") for word in before)
        wait_for(lambda: manager.status.startswith("10") or "fps" in manager.status, 20, "a status")
        wait_for(lambda: re.fullmatch(r"[\d.]+ fps, [\w.]+, broker away, \d+ waiting", manager.status), 20, manager.status)
        broker = Broker(tmp_path, port=port)
        try:
            wait_for(lambda: re.fullmatch(r"[1-9][\d.]* fps, [\w.]+, broker ok, 0 waiting", manager.status), 30, manager.status)
        finally:
            broker.end()
        fed = manager.count("WATCHDOG=1")
        wait_for(lambda: manager.count("WATCHDOG=1") > fed + 2, 5, "the watchdog is fed")
        edged.process.send_signal(signal.SIGHUP)
        wait_for(lambda: manager.count("READY=1") == 2, 10, "ready again")
        reloading = next(n for n, word in enumerate(manager.words) if word.startswith("RELOADING=1\nMONOTONIC_USEC="))
        assert manager.words.index("READY=1") < reloading < len(manager.words) - manager.words[::-1].index("READY=1") - 1
        assert edged.end() == 0
        assert manager.count("STOPPING=1") == 1
        assert manager.count("WATCHDOG=trigger") == 0


def test_a_camera_that_is_not_there_is_known_and_the_service_works(tmp_path, config, manager):
    config["camera"] = {"kind": "v4l2", "source": "/dev/video99"}
    config["model"] = any_model_config()
    with edged_with(tmp_path, config, environment=manager.environment) as edged:
        wait_for(lambda: manager.count("READY=1"), 30, "ready")
        wait_for(lambda: manager.status.startswith("camera: "), 10, manager.status)
        fed = manager.count("WATCHDOG=1")
        wait_for(lambda: manager.count("WATCHDOG=1") > fed + 8, 10, "the watchdog is fed")
        assert edged.end() == 0


def test_a_frozen_vision_process_is_replaced_and_the_watchdog_fed_meanwhile(tmp_path, config, manager):
    config["model"] = any_model_config()
    with edged_with(tmp_path, config, environment=manager.environment) as edged:
        wait_for(lambda: manager.count("READY=1"), 30, "ready")
        frozen = edged.vision_pid()
        os.kill(frozen, signal.SIGSTOP)
        wait_for(lambda: manager.status.startswith("camera: the vision process was lost"), 15, "its loss is told")
        wait_for(lambda: edged.vision_pid() not in (None, frozen) and "fps" in manager.status, 25, "another one works")
        assert manager.count("WATCHDOG=trigger") == 0
        assert edged.end() == 0


def test_a_manager_that_never_listens_is_not_missed(tmp_path, config, heard):
    config["model"] = any_model_config()
    with edged_with(tmp_path, config, environment={"NOTIFY_SOCKET": str(tmp_path / "nobody"), "WATCHDOG_USEC": "2000000"}) as edged:
        wait_for(lambda: heard.of("result"), 30, "results")
        assert edged.end() == 0
