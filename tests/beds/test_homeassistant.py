"""edged in a real Home Assistant, by itself: `make bed-homeassistant`. One house for all tests, which leave it as they found it."""

import json
import os
import signal
from pathlib import Path

import pytest
import tomlkit

from tests.beds.homeassistant.home import HomeAssistant
from tests.contract.delivery.test_homeassistant import BED, PYTHON
from tests.e2e.running import Broker, Edged, Heard, wait_for

pytestmark = [
    pytest.mark.skipif(not os.environ.get("EDGED_BED_HOMEASSISTANT"), reason="minutes: `make bed-homeassistant` runs it"),
    pytest.mark.skipif(not (BED / "built").is_file(), reason=f"no Home Assistant in {BED}; `make bed-homeassistant` builds it"),
    pytest.mark.xdist_group("homeassistant"),
]

LEAST = 14
PRESENCE = ("sensor.door_label", "binary_sensor.door_pet", "binary_sensor.door_person")
DIAGNOSTICS = (
    "sensor.door_camera",
    "sensor.door_speed",
    "sensor.door_latency_p95",
    "sensor.door_temperature",
    "sensor.door_memory",
    "sensor.door_waiting_events",
    "sensor.door_oldest_waiting_event",
    "sensor.door_dropped_events",
    "sensor.door_vision_restarts",
    "sensor.door_faults",
    "binary_sensor.door_throttled",
)
CONTROLS = ("select.door_model", "switch.door_looking", "button.door_take_a_snapshot", "image.door_snapshot")
ALL = {*PRESENCE, *DIAGNOSTICS, *CONTROLS, "event.door_entered_or_left"}


class House:
    """Broker, Home Assistant and edged; each can be ended and started again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.broker = Broker(folder)
        self.heard = Heard(self.broker.port)
        self.home = HomeAssistant(PYTHON, folder / "home")
        self.home.add_mqtt(self.broker.port)
        album = folder / "album"
        album.mkdir()
        pictures = Path(str(__import__("importlib.resources").resources.files("skimage.data")))
        for number, name in enumerate(("astronaut", "cat", "coffee")):
            for again in range(6):
                (album / f"{number}{again}_{name}.png").symlink_to(pictures / f"{name}.png")
        self.config = {
            "device": "door",
            "state_folder": str(folder / "state"),
            "camera": {"kind": "pictures", "source": str(album), "fps": 2.0, "show_s": 0.0},
            "decision": {"hold_s": 0.1, "enter": 0.4, "leave": 0.3, "margin": 0.05, "groups": {"pet": ["cat", "dog"]}},
            "mqtt": {"host": "127.0.0.1", "port": self.broker.port},
            "snapshot": {"on_control": True},
            "homeassistant": {"enabled": True, "labels": ["person"]},
            "profile": {"night": {"camera": {"fps": 1.0}}},
        }
        self.start()

    def start(self) -> None:
        self.edged = Edged(self.folder, self.config)

    def edit(self, **changed) -> None:
        """As an editor does it; edged follows the file."""
        self.config |= changed
        new = self.folder / "new.toml"
        new.write_text(tomlkit.dumps(self.config))
        new.replace(self.edged.config)

    def told(self, topic):
        return (self.heard.of(topic) or [None])[-1]

    def differences(self) -> list[str]:
        """What Home Assistant shows and edged last told, where they differ; empty: all is right."""
        states = {name: one["state"] for name, one in self.home.states().items()}
        state, health, camera, model = (self.told(topic) for topic in ("state", "health", "camera", "model"))
        if not (state and health and camera and model) or not states.keys() >= ALL:
            return [f"missing: {sorted(ALL - states.keys())}"]
        seeing = camera["state"] == "ok"

        def seen(value: str) -> str:
            return value if seeing else "unavailable"

        right = {
            "sensor.door_label": seen({"unknown": "unclear"}.get(state["label"], state["label"])),
            "binary_sensor.door_pet": seen("on" if state["groups"]["pet"] else "off"),
            "binary_sensor.door_person": seen("on" if state["label"] == "person" else "off"),
            "select.door_model": model["wish"],
            "switch.door_looking": "off" if state["paused"] else "on",
            "sensor.door_camera": camera["state"],
            "sensor.door_speed": str(health["fps"]),
            "sensor.door_latency_p95": number(health["latency_p95_ms"]),
            "sensor.door_temperature": number(health["temperature_c"]),
            "sensor.door_waiting_events": str(health["events"]["queued"]),
            "sensor.door_oldest_waiting_event": str(health["waiting_oldest_s"]),
            "sensor.door_dropped_events": str(sum(health["events"]["dropped"].values())),
            "sensor.door_vision_restarts": str(health["vision_restarts"]),
            "sensor.door_faults": str(len(health["degraded"])),
            "binary_sensor.door_throttled": "on" if health["throttled"] else "off",
        }
        wrong = [f"{name}: {states[name]}, not {value}" for name, value in right.items() if states[name] != value]
        memory_mb, shown_mb = health["memory_mb"] + health["vision_memory_mb"], states["sensor.door_memory"]
        is_right = shown_mb.replace(".", "").isdigit() and abs(float(shown_mb) - memory_mb) < 0.1
        return wrong if is_right else [*wrong, f"memory: {shown_mb}, not {memory_mb}"]

    def wait_right(self, why: str, deadline_s: float = 90) -> None:
        last: list[str] = []

        def right() -> bool:
            last[:] = self.differences()
            return not last

        try:
            wait_for(right, deadline_s, why)
        except AssertionError as error:
            raise AssertionError(f"{error}: {last}") from None

    def close(self) -> None:
        if self.edged.process.poll() is None:
            self.edged.process.kill()
            self.edged.process.wait()
        self.heard.close()
        self.home.kill()
        self.broker.end()


def number(value):
    return "unknown" if value is None else str(value)


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    house = House(tmp_path_factory.mktemp("house"))
    yield house
    house.close()


def test_everything_is_there_without_a_line_of_yaml(house):
    house.wait_right("every entity has the state that edged told", 120)
    states = house.home.states()
    assert states.keys() == ALL
    assert len(states) >= LEAST
    print(f"{len(states)} entities")
    label = states["sensor.door_label"]["attributes"]
    assert "unclear" in label["options"] and "unknown" not in label["options"]
    assert states["select.door_model"]["attributes"]["options"] == house.told("info")["wishes"]
    event = wait_for(lambda: entered(house), 60, "an event")
    assert event["attributes"]["label"] and event["attributes"]["event_type"] in ("entered", "left")


def entered(house):
    state = house.home.states()["event.door_entered_or_left"]
    return state if state["state"] not in ("unknown", "unavailable") else None


def test_pause_and_resume_by_its_switch(house):
    house.wait_right("all is right before")
    house.home.call("switch.turn_off", "switch.door_looking")
    wait_for(lambda: house.told("camera")["state"] == "paused", 20, "edged pauses")
    house.wait_right("what is not looked at is not claimed")
    states = house.home.states()
    assert states["switch.door_looking"]["state"] == "off"
    assert all(states[name]["state"] == "unavailable" for name in PRESENCE)
    assert states["sensor.door_speed"]["state"] != "unavailable"
    paused = house.told("state")["valid_until"]
    wait_for(lambda: house.told("state")["valid_until"] > paused, 30, "the state is renewed while paused")
    house.home.call("switch.turn_on", "switch.door_looking")
    wait_for(lambda: house.told("camera")["state"] == "ok", 30, "edged looks again")
    house.wait_right("all is right after")


def test_models_and_profiles_by_its_select(house):
    for wish in ("home_0.25_96", "@night", "auto"):
        house.home.call("select.select_option", "select.door_model", option=wish)
        wait_for(lambda: house.told("model")["wish"] == wish, 90, f"edged follows {wish}")  # noqa: B023  # waited for here
        house.wait_right(f"{wish} is shown")
    house.home.call("select.select_option", "select.door_model", option="@file")
    house.wait_right("what the file says")


def test_a_picture_by_its_button(house):
    before = house.home.states()["image.door_snapshot"]["state"]
    house.home.call("button.press", "button.door_take_a_snapshot")
    state = wait_for(lambda: taken(house, before), 30, "a picture")
    assert house.home.picture(state)[:2] == b"\xff\xd8"


def taken(house, before):
    state = house.home.states()["image.door_snapshot"]
    return state if state["state"] not in (before, "unknown", "unavailable") else None


def test_a_killed_edged_is_unavailable_and_comes_back(house):
    house.wait_right("all is right before")
    os.kill(house.edged.process.pid, signal.SIGKILL)
    house.edged.process.wait()
    wait_for(lambda: all(one["state"] == "unavailable" for one in house.home.states().values()), 30, "all are unavailable")
    assert house.home.states().keys() == ALL
    sent = len(messages(house))
    house.start()
    house.wait_right("all is right again")
    wait_for(lambda: len(messages(house)) > sent, 30, "the message is sent again")


def test_a_lost_camera_takes_what_is_seen_and_leaves_the_rest(house):
    house.wait_right("all is right before")
    (house.folder / "album").rename(house.folder / "away")
    house.edit(camera=house.config["camera"] | {"max_age_ms": 400, "fps": 2.1})
    pid = wait_for(house.edged.vision_pid, 20, "a vision process")
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: house.told("camera")["state"] == "lost" and house.told("health")["faults"], 60, "the camera is lost")
    house.wait_right("what is not seen is not claimed")
    states = house.home.states()
    assert states["sensor.door_camera"]["attributes"]["fault"] == house.told("camera")["fault"]
    assert int(states["sensor.door_faults"]["state"]) >= 1
    (house.folder / "away").rename(house.folder / "album")
    house.edit(camera=house.config["camera"] | {"fps": 2.0})
    wait_for(lambda: house.told("camera")["state"] == "ok", 60, "the camera is back")
    house.wait_right("all is right after")


def test_it_is_started_again_itself(house):
    house.wait_right("all is right before")
    discovered = len(messages(house))
    house.home.end()
    house.home.start()
    house.wait_right("retained topics are enough", 120)
    assert house.home.states().keys() == ALL
    assert len(messages(house)) == discovered


def messages(house):
    return [json.loads(p) for name, p, _ in list(house.heard.messages) if name.startswith("homeassistant/device/") and p]


def test_another_label_list_follows_a_model(house):
    """A model with other labels: the message is sent again, the options follow, the entities stay."""
    sent = len(messages(house))
    labels = [*house.told("info")["labels"][:-1], "lorry"]
    (house.folder / "labels.txt").write_text("\n".join(labels) + "\n")
    house.edit(model={"name": "home_0.25_96", "labels": str(house.folder / "labels.txt")})
    wait_for(lambda: "lorry" in house.told("info")["labels"], 60, "the model is used")
    wait_for(lambda: len(messages(house)) > sent, 30, "the message is sent again")
    wait_for(lambda: "lorry" in house.home.states()["sensor.door_label"]["attributes"].get("options", []), 30, "its options follow")
    assert house.home.states().keys() == ALL
    house.edit(model={"name": "auto"})
    wait_for(lambda: "lorry" not in house.told("info")["labels"], 60, "the first model is back")
    house.wait_right("all is right after")


def test_a_label_that_is_removed_takes_its_entity_with_it(house):
    house.wait_right("all is right before")
    house.edit(homeassistant={"enabled": True, "labels": []})
    wait_for(lambda: set(house.home.entities()) == ALL - {"binary_sensor.door_person"}, 60, "its entity is gone")
    house.edit(homeassistant={"enabled": True, "labels": ["person"]})
    wait_for(lambda: set(house.home.entities()) == ALL, 60, "the same entity is back")
    house.wait_right("all is right after")


def test_a_renamed_device_leaves_no_orphans(house):
    house.wait_right("all is right before")
    house.edit(device="gate", homeassistant={"enabled": True, "labels": ["person"], "name": "Gate"})
    wait_for(lambda: any(name.startswith("edged/gate/model") for name, _, _ in list(house.heard.messages)), 60, "it has moved")
    house.wait_right("the same entities, with states from the new topics", 120)
    assert set(house.home.entities()) == ALL
    house.edit(device="door", homeassistant={"enabled": True, "labels": ["person"]})
    house.wait_right("all is right after", 120)
    assert set(house.home.entities()) == ALL


def test_its_log_has_no_complaint_about_us(house):
    assert house.home.complaints() == []


# From here on its log complains by itself: of a broker that is away; and when a whole device is taken away it publishes an empty
# message on the topic too, and warns of what it then hears.


def test_the_broker_is_started_again(house):
    house.broker.end()
    wait_for(lambda: all(one["state"] == "unavailable" for one in house.home.states().values()), 60, "all are unavailable")
    house.broker.start()
    house.wait_right("all is right again", 120)


def test_switched_off_it_is_gone(house):
    house.edit(homeassistant={"enabled": False})
    wait_for(lambda: not house.home.entities(), 60, "every entity is gone")
    house.edit(homeassistant={"enabled": True, "labels": ["person"]})
    wait_for(lambda: set(house.home.entities()) == ALL, 60, "the same entities are back")
    house.wait_right("all is right after")
