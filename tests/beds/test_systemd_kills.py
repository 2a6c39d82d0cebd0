"""SIGKILL of the service at random moments, which systemd starts again each time: what was decided is delivered or announced.

Needs what test_systemd.py needs. What is decided is counted in a file of the machine that no kill reaches (tests/e2e/counted.py).
"""

import random
import shutil
import struct
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.beds.machine import Listener, Machine
from tests.beds.test_systemd import CHECKOUT, folder, installed, pytestmark, set_config  # noqa: F401  # and its fixtures
from tests.campaigns.size import SEED, count, report
from tests.e2e.counted import SIZE
from tests.e2e.running import wait_for

COUNTER, STARTS = "/var/lib/decided", "/var/lib/edged/starts.json"
RUN = f"/usr/lib/edged/bin/python3 /opt/counted.py {COUNTER} -m edged run"
DROP_IN = f"""[Service]
ExecStart=
ExecStart={RUN}
ReadWritePaths={COUNTER}
RestartSec=100ms
RestartSteps=0
"""
CHANGING = {"ignore": [], "hold_s": 0.0, "k": 1, "n": 1, "enter": 0.02, "leave": 0.01, "margin": 0.0}
CONFIG = {
    "device": "bed",
    "camera": {"kind": "pictures", "source": "/opt/album", "fps": 30.0, "show_s": 0.0},
    "model": {"name": "home_0.25_96", "threads": 1},
    "decision": CHANGING,
    "mqtt": {"result_fps": 0.0},
    "outbox": {"backlog_per_s": 500.0},
}
STILL = CONFIG | {"decision": CHANGING | {"enter": 1.0, "leave": 0.99}}


@pytest.fixture
def machine(installed: Machine, folder: Path) -> Iterator[Machine]:  # noqa: F811
    machine = Machine(folder / "killed", installed.changed)
    set_config(machine, CONFIG, machine.changed)
    drop_in, counter = machine.changed / "etc/systemd/system/edged.service.d/kills.conf", machine.changed / COUNTER[1:]
    for path in (drop_in.parent, counter.parent, machine.changed / "opt", machine.changed / "etc/mosquitto/conf.d"):
        path.mkdir(parents=True, exist_ok=True)
    drop_in.write_text(DROP_IN)
    shutil.copy(CHECKOUT / "tests/e2e/counted.py", machine.changed / "opt/counted.py")
    counter.write_bytes(bytes(SIZE))
    counter.chmod(0o666)
    (machine.changed / "etc/mosquitto/conf.d/bed.conf").write_text("max_queued_messages 0\n")
    machine.on()
    yield machine
    print("\n".join(machine.journal().splitlines()[-40:]))
    machine.off()


def test_a_killed_service_loses_nothing_that_was_decided(machine: Machine) -> None:
    kills, rng = count(5, 200), random.Random(SEED)
    listener = Listener(machine, "-c", "-i", "judge")

    def decided() -> int:
        return int(struct.unpack("<q", machine.path(COUNTER).read_bytes())[0])

    def set_broker(there: bool) -> None:
        """Masked, or each start of edged would start it too."""
        machine.run("systemctl", *(("unmask", "--runtime") if there else ("mask", "--runtime", "--now")), "mosquitto")
        if there:
            machine.run("systemctl", "start", "mosquitto")

    def kill(before: int) -> None:
        """The one that runs, as soon as it has decided something and a little later."""
        wanted = before + rng.randrange(1, 30)
        wait_for(lambda: decided() >= wanted, 90, "events are decided")
        threading.Event().wait(rng.uniform(0.0, 0.4))
        pid = machine.main_pid()
        machine.path(STARTS).unlink(missing_ok=True)  # else so many crashes end in safe mode
        machine.run("kill", "-KILL", str(pid))
        wait_for(lambda: machine.main_pid() not in (0, pid), 30, "systemd starts it again")

    for number in range(kills):
        if number % 5 == 2:
            set_broker(there=False)
        elif number % 5 == 4:
            set_broker(there=True)
        kill(decided())
    set_broker(there=True)
    restarts = int(machine.show("NRestarts")[0])
    set_config(machine, STILL)
    machine.path(STARTS).unlink(missing_ok=True)
    machine.run("systemctl", "kill", "-s", "KILL", "edged")
    wait_for(lambda: int(machine.show("NRestarts")[0]) > restarts, 30, "the last one starts")

    def bodies() -> list[dict]:
        return [*listener.of("event"), *listener.of("backlog")]

    def ids() -> set[str]:
        return {body["id"] for body in bodies() if body["event_type"] != "gap"}

    def announced() -> int:
        told = {body["id"]: body["dropped"] for body in bodies() if body["event_type"] == "gap"}
        assert None not in told.values(), "no tail may be missing after a kill"
        return sum(told.values())

    wait_for(lambda: machine.show("StatusText")[0].endswith("broker ok, 0 waiting"), 120, "nothing waits any more")
    wait_for(lambda: len(ids()) + announced() >= decided(), 30, f"{decided()} events; {len(ids())} arrived")
    arrived, total = len(ids()), decided()
    figures = {
        "kills": kills + 1, "restarts": restarts, "seed": SEED, "decided": total, "arrived": arrived, "announced": announced(),
        "twice": sum(body["event_type"] != "gap" for body in bodies()) - arrived,
    }  # fmt: skip
    report("kills_in_systemd", figures)
    listener.close()
    assert restarts >= kills
    # one more for a kill is possible: the event was taken, and the counter was not yet written
    assert total <= arrived + announced() <= total + kills + 1, figures
