"""What runs first after a start: what the file and the override say, or, where that is broken or crashed before, the last good."""

import contextlib
import json
import logging
from dataclasses import dataclass, replace
from pathlib import Path

from edged.config.machine import read_checked
from edged.config.parts import to_wanted
from edged.config.reading import SYSTEM_FILE, Reading, find_state_folder
from edged.config.source import load_stamp
from edged.errors import ConfigError, ModelError, ReadError, WriteError
from edged.faults import StandingFault, to_standing
from edged.rollout.active import Active
from edged.rollout.desired import Intent
from edged.rollout.last_good import LastGood
from edged.rollout.recovery import Behind, GoneBack, Probation, Safe, State
from edged.rollout.selector import Selector
from edged.system.clock import Clock
from edged.system.documents import read_json
from edged.system.files import PRIVATE, Stamp, write_file

log = logging.getLogger("edged")

MANY = 3  # starts that came to nothing: the last good pair runs; twice as many: no vision at all
_MOST = 1000


@dataclass(frozen=True)
class Found:
    """The config as it lies there: sound, or with what is wrong with it."""

    path: Path | None
    reading: Reading | None
    error: ConfigError | None
    state_folder: Path
    read_at: Stamp = ()


@dataclass(frozen=True)
class Start:
    """What the daemon begins with. fault: why that is not what was asked for. is_untried: what was asked for is yet to be tried."""

    intent: Intent
    selector: Selector
    active: Active
    fault: StandingFault | None = None
    is_untried: bool = False
    damaged: tuple[str, ...] = ()  # what was found in the state folder and is done without
    read_at: Stamp = ()  # of the config file before it was read

    @property
    def is_blind(self) -> bool:
        """Too many starts came to nothing: no vision process."""
        return self.fault is not None and self.fault.kind == "safe_mode"

    def to_state(self, now_s: float) -> State:
        """Where the way back begins. Pure."""
        if self.fault is not None and self.is_blind:
            return Safe(now_s, self.fault)
        if self.is_untried:
            return Behind(now_s, self.fault, is_untried=True)
        return GoneBack(now_s, self.fault) if self.fault is not None else Probation(now_s)


def find_config(path: Path | None) -> Found:
    """Never raises: even of a broken file the state folder is looked for, where the last good one lies."""
    read_at = load_stamp(path or SYSTEM_FILE)
    try:
        reading = read_checked(path)
        return Found(path, reading, None, reading.settings.state_folder, read_at)
    except ConfigError as error:
        return Found(path, None, error, find_state_folder(path), read_at)
    except ModelError as error:  # a damaged card in the store
        return Found(path, None, ConfigError([str(error)]), find_state_folder(path), read_at)


def begin(found: Found, clock: Clock, starts_before: int) -> Start:
    """Raises ConfigError for a broken file and ModelError for a model that can't be used, where no last good pair is."""
    last_good = LastGood(found.state_folder)
    ended = f"edged ended {starts_before} times in a row within a minute of its start"
    reading, fault = found.reading, None
    if reading is None:
        assert found.error is not None
        reading, fault = last_good.reading(), to_standing("last_good_config", reason=str(found.error))
        if reading is None:
            raise found.error
    elif starts_before >= MANY and (kept := last_good.reading()) is not None and kept.source.data != reading.source.data:
        reading, fault = kept, to_standing("last_good_config", reason=ended)
    reading = replace(reading, settings=reading.settings.model_copy(update={"state_folder": found.state_folder}))
    intent = Intent(found.path, reading, clock)
    if fault is not None:
        intent.fault = str(found.error or "")
    selector = Selector(to_wanted(intent.settings()))
    start = _choose(intent, selector, last_good.running(), fault, ended if starts_before >= MANY else "")
    if starts_before >= 2 * MANY:
        start = replace(start, fault=to_standing("safe_mode", reason=ended))
    if start.fault is not None:
        log.error("%s", start.fault.sentence)
    return start


def _choose(intent: Intent, selector: Selector, kept: Active | None, fault: StandingFault | None, ended: str) -> Start:
    """The model that was asked for where it is known to run, else the kept one. ended: why that one stays."""
    try:
        active = selector.begin(intent.door, kept)
        if active is not None:
            return Start(intent, selector, active, fault)
    except ModelError as error:
        if kept is None:
            return _without_wish(intent, error, fault)
        fault = fault or to_standing("last_good_model", reason=str(error))
    assert kept is not None  # else that one runs
    if ended:
        fault = fault or to_standing("last_good_model", reason=ended)
    why = fault.sentence if fault is not None else "until the other one is proven"
    return Start(intent, selector, replace(kept, why=f"last good: {why}"), fault, is_untried=not ended)


def _without_wish(intent: Intent, error: ModelError, fault: StandingFault | None) -> Start:
    """What the file says, where what is wished for beside it can't be used, and nothing is known that ran well before."""
    if not intent.wish:
        raise error
    told = f"{error}; it was wished for beside the file ({intent.door}), and what the file says runs"
    log.error("%s", told)
    intent.override = None
    selector = Selector(to_wanted(intent.settings()))
    active = selector.begin(intent.door, None)
    assert active is not None  # it only gives way to one that was kept
    return Start(intent, selector, active, fault, damaged=(told,))


class Starts:
    """How many starts in a row came to nothing: a small count on the disk, taken back by a good minute or a clean end.

    Thread: any. A state folder that can't be written counts nothing: better a daemon that tries for ever.
    """

    def __init__(self, state_folder: Path) -> None:
        self._path = state_folder / "starts.json"

    def begin(self) -> int:
        """One more; how many before this one came to nothing."""
        before = self._load()
        self._save(min(before + 1, _MOST))
        return before

    def end(self) -> None:
        """It ran well for a minute, or was asked to end."""
        if self._load():
            self._save(0)

    def _load(self) -> int:
        try:
            count = read_json(self._path)["unfinished"]
        except (ReadError, KeyError, TypeError):
            return 0
        return count if isinstance(count, int) and 0 <= count <= _MOST else 0

    def _save(self, count: int) -> None:
        with contextlib.suppress(WriteError):
            write_file(self._path, json.dumps({"unfinished": count}).encode() + b"\n", PRIVATE)
