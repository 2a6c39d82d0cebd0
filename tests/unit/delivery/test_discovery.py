"""When the discovery message is sent, what is taken back and in which order; a real Dispatch and a real Mosquitto."""

import asyncio
import json
from dataclasses import replace
from pathlib import Path

import pytest

from edged.config.settings import MqttSection, OutboxSection
from edged.daemon.delivery import open_dispatch
from edged.delivery.discovery import Discovery
from edged.delivery.homeassistant import to_topic
from edged.system.clock import Clock
from tests.contract.delivery.test_homeassistant import HOME
from tests.e2e.running import Broker, Heard, wait_for

QUIET_S = 0.2
TOPIC = to_topic("homeassistant", HOME.device_id)


@pytest.fixture
def broker(tmp_path):
    broker = Broker(tmp_path)
    yield broker
    broker.end()


@pytest.fixture
def heard(broker):
    heard = Heard(broker.port)
    yield heard
    heard.close()


def configs(heard, topic=TOPIC):
    """What was sent on a discovery topic; None: it was taken back."""
    return [json.loads(payload) if payload else None for name, payload, _ in list(heard.messages) if name == topic]


async def until(condition, what):
    await asyncio.to_thread(wait_for, condition, 20, what)


def run(folder: Path, port: int, story) -> None:
    """`story(discovery)` in a loop, with all of delivery; then its end, as at a stop of the daemon."""

    async def main() -> None:
        dispatch = open_dispatch(
            device="door",
            state_folder=folder,
            mqtt=MqttSection(host="127.0.0.1", port=port),
            outbox=OutboxSection(),
            clock=Clock(),
        )
        dispatch.start()
        discovery = Discovery(dispatch, folder, quiet_s=QUIET_S)
        await story(discovery)
        discovery.close()
        await dispatch.close(1.0)

    asyncio.run(main())


def test_many_changes_at_once_are_one_message(tmp_path, broker, heard):
    async def story(discovery):
        for number in range(50):
            discovery.announce("homeassistant", replace(HOME, name=f"name {number}"))
        discovery.announce("homeassistant", HOME)
        await until(lambda: configs(heard), "a message")
        discovery.announce("homeassistant", HOME)  # nothing is new
        discovery.announce("homeassistant", replace(HOME, labels=("person", "bird")))
        await until(lambda: len(configs(heard)) == 2, "another one")

    run(tmp_path, broker.port, story)
    first, second = configs(heard)
    assert first["dev"]["name"] == HOME.name
    assert second["cmps"]["label"]["ops"] == ["none", "unclear", "person", "bird"]


def test_what_was_announced_before_a_restart_is_taken_back_by_name(tmp_path, broker, heard):
    async def before(discovery):
        discovery.announce("homeassistant", HOME)
        await until(lambda: configs(heard), "a message")

    async def after(discovery):
        discovery.announce("homeassistant", replace(HOME, own=(), groups=()))
        await until(lambda: len(configs(heard)) == 2, "another one")

    run(tmp_path, broker.port, before)
    run(tmp_path, broker.port, after)
    gone = {key for key, component in configs(heard)[1]["cmps"].items() if component == {"p": "binary_sensor"}}
    assert gone == {"label_person", "group_pet"}


def test_another_prefix_first_takes_the_old_topic_back(tmp_path, broker, heard):
    async def story(discovery):
        discovery.announce("homeassistant", HOME)
        await until(lambda: configs(heard), "a message")
        discovery.announce("haus", HOME)
        await until(lambda: configs(heard, to_topic("haus", HOME.device_id)), "a message there")

    run(tmp_path, broker.port, story)
    assert configs(heard)[-1] is None
    order = [name for name, _, _ in heard.messages if name.endswith("/config")]
    assert order == [TOPIC, TOPIC, to_topic("haus", HOME.device_id)]
    late = Heard(broker.port)
    wait_for(lambda: configs(late, to_topic("haus", HOME.device_id)), 5, "it is kept")
    assert configs(late) == []
    late.close()


def test_switched_off_everything_is_taken_back_once_and_also_after_a_restart(tmp_path, broker, heard):
    async def on(discovery):
        discovery.announce("homeassistant", HOME)
        await until(lambda: configs(heard), "a message")

    async def off(discovery):
        discovery.announce("homeassistant", None)
        await until(lambda: configs(heard)[-1] is None, "it is taken back")
        broker.end()
        broker.start()  # after a new connection it is not said again: Home Assistant would warn of it
        await until(lambda: len(heard.of("status")) >= 3, "connected again")

    run(tmp_path, broker.port, on)
    run(tmp_path, broker.port, off)
    assert configs(heard)[1:] == [None]
    assert json.loads((tmp_path / "homeassistant.json").read_text()) == {}


@pytest.mark.parametrize("content", [b"", b"[]", b'{"a": 1}', b"\xff", b"[" * 100_000])
def test_a_damaged_memory_is_none(tmp_path, broker, heard, content):
    (tmp_path / "homeassistant.json").write_bytes(content)

    async def story(discovery):
        discovery.announce("homeassistant", HOME)
        await until(lambda: configs(heard), "a message")

    run(tmp_path, broker.port, story)
    assert configs(heard)[0]["dev"]["name"] == HOME.name


@pytest.mark.parametrize(
    "topic",
    ["homeassistant/devi#e/edged_0/config", "a/+/b", "", "/", "a\0b", "x" * 70_000, "$SYS/broker/x", "zigbee2mqtt/bridge/state"],
)
def test_only_what_can_be_ours_is_taken_back(tmp_path, broker, heard, topic):
    """One bit makes # of c, with which no connection lasts; and what others have retained is theirs."""
    heard.publish("zigbee2mqtt/bridge/state", b"online", retain=True)
    (tmp_path / "homeassistant.json").write_text(json.dumps({topic: {"label": "sensor"}}))

    async def story(discovery):
        discovery.announce("homeassistant", HOME)
        await until(lambda: configs(heard), "a message")

    run(tmp_path, broker.port, story)
    assert [payload for name, payload, _ in heard.messages if name.startswith("zigbee2mqtt")] == [b"online"]
