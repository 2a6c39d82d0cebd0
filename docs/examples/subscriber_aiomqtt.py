"""As subscriber_paho.py, for asyncio (a kill may lose what aiomqtt has queued): python subscriber_aiomqtt.py HOST [PORT]"""

import asyncio
import json
import sys

import aiomqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

SEEN: dict[str, set[int]] = {}  # by device and boot: the numbers that have come
GONE: dict[str, set[int]] = {}  # … and those of which a gap says that they may never come


def handle(device: str, event: dict) -> None:
    seen, gone = (known.setdefault(f"{device} {event['boot']}", set()) for known in (SEEN, GONE))
    if event["seq"] not in seen:  # else the same once more, after a broken connection
        print(device, event["id"], event["event_type"], event.get("label") or event["reason"], flush=True)
        seen.add(event["seq"])
    if event["event_type"] == "gap" and event["to_seq"] is not None:
        gone.update(range(event["from_seq"], event["to_seq"] + 1))
    if missing := set(range(min(seen), max(seen))) - seen - gone:
        print(device, "not here, or not yet:", sorted(missing), file=sys.stderr)


async def main(host: str, port: int = 1883) -> None:
    session = Properties(PacketTypes.CONNECT)
    session.SessionExpiryInterval = 0xFFFFFFFF  # the broker keeps for us what comes while we are away
    who = {"identifier": "my-async-subscriber", "protocol": aiomqtt.ProtocolVersion.V5, "clean_start": False, "properties": session}
    while True:
        try:
            async with aiomqtt.Client(host, port, **who) as client:
                await client.subscribe([("edged/+/event", 1), ("edged/+/backlog", 1)])
                async for message in client.messages:
                    handle(str(message.topic).split("/")[-2], json.loads(message.payload))
        except aiomqtt.MqttError:
            await asyncio.sleep(1)  # the broker is away; it is tried again


asyncio.run(main(sys.argv[1], *map(int, sys.argv[2:])))
