"""A Mosquitto bridge to a central broker, by docs/examples/bridge.conf, and the way cut while events come."""

from pathlib import Path

import pytest

from tests.campaigns.size import count, report
from tests.e2e.fault_proxy import FaultProxy
from tests.e2e.running import Broker, Heard, wait_for
from tests.e2e.source import Arrivals, Source

CONF = Path(__file__).resolve().parents[2] / "docs" / "examples" / "bridge.conf"
PER_S = 50


def bridge_lines(folder: Path, port: int) -> list[str]:
    """As the file says; only the names, the folder and the pause between two attempts are the test's."""
    text = CONF.read_text().replace("CENTRAL:1883", f"127.0.0.1:{port}").replace("DEVICE", "source")
    text = text.replace("/var/lib/mosquitto/", f"{folder}/").replace("restart_timeout 2 30", "restart_timeout 1 1")
    return [line for line in text.splitlines() if line and not line.startswith("#")]


@pytest.mark.parametrize("fault", ["refuse", "stall"])
def test_a_bridge_that_is_cut_loses_no_event(tmp_path, fault):
    cut_s = count(short=4, full=60)
    for name in ("state", "local", "central"):
        (tmp_path / name).mkdir()
    central = Broker(tmp_path / "central", "persistence true", f"persistence_location {tmp_path}/central/", "max_queued_messages 0")
    way = FaultProxy(central.port).start()
    local = Broker(tmp_path / "local", *bridge_lines(tmp_path / "local", way.port))
    there, here = Arrivals(central.port), Heard(local.port)
    others = Heard(central.port)
    events = (cut_s + 4) * PER_S

    def commanded() -> bool:
        others.publish("edged/source/control", b"ping")
        return any(topic == "edged/source/control" for topic, _, _ in list(here.messages))

    wait_for(commanded, 30, "commands come over the bridge")
    source = Source(port=local.port, state_folder=str(tmp_path / "state"), events=events, per_s=PER_S)
    try:
        wait_for(lambda: len(there.ids()) >= PER_S, 30, "events arrive at the central broker")
        way.become(fault)
        cut_at = max(source.accepted.values())
        source.goes_on((cut_s - 1) * PER_S)
        held, made = len(there.ids()), max(source.accepted.values())
        way.become("")
        source.wait_done(cut_s * 4 + 60)
        wait_for(lambda: len(there.ids()) >= events, 60 + cut_s, "every event is at the central broker")
    finally:
        source.end()
        for one in (here, others, there):
            one.close()
        local.end()
        way.close()
        central.end()
    ids = there.ids()
    lost = events - len(ids)
    twice = sum(number - 1 for number in ids.values())
    report(f"bridge-{fault}", {"cut_s": cut_s, "events": events, "while_cut": events - held, "lost": lost, "twice": twice})
    assert lost == 0
    assert made - held > (made - cut_at) / 2 > PER_S / 2, "the way was not cut, or nothing came meanwhile"
    assert there.seqs(next(boot for boot in source.accepted if boot)) == set(range(1, events + 1))
