"""What shall run: the config file, the override beside it, and the hour of the day."""

import asyncio
import contextlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edged.config.machine import read_parts
from edged.config.profile import FILE, MARK, to_hour, with_wish
from edged.config.reading import SYSTEM_FILE, Reading, Settings
from edged.config.source import LONGEST
from edged.config.tuning import with_tuned
from edged.errors import ConfigError, EdgedError, ReadError, WriteError
from edged.models.names import is_path
from edged.rollout.override import (
    Override,
    TunedKeys,
    clear_override,
    load_override,
    load_tuned,
    save_override,
    save_tuned,
    to_override,
    to_section,
    to_tuned,
)
from edged.system.clock import Clock, has_battery
from edged.system.files import read_file


class Intent:
    """Thread: the event loop's. `file` is what the file said when it was last good."""

    def __init__(
        self, path: Path | None, reading: Reading, clock: Clock, *, local: Callable[[], time.struct_time] = time.localtime
    ) -> None:
        """path: as given on the command line. local: the time of day."""
        self._given, self._clock, self._local = path, clock, local
        self._state_folder = reading.settings.state_folder
        self._was_set = False
        self.override: Override | None = None
        self.tuned = TunedKeys()
        self.fault = ""  # why the file, as it is now, is not followed
        self._readings = self._newest = 0  # readings of the file that were begun; the last begun of those that are done
        self.follow(reading)

    @property
    def path(self) -> Path | None:
        """The file that is followed; None when the defaults run, and no file is expected."""
        return self._given or (SYSTEM_FILE if SYSTEM_FILE.parent.is_dir() else None)

    @property
    def wish(self) -> str:
        """What is wished for beside the file, and can still be had."""
        return self._holding(self.file)

    @property
    def wished(self) -> str:
        """In the words of `model/set`: the wish beside the file, else the profile of this hour, else what the file says.

        A path in the file is no word of it: `@file` stands for it.
        """
        if (wish := self.wish) and wish != FILE:
            return wish
        if profile := to_hour(self.file, self.minute()):
            return f"{MARK}{profile}"
        return FILE if is_path(self.file.model.name) else self.file.model.name

    @property
    def door(self) -> str:
        """Where the choice of the model came from, for people."""
        return self.override.door if self.override else "config"

    def settings(self, file: Settings | None = None, wish: str | None = None) -> Settings:
        """What shall run now, or would with another file or wish. Raises ConfigError for a profile that is not there."""
        file = self.file if file is None else file
        wish = self._holding(file) if wish is None else wish
        wished = with_wish(file, "" if wish == FILE else wish, self.minute())
        try:
            return with_tuned(wished, self.tuned.holding(file))
        except ConfigError:  # together with what the file says now they make no sense, and the file wins
            return wished

    def _holding(self, file: Settings) -> str:
        """The wish, if it is for this `[model]`, and not for a profile that is no more."""
        if self.override is None or self.override.model_section != to_section(file.model):
            return ""
        wish = self.override.wish
        return "" if wish.startswith(MARK) and wish.removeprefix(MARK) not in file.profile else wish

    def minute(self) -> int | None:
        """Of the local day; None when no clock is known to be right: a profile of the wrong hour is worse than none."""
        self._was_set = self._was_set or self._clock.synced() or has_battery()
        if not self._was_set:
            return None
        now = self._local()
        return now.tm_hour * 60 + now.tm_min

    @property
    def waits_for_clock(self) -> bool:
        """Profiles have hours, and nobody knows the hour."""
        return any(profile.from_ for profile in self.file.profile.values()) and self.minute() is None

    async def load(self) -> tuple[Reading, ConfigError | None]:
        """The file as it is now, validated whole with all that it names, and the faults of the models that it names alone.

        Raises ConfigError for every other fault; what ran is not touched. A file that vanished or became empty is an accident
        of whoever edits it, not the wish for the defaults. A reading that a later one has overtaken is done again: what it found
        may be older than what is followed by then.
        """
        while True:
            self._readings = number = self._readings + 1
            found: tuple[Reading, ConfigError | None] | EdgedError
            try:
                found = await self._read()
            except EdgedError as error:
                found = error
            if number < self._newest:
                continue
            self._newest = number
            if isinstance(found, EdgedError):
                raise found
            return found

    async def _read(self) -> tuple[Reading, ConfigError | None]:
        path = self.path
        if path is not None and not await asyncio.to_thread(_has_content, path):
            raise ConfigError([f"{path}: it vanished or became empty, so what ran before still runs: write it again"])
        return await asyncio.to_thread(read_parts, self._given)

    def follow(self, reading: Reading) -> None:
        """The file's settings are in force. An override of another `[model]` is forgotten for good."""
        self.source, self.file, self.fault = reading.source, self.here(reading.settings), ""
        self.override = load_override(self.file)
        if self.override is None:
            with contextlib.suppress(WriteError):
                clear_override(self._state_folder)
        self.tuned = load_tuned(self.file)
        with contextlib.suppress(WriteError):
            save_tuned(self._state_folder, self.tuned)

    def here(self, settings: Settings) -> Settings:
        """The settings in the state folder that this daemon has: it can't move while it runs."""
        return settings.model_copy(update={"state_folder": self._state_folder})

    def keep(self, wish: str, door: str) -> str:
        """Remember a wish that is in force; a sentence when it can't be written, and is then lost with the next start."""
        self.override = None if wish == FILE else to_override(self.file, wish, door)
        try:
            if self.override is None:
                clear_override(self._state_folder)
                self.tuned = TunedKeys()
                save_tuned(self._state_folder, self.tuned)
            else:
                save_override(self._state_folder, self.override)
        except WriteError as error:
            return f"{error}; after the next start the file decides again"
        return ""

    def tried(self, values: dict[str, Any]) -> Settings:
        """What would run with these keys beside the file too, as `tune` takes them; nothing is kept. Raises ConfigError."""
        wish = self.wish
        return with_tuned(with_wish(self.file, "" if wish == FILE else wish, self.minute()), self._merged(values))

    def _merged(self, values: dict[str, Any]) -> dict[str, Any]:
        return {key: value for key, value in (self.tuned.holding(self.file) | values).items() if value is not None}

    def tune(self, values: dict[str, Any], door: str) -> str:
        """Single keys beside the file, None for those that are to be as the file says. A sentence when they can't be kept.

        Raises ConfigError with every fault, and then nothing was changed.
        """
        self.tried(values)
        self.tuned = to_tuned(self.file, self._merged(values), door)
        try:
            save_tuned(self._state_folder, self.tuned)
        except WriteError as error:
            return f"{error}; after the next start the file decides again"
        return ""


def _has_content(path: Path) -> bool:
    """What is there and no file, or can't be read, is the reader's to judge."""
    try:
        return bool(read_file(path, LONGEST).strip())
    except ReadError as error:
        return not error.is_absent


def models_of(settings: Settings) -> list[object]:
    """Every model that the file names."""
    return [settings.model, *(profile.model for profile in settings.profile.values())]


def with_model_of(wanted: Settings, old: Settings) -> Settings:
    """The settings with the model and budget that run."""
    return wanted.model_copy(update={"model": old.model, "budget": old.budget})
