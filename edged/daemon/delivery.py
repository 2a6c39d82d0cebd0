"""All of delivery, made of the settings."""

from pathlib import Path

from edged.config.parts import to_access
from edged.config.settings import MqttSection, OutboxSection
from edged.delivery.broker.reconnect import Broker
from edged.delivery.dispatch import Dispatch
from edged.delivery.outbox.drops import OutboxLimits
from edged.delivery.outbox.repair import open_outbox
from edged.system.clock import Clock


def open_dispatch(*, device: str, state_folder: Path, mqtt: MqttSection, outbox: OutboxSection, clock: Clock) -> Dispatch:
    """All of delivery, not yet started. Never raises: an outbox that can't be opened is told in `degraded`."""
    limits = OutboxLimits(
        ttl_s=outbox.ttl_s, max_rows=outbox.max_rows, max_bytes=int(outbox.max_mb * 1e6), keep_rows=outbox.keep_rows
    )
    opened = open_outbox(
        state_folder, clock, durability=outbox.durability, limits=limits, min_free_bytes=int(outbox.min_free_mb * 1e6)
    )
    broker = Broker(to_access(mqtt, device), f"{mqtt.prefix}/{device}/status")
    return Dispatch(
        device=device,
        prefix=mqtt.prefix,
        boot=clock.boot,
        outbox=opened,
        broker=broker,
        clock=clock,
        backlog_per_s=outbox.backlog_per_s,
    )
