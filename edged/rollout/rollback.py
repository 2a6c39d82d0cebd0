"""What the way back leads to: the last good pair, what was kept of the model, or the smallest model. Reads, decides nothing."""

import asyncio
from dataclasses import dataclass, replace

from edged.config.diff import to_change
from edged.config.parts import to_wanted
from edged.config.reading import Settings
from edged.errors import ConfigError
from edged.models.store import Store
from edged.rollout.active import Active
from edged.rollout.desired import Intent
from edged.rollout.last_good import LastGood
from edged.rollout.selector import Selector


@dataclass(frozen=True, slots=True)
class WayBack:
    """What ran well together. is_new: not what runs already."""

    settings: Settings
    active: Active
    is_new: bool


def load_pair(last_good: LastGood, intent: Intent, settings: Settings, active: Active, why: str) -> WayBack | None:
    """None when nothing was kept, or not whole. settings, active: what runs. Reads and hashes the model's file."""
    reading, kept = last_good.reading(), last_good.running()
    if reading is None or kept is None:
        return None
    here = intent.here(reading.settings)
    try:
        good = intent.settings(here, last_good.wish)
    except ConfigError:  # a wish for a profile that it does not have
        good = intent.settings(here, "")
    is_new = kept.installed.sha256 != active.installed.sha256 or bool(to_change(settings, good).keys)
    return WayBack(good, replace(kept, why=f"last good: {why}"), is_new)


async def find_another(last_good: LastGood, settings: Settings, active: Active, why: str) -> Active:
    """For a model whose file is no more: what was kept of it or of another, else the smallest. Raises ModelError."""
    await asyncio.to_thread(Store(settings.state_folder).forget, active.installed.path)
    kept = last_good.running()
    if kept is not None and kept.installed.path != active.installed.path:
        return replace(kept, why=f"last good: {why}")
    selector = Selector(replace(to_wanted(settings), name="auto", labels="", family="home"))
    return replace(await selector.prepare("the smallest"), why=f"the smallest: {why}")
