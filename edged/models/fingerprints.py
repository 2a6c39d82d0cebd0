"""The hash and the graph of a model's file, read once: remembered by inode, size and times for as long as the file is the same.

In memory, and in the state folder's `fingerprints.json`, so that not even the next start reads the files again. It only saves
time: whoever runs a model hashes the bytes that it runs, and a file that turns out to be another one is forgotten here.
"""

import contextlib
import functools
import hashlib
import os
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edged.errors import ModelError, ReadError, WriteError
from edged.models.tflite.graph import Dtype, Interface, Macs, load_graph, to_interface
from edged.system.files import SHARED, SMALL_BYTES, hash_model, read_file, read_model, to_stamp, write_file
from edged.system.shapes import LARGEST_PX, SMALLEST_PX

_FILE, _MOST = "fingerprints.json", 1000
_SETTLED_S = 2.0  # a file that was just written may be written once more within one tick of its times
_Hash = Field(pattern="^[0-9a-f]{64}$")
_Count = Annotated[int, Field(ge=0, lt=2**63)]
_Side = Annotated[int, Field(ge=SMALLEST_PX, le=LARGEST_PX)]


@dataclass(frozen=True, slots=True)
class GraphFacts:
    """What a file's graph says, as far as anybody asks."""

    interface: Interface
    macs: Macs
    params: int


class _SeenFile(BaseModel):
    model_config = ConfigDict(defer_build=True, extra="forbid", frozen=True)

    device: int
    inode: int
    size: _Count
    mtime_ns: int
    ctime_ns: int
    sha256: str = _Hash

    def is_of(self, found: os.stat_result) -> bool:
        return to_stamp(found) == (self.device, self.inode, self.size, self.mtime_ns, self.ctime_ns)


class _SeenGraph(BaseModel):
    model_config = ConfigDict(defer_build=True, extra="forbid", frozen=True)

    height: _Side
    width: _Side
    input_dtype: Dtype
    classes: Annotated[int, Field(ge=2, lt=2**31)]
    output_dtype: Dtype
    output: Literal["probabilities", "logits"]
    thin: _Count
    pointwise: _Count
    params: _Count

    @classmethod
    def of(cls, facts: GraphFacts) -> "_SeenGraph":
        return cls(**asdict(facts.interface), **asdict(facts.macs), params=facts.params)

    def to_facts(self) -> GraphFacts:
        found = self.model_dump()
        macs, params = Macs(found.pop("thin"), found.pop("pointwise")), found.pop("params")
        return GraphFacts(Interface(**found), macs, params)


class _Prints(BaseModel):
    model_config = ConfigDict(defer_build=True, extra="forbid")

    files: dict[str, _SeenFile] = Field(default_factory=dict)  # by path
    graphs: dict[str, _SeenGraph] = Field(default_factory=dict)  # by SHA-256


def load_prints(path: Path) -> _Prints:
    """Raises ReadError or ValidationError."""
    return _Prints.model_validate_json(read_file(path, SMALL_BYTES, follow=False))


class Fingerprints:
    """Thread: any; two that look at the same file at once both read it."""

    def __init__(self, state_folder: Path, wall_s: Callable[[], float] = time.time) -> None:
        self._path, self._wall_s = state_folder / _FILE, wall_s
        self._prints: _Prints | None = None
        self._writing = threading.Lock()

    def sha256_of(self, path: Path, *, is_copy: bool = False) -> tuple[str, int]:
        """The file's hash and its size in bytes. Raises ModelFileError.

        is_copy: nobody asks for its graph, so that a new one is not taken into memory whole.
        """
        try:
            found = path.stat()  # before it is read: what is written meanwhile has other times
        except (OSError, ValueError):
            found = None
        seen = self._known().files.get(str(path))
        if found is not None and seen is not None and seen.is_of(found):
            return seen.sha256, seen.size
        facts = None
        if is_copy:
            sha256, size = hash_model(path)
        else:
            content = read_model(path)
            sha256, size = hashlib.sha256(content).hexdigest(), len(content)
            with contextlib.suppress(ModelError):
                facts = to_graph_facts(content)
        if found is not None:
            self._remember(path, sha256, size, facts, found)
        return sha256, size

    def graph_of(self, path: Path) -> GraphFacts:
        """What its graph says. Raises ModelError, without the path where the file could be read."""
        sha256, _ = self.sha256_of(path)
        seen = self._known().graphs.get(sha256)
        return seen.to_facts() if seen is not None else to_graph_facts(read_model(path))

    def forget(self, path: Path) -> bool:
        """It is not what it was taken for. False where nothing was known of it."""
        with self._writing:
            known = self._known()
            if (seen := known.files.pop(str(path), None)) is None:
                return False
            known.graphs.pop(seen.sha256, None)
            self._save()
            return True

    def _remember(self, path: Path, sha256: str, size: int, facts: GraphFacts | None, found: os.stat_result) -> None:
        seen = _SeenFile(
            device=found.st_dev,
            inode=found.st_ino,
            size=found.st_size,
            mtime_ns=found.st_mtime_ns,
            ctime_ns=found.st_ctime_ns,
            sha256=sha256,
        )
        with self._writing:
            known = self._known()
            if facts is not None:
                known.graphs[sha256] = _SeenGraph.of(facts)
            # what may yet be written again without its times telling is read again
            if found.st_size == size and found.st_ctime + _SETTLED_S < self._wall_s():
                known.files[str(path)] = seen
                self._save()

    def _known(self) -> _Prints:
        if self._prints is None:
            try:
                self._prints = load_prints(self._path)
            except (ReadError, ValidationError):  # none yet, or a damaged one: everything can be read again
                self._prints = _Prints()
        return self._prints

    def _save(self) -> None:
        """Only into a folder of this user's own: nobody else needs it, and a full or read-only disk only costs time."""
        known = self._known()
        for book in (known.files, known.graphs):
            while len(book) > _MOST:
                book.pop(next(iter(book)), None)
        with contextlib.suppress(OSError, WriteError):
            if self._path.parent.stat().st_uid == os.geteuid():
                write_file(self._path, known.model_dump_json(indent=1).encode() + b"\n", SHARED)


@functools.cache
def fingerprints_in(state_folder: Path) -> Fingerprints:
    """Those of a state folder: one for the whole process."""
    return Fingerprints(state_folder)


def to_graph_facts(model: bytes) -> GraphFacts:
    """Pure. Raises ModelError for what is no graph of a classifier."""
    graph = load_graph(model)
    return GraphFacts(to_interface(graph), graph.macs(), graph.params())
