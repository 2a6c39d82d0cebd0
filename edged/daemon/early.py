"""What is done before the daemon's own modules are imported: its folder is claimed, and the vision process imports its libraries.

On a small board the imports of both take seconds, and there are cores enough to do them side by side.
"""

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from edged.config.instance import STATE_FOLDER, SYSTEM_FILE, instance_of, to_state_folder
from edged.config.source import load_source
from edged.errors import ConfigError
from edged.process.child import BegunVision, begin_vision
from edged.process.phases import START
from edged.system.lock import claimed

_SYSTEM_FILE, _DEFAULT = SYSTEM_FILE, Path(STATE_FOLDER)


@dataclass(slots=True)
class EarlyStart:
    """folder: the state folder that is held already. vision: the process that nobody listens to yet."""

    folder: Path
    vision: BegunVision | None
    release: Callable[[], None]


@contextlib.contextmanager
def begun(path: Path | None) -> Iterator[EarlyStart | None]:
    """Hold the state folder that the config at `path` names, and fork; None where it names none in plain words.

    Only a guess: whoever reads the whole config lets it go when it says something else. At its end no process is left.
    Thread: the main one. Raises RunningError, and then nothing was forked.
    """
    folder = to_folder(path)
    if folder is None:
        yield None
        return
    with contextlib.ExitStack() as held:
        held.enter_context(claimed(folder))
        vision = None
        with contextlib.suppress(OSError):  # it is tried again
            vision = begin_vision()
            held.callback(vision.end)
        START.ended("vision forked")
        yield EarlyStart(folder, vision, held.close)


def to_folder(path: Path | None) -> Path | None:
    """The state folder of a config as it stands there, or the default one where it is there for us. Never raises."""
    file = path or _SYSTEM_FILE
    try:
        values = load_source(file).values if path or os.path.lexists(file) else {}
    except ConfigError:
        return None
    if "state_folder" not in values:
        own = to_state_folder(file) if instance_of(file) else _DEFAULT
        return own if own.is_dir() and os.access(own, os.W_OK | os.X_OK) else None
    named = values["state_folder"]
    if not isinstance(named, str) or not named or named.startswith("~") or not named.isprintable():
        return None
    return file.absolute().parent / named
