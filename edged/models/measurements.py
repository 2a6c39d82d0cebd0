"""What was already found out on this board: verdicts and measurements, in the state folder's `measurements.json`."""

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edged.errors import ReadError
from edged.system.files import SHARED, SMALL_BYTES, acting_for, read_file, write_file

_MOST = 2000
_Amount, _Count = Field(ge=0, le=1e9), Field(ge=0, lt=2**53)  # what is no figure is damage, and is found out


class _Entry(BaseModel):
    model_config = ConfigDict(defer_build=True, extra="forbid", frozen=True, allow_inf_nan=False)


class Verdict(_Entry):
    """Whether a file may be used by this runtime on this board; `reason` says why not. facts: what the interpreter said."""

    admitted: bool
    reason: str = ""
    facts: dict[str, Any] = Field(default_factory=dict)

    def to_refusal(self, name: str) -> str:
        """What is said of an installed model that is refused because it once was: with what tries it anew. Pure."""
        return f"model {name} is refused: {self.reason}; 'edged models verify {name} --again' tries it anew"


class Measured(_Entry):
    """Warm, frame in memory → scores, over `runs` inferences; memory: peak of the process that did it."""

    p50_ms: float = _Amount
    p95_ms: float = _Amount
    memory_mb: float = _Amount
    threads: int = Field(ge=1, lt=2**53)
    runs: int = _Count


class Recast(_Entry):
    """What came of recasting a uint8 file to int8; `reason` says why the int8 file is not used, empty: it may be.

    sha256: of the int8 file. sure: of so many test pictures the original's best score is at least 0.3; same: of those, the
    first answer is the same; apart: the largest difference of any score; _ms: processor time of one inference on one core.
    no_schema: the runtime can't do it, whatever the file.
    """

    sha256: str = ""
    reason: str = ""
    pictures: int = Field(0, ge=0)
    sure: int = Field(0, ge=0)
    same: int = Field(0, ge=0)
    apart: float = Field(0.0, ge=0, le=1)
    original_ms: float = Field(0.0, ge=0, le=1e9)
    recast_ms: float = Field(0.0, ge=0, le=1e9)
    no_schema: bool = False


class _Pages(_Entry):
    schema_: int = Field(1, alias="schema")
    verdicts: dict[str, Verdict] = Field(default_factory=dict)
    measurements: dict[str, Measured] = Field(default_factory=dict)
    fits: dict[str, str] = Field(default_factory=dict)
    recasts: dict[str, Recast] = Field(default_factory=dict)


def load_pages(path: Path) -> _Pages:
    """Raises ReadError or ValidationError."""
    return _Pages.model_validate_json(read_file(path, SMALL_BYTES, follow=False))


class Measurements:
    """Read at each look and written at each entry: two processes may use it, and the last writer wins."""

    def __init__(self, state_folder: Path) -> None:
        self._path = state_folder / "measurements.json"

    def verdict(self, key: str) -> Verdict | None:
        return self._load().verdicts.get(key)

    def measured(self, key: str) -> Measured | None:
        return self._load().measurements.get(key)

    def measurements(self) -> dict[str, Measured]:
        return self._load().measurements

    def recast(self, key: str) -> Recast | None:
        return self._load().recasts.get(key)

    def has_fit(self, key: str) -> bool:
        """Whether a fit with this key was brought to its end."""
        return key in self._load().fits

    def enter(self, key: str, entry: Verdict | Measured | Recast | str) -> None:
        """A verdict, a measurement, what came of recasting, or what a fit chose. Raises WriteError."""
        pages = self._load()
        books: dict[type, dict[str, Any]] = {Verdict: pages.verdicts, Measured: pages.measurements, Recast: pages.recasts}
        books[str] = pages.fits
        book = books[type(entry)]
        book.pop(key, None)
        book[key] = entry
        while len(book) > _MOST:
            book.pop(next(iter(book)))
        with acting_for(self._path.parent):
            write_file(self._path, json.dumps(pages.model_dump(by_alias=True), indent=1).encode() + b"\n", SHARED)

    def _load(self) -> _Pages:
        """An absent or damaged ledger is an empty one: everything in it can be measured again."""
        try:
            return load_pages(self._path)
        except (ReadError, ValidationError):
            return _Pages.model_validate({})
