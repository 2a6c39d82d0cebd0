"""What runs first after a start: what the file and the override say, or, where that is broken or crashed before, the last good."""

import logging
from dataclasses import dataclass, replace
from pathlib import Path

from edged.config.machine import read_checked
from edged.config.parts import to_wanted
from edged.config.reading import Reading, find_state_folder
from edged.errors import ConfigError, ModelError
from edged.rollout.crashes import MANY
from edged.rollout.desired import Intent
from edged.rollout.last_good import LastGood
from edged.rollout.selector import Running, Steward
from edged.system.clock import Clock

log = logging.getLogger("edged")


@dataclass(frozen=True)
class Found:
    """The config as it lies there: sound, or with what is wrong with it."""

    path: Path | None
    reading: Reading | None
    error: ConfigError | None
    state_folder: Path


@dataclass(frozen=True)
class Start:
    """What the daemon begins with. trouble: why that is not what was asked for. behind: the model asked for is yet to be tried."""

    intent: Intent
    steward: Steward
    running: Running
    trouble: str = ""
    behind: bool = False
    safe: str = ""  # why there is to be no vision


def find_config(path: Path | None) -> Found:
    """Never raises: even of a broken file the state folder is looked for, where the last good one lies."""
    try:
        reading = read_checked(path)
        return Found(path, reading, None, reading.settings.state_folder)
    except ConfigError as error:
        return Found(path, None, error, find_state_folder(path))
    except ModelError as error:  # a damaged card in the store
        return Found(path, None, ConfigError([str(error)]), find_state_folder(path))


def begin(found: Found, clock: Clock, starts_before: int) -> Start:
    """Raises ConfigError for a broken file and ModelError for a model that can't be used, where no last good pair is."""
    last_good = LastGood(found.state_folder)
    ended = f"edged ended {starts_before} times in a row within a minute of its start"
    reading, trouble = found.reading, ""
    if reading is None:
        assert found.error is not None
        reading, trouble = last_good.reading(), f"the last good config runs: {found.error}"
        if reading is None:
            raise found.error
    elif starts_before >= MANY and (kept := last_good.reading()) is not None and kept.source.data != reading.source.data:
        reading, trouble = kept, f"the last good config runs: {ended}"
    reading = replace(reading, settings=reading.settings.model_copy(update={"state_folder": found.state_folder}))
    intent = Intent(found.path, reading, clock)
    if trouble:
        intent.fault = str(found.error or "")
        log.error("%s", trouble)
    safe = ended if starts_before >= 2 * MANY else ""
    steward = Steward(to_wanted(intent.settings()))
    kept_model = last_good.running()
    try:
        running = steward.begin(intent.door, kept_model)
        if running is not None:
            return Start(intent, steward, running, trouble, safe=safe)
    except ModelError as error:
        if kept_model is None:
            raise
        trouble = trouble or f"{error}; {kept_model.installed.card.name} runs, which was the last good one"
        log.error("%s", trouble)
    assert kept_model is not None  # else that one runs
    if starts_before >= MANY:
        trouble = trouble or f"the last good model runs: {ended}"
        log.error("%s", trouble)
    running = replace(kept_model, chosen=f"last good: {trouble or 'until the other one is proven'}")
    return Start(intent, steward, running, trouble, behind=starts_before < MANY, safe=safe)
