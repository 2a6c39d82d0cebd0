"""How many starts in a row came to nothing: a small count on the disk, taken back by a good minute or a clean end."""

import contextlib
import json
from pathlib import Path

from edged.errors import WriteError
from edged.system.files import write_file

MANY = 3  # starts that came to nothing: the last good pair runs; twice as many: no vision at all
_MOST = 1000


class Starts:
    """Thread: any. A state folder that can't be written counts nothing: better a daemon that tries for ever."""

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
            count = json.loads(self._path.read_bytes())["unfinished"]
        except (OSError, ValueError, KeyError, TypeError):
            return 0
        return count if isinstance(count, int) and 0 <= count <= _MOST else 0

    def _save(self, count: int) -> None:
        with contextlib.suppress(WriteError):
            write_file(self._path, json.dumps({"unfinished": count}).encode() + b"\n")
