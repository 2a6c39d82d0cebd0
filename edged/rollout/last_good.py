"""The config and the model that ran well for a minute, kept so that no edit, no card and no power cut can take them away.

In the state folder's `last_good/`: the config's text, the model's file and its labels under the names of their hashes, and
`pair.json`, written last, which says what belongs together.
"""

import contextlib
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edged.config.reading import Reading, to_settings
from edged.config.source import Source, parse_source
from edged.errors import ConfigError, ModelError, ReadError
from edged.models.card import Card
from edged.models.fingerprints import fingerprints_in
from edged.models.measurements import Measured
from edged.models.store import Installed
from edged.rollout.active import Active
from edged.system.files import PRIVATE, SMALL_BYTES, hash_model, model_parts, read_file, write_file

_Hash = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]  # names of files in the folder, and of no others
_FOLDER, _PAIR = "last_good", "pair.json"


class _Pair(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    config_path: str
    config_sha256: _Hash
    wish: str
    model_sha256: _Hash
    labels_sha256: _Hash
    card: dict[str, Any]
    threads: int = Field(ge=1, le=1024)
    chosen: str
    measured: Measured | None


def load_pair(path: Path) -> _Pair:
    """Raises ReadError or ValidationError."""
    return _Pair.model_validate_json(read_file(path, SMALL_BYTES, follow=False))


class LastGood:
    """Thread: any one at a time."""

    def __init__(self, state_folder: Path) -> None:
        self._folder, self._prints = state_folder / _FOLDER, fingerprints_in(state_folder)

    def remember(self, source: Source, wish: str, running: Active) -> None:
        """Keep what runs. Writes only what changed. Raises WriteError or ModelError, and then the one before still holds."""
        config_path, text = source.file and str(Path(source.file).absolute()), source.data
        installed = running.installed
        labels = "\n".join(installed.labels).encode()
        pair = _Pair(
            config_path=config_path,
            config_sha256=_hash(text),
            wish=wish,
            model_sha256=installed.sha256,
            labels_sha256=_hash(labels),
            card=installed.card.model_dump(mode="json", exclude_defaults=True),
            threads=running.threads,
            chosen=running.why,
            measured=running.measured,
        )
        if pair == self._pair() and self.running() is not None and self.reading() is not None:
            return
        model = _proven_parts(installed)
        files: dict[str, bytes | Iterator[bytes]] = {pair.config_sha256: text, pair.labels_sha256: labels, installed.sha256: model}
        for name, content in files.items():
            if not self._is_whole(name):
                write_file(self._folder / name, content, PRIVATE)
        write_file(self._folder / _PAIR, pair.model_dump_json(indent=1).encode() + b"\n", PRIVATE)
        with contextlib.suppress(OSError):
            for old in self._folder.iterdir():
                if old.name not in files and old.name != _PAIR:
                    old.unlink()

    def reading(self) -> Reading | None:
        """The config as it was, with its relative paths from where it lay; None when there is none that can be used."""
        pair = self._pair()
        if pair is None:
            return None
        if not pair.config_path:
            return to_settings(Source())
        try:
            text = read_file(self._folder / pair.config_sha256, SMALL_BYTES, follow=False)
            reading = to_settings(parse_source(Path(pair.config_path), text))
        except (ReadError, ConfigError):
            return None
        return reading if _hash(text) == pair.config_sha256 and not reading.faults else None

    @property
    def wish(self) -> str:
        pair = self._pair()
        return pair.wish if pair else ""

    def running(self) -> Active | None:
        """The model as it was, from the copy that is kept here; None when it is not whole."""
        pair = self._pair()
        if pair is None:
            return None
        path = self._folder / pair.model_sha256
        try:
            labels = read_file(self._folder / pair.labels_sha256, SMALL_BYTES, follow=False)
            sha256, size = self._prints.sha256_of(path, is_copy=True)
            if sha256 != pair.model_sha256 or _hash(labels) != pair.labels_sha256:
                return None
            card = Card.model_validate(pair.card)
            names = tuple(labels.decode().split("\n"))
        except (ReadError, ModelError, ValidationError, UnicodeDecodeError):
            return None
        installed = Installed(card, path, names, pair.model_sha256, round(size / 1e6, 3))
        return Active(installed, pair.threads, pair.chosen, pair.measured)

    def _is_whole(self, name: str) -> bool:
        try:
            return hash_model(self._folder / name, follow=False)[0] == name
        except ModelError:
            return False

    def _pair(self) -> _Pair | None:
        try:
            return load_pair(self._folder / _PAIR)
        except (ReadError, ValidationError):
            return None


def _proven_parts(installed: Installed) -> Iterator[bytes]:
    """The model's file in parts; at their end raises ModelError when they were not what runs."""
    digest = hashlib.sha256()
    for part in model_parts(installed.path):
        digest.update(part)
        yield part
    if digest.hexdigest() != installed.sha256:
        raise ModelError(f"{installed.path}: the file is not the one that runs, so it is not remembered")


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
