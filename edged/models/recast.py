"""The int8 sibling of a uint8 model: when it is made, and what it takes to be used.

It is made and compared in a throw-away process (edged/vision/rewrite/proof.py), and lies in the state folder's `recast/`
under the original's hash, never beside a user's file. What came of it is remembered with the measurements.
"""

import contextlib
import hashlib
import logging
from dataclasses import dataclass, replace
from pathlib import Path

from edged.errors import ModelError, ModelFileError, WriteError
from edged.models.measurements import Measurements, Recast
from edged.models.store import Installed
from edged.process.sandbox import SandboxError, ThrowAway
from edged.system.files import LARGEST_BYTES, SHARED, acting_for, hash_model, take_away, write_file

log = logging.getLogger("edged")

LIMIT_S = 300.0  # 36 pictures and two networks, on the slowest board
SAME, APART, FEWEST = 0.9, 0.15, 5  # of the pictures where the original is sure, and how many of them it takes
_CHILD = "edged.vision.rewrite.proof"
_VERSION = 1  # of the recipe: what another one made is made anew
_MOST_FILES = 20


@dataclass(frozen=True, slots=True)
class Siblings:
    """Those of one state folder, for one runtime on one board. Thread: the main one (its children die with it)."""

    state_folder: Path
    ledger: Measurements
    key: str  # runtime and board
    nice: int = 0

    def known(self, original: Installed) -> Recast | None:
        """What came of it, if it was tried; also of a runtime that can't do it, whatever the model."""
        return self.ledger.recast(self._key(original)) or self.ledger.recast(self.key)

    def find(self, original: Installed) -> Installed | None:
        """The sibling that was proven, as long as its file is whole: same name and labels, and a card that says what it is of."""
        known = self.known(original)
        if known is None or known.reason or not is_candidate(original):
            return None
        path = sibling_path(self.state_folder, original.sha256)
        try:
            sha256, size = hash_model(path, follow=False)
        except ModelError:
            return None
        if sha256 != known.sha256:
            return None
        told = {"sha256": sha256, "bytes": size, "dtype": "int8", "recast_of": original.sha256, "expected": []}
        card = original.card.model_copy(update=told)
        return replace(original, card=card, path=path, sha256=sha256, size_mb=round(size / 1e6, 3))

    def is_open(self, original: Installed) -> bool:
        """Whether `make` would find out something: it was never tried, or its file is gone."""
        known = self.known(original)
        return is_candidate(original) and (known is None or (not known.reason and self.find(original) is None))

    def make(self, original: Installed) -> Installed | None:
        """Make it, have it proven, and keep it. Takes seconds to minutes; never raises: without it the original runs.

        What was found is remembered and said once. What says nothing of the network is not, and it is tried again: want of time or
        of room on the disk, a file that changed meanwhile.
        """
        path = sibling_path(self.state_folder, original.sha256)
        try:
            found, made = self._try(original)
            with acting_for(self.state_folder):
                if not found.reason:
                    write_file(path, made, SHARED)
                self.ledger.enter(self.key if found.no_schema else self._key(original), found)
                self._tidy(path)
        except SandboxError as lost:
            log.warning("model %s was not recast to int8: the process that does it %s", original.card.name, lost)
            return None
        except (ModelFileError, WriteError) as error:
            log.warning("model %s was not recast to int8: %s", original.card.name, error)
            return None
        log.info("model %s is %s", original.card.name, to_sentence(found))
        return self.find(original)

    def _try(self, original: Installed) -> tuple[Recast, bytes]:
        """Raises SandboxError, but for a crash of its own doing, which is remembered, and ModelFileError."""
        environment = {"MALLOC_ARENA_MAX": "2", "OPENCV_LOG_LEVEL": "SILENT"}
        child = ThrowAway(_CHILD, environment, original.path)
        try:
            wanted = {"path": str(original.path.absolute()), "sha256": original.sha256, "labels": len(original.labels)}
            kind, answer = child.ask("recast", wanted | {"output": original.card.output, "nice": self.nice}, LIMIT_S)
            if kind == "no_schema":
                return Recast(reason="the installed runtime brings no schema of .tflite files", no_schema=True), b""
            if kind == "unreadable":
                raise ModelFileError(str(answer["reason"]))
            if kind != "recast":
                return Recast(reason=str(answer.get("reason", "the process that does it answered something else"))), b""
            made = child.fetch("part", LIMIT_S, LARGEST_BYTES)
        except SandboxError as lost:
            if lost.says_nothing:
                raise
            return Recast(reason=f"the process that does it {lost}"), b""
        finally:
            child.close()
        found = Recast(sha256=hashlib.sha256(made).hexdigest(), **answer)
        return found.model_copy(update={"reason": to_fault(found)}), made

    def _key(self, original: Installed) -> str:
        return f"{original.sha256} | {self.key} | {len(original.labels)} labels {original.card.output} | recast {_VERSION}"

    def _tidy(self, newest: Path) -> None:
        """The oldest go: what is still used is made again."""
        with contextlib.suppress(OSError):
            files = sorted(newest.parent.iterdir(), key=lambda path: path.stat().st_mtime, reverse=True)
            for path in files[_MOST_FILES:]:
                path.unlink()


def sibling_path(state_folder: Path, sha256: str) -> Path:
    """Where the sibling of a file with this hash lies, if there is one."""
    return state_folder / "recast" / f"{sha256}.tflite"


def forget_sibling(state_folder: Path, sha256: str) -> None:
    """Its original is removed."""
    with contextlib.suppress(OSError):
        take_away(sibling_path(state_folder, sha256))


def is_candidate(original: Installed) -> bool:
    """Only uint8 networks are recast, and no sibling is again. Pure."""
    return original.card.dtype == "uint8"


def to_fault(found: Recast) -> str:
    """Why a sibling may not be used, or nothing. Pure."""
    if found.sure < FEWEST:
        return f"the original is sure of only {found.sure} of the {found.pictures} test pictures: too few to compare"
    if found.same < SAME * found.sure:
        return f"it gives the original's first answer on only {found.same} of {found.sure} test pictures"
    if found.apart > APART:
        return f"a score of it is {found.apart:.2f} away from the original's"
    return ""


def to_sentence(found: Recast) -> str:
    """What came of it, for people. Pure."""
    if found.reason:
        return f"not recast to int8: {found.reason}"
    same = f"same first answer on {found.same} of {found.sure} test pictures, scores at most {found.apart:.2f} apart"
    return f"recast to int8: {same}, {found.recast_ms:.2f} ms instead of {found.original_ms:.2f} ms on one core"
