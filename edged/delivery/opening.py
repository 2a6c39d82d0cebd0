"""Opening the outbox, which never fails."""

import logging
import sqlite3
from pathlib import Path

from edged.clock import Clock
from edged.delivery.ledger import Ledger, Limits
from edged.delivery.outbox import Durability, Outbox
from edged.delivery.shelves import Shelves
from edged.delivery.store import Store

log = logging.getLogger("edged")

FILE = "outbox.db"


def open_outbox(
    folder: Path, clock: Clock, *, durability: Durability = "balanced", limits: Limits | None = None, min_free_bytes: int = 0
) -> Outbox:
    limits = limits or Limits()
    disk: Store | None = None
    reason = ""
    told: list[str] = []
    if durability != "memory":
        try:
            folder.mkdir(parents=True, exist_ok=True)
            disk = Store(folder / FILE)
        except (sqlite3.Error, OSError) as error:
            reason = f"the outbox is in memory, because {folder / FILE} can not be opened: {error}"
    shelves = Shelves(
        disk, reason, None if durability == "memory" else lambda: Store(folder / FILE), folder, min_free_bytes=min_free_bytes
    )
    ledger = Ledger(shelves, clock, limits)
    if disk:
        ledger.load(disk)
    ledger.begin()
    return Outbox(ledger, shelves, durability, told)
