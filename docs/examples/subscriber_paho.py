"""Every event of every edged, none missed and none twice: python subscriber_paho.py HOST [PORT]"""

import json
import sys

import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

SEEN: dict[str, set[int]] = {}  # by device and boot: the numbers that have come
GONE: dict[str, set[int]] = {}  # … and those of which a gap says that they may never come


def handle(device: str, event: dict) -> None:
    """Store it here: when this has returned the broker is told that it need not keep the event any longer."""
    print(device, event["id"], event["event_type"], event.get("label") or event["reason"], flush=True)


def on_message(_client, _userdata, message) -> None:
    device, event = message.topic.split("/")[-2], json.loads(message.payload)
    name, seq = f"{device} {event['boot']}", event["seq"]
    seen, gone = SEEN.setdefault(name, set()), GONE.setdefault(name, set())
    if seq in seen:
        return  # the same once more, after a broken connection
    handle(device, event)
    seen.add(seq)
    if event["event_type"] == "gap" and event["to_seq"] is not None:
        gone.update(range(event["from_seq"], event["to_seq"] + 1))
    if missing := set(range(min(seen), max(seen))) - seen - gone:
        print(device, "not here, or not yet:", sorted(missing), file=sys.stderr)


session = Properties(PacketTypes.CONNECT)
session.SessionExpiryInterval = 0xFFFFFFFF  # the broker keeps for us what comes while we are away
client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id="my-subscriber", protocol=mqtt.MQTTv5)
client.on_connect = lambda c, *_: c.subscribe([("edged/+/event", 1), ("edged/+/backlog", 1)])
client.on_message = on_message
client.connect_async(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 1883, clean_start=False, properties=session)
client.loop_forever(retry_first_connection=True)
