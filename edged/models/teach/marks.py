"""Moments that somebody marked: what the camera saw, as the model sees it, kept for teaching. Bounded, private, erasable.

They lie in the state folder's `marks/LABEL/`, the label percent-encoded, each 0600 as DATE-TIME-NUMBER.jpg. Nothing else of
edged sends, copies or bundles them.
"""

import contextlib
import re
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote

from edged.errors import ModelError, WriteError
from edged.system.files import PRIVATE, acting_for, sync_folder, take_away, write_file

MOST_OF_LABEL, MOST_MARKS, MOST_LABELS, MOST_MB = 200, 1000, 50, 64
MARK_PX, MARK_KB = 320, 96  # the side of a mark, and how large its JPEG may be

_NAME = re.compile(r"\d{8}-\d{6}-(\d{1,6})\.jpg")


@dataclass(frozen=True, slots=True)
class MarkedLabel:
    """The marks of one label; bytes: of all of them."""

    label: str
    count: int
    bytes: int


class Marks:
    """Those of one state folder. Any thread, one at a time; the disk is asked each time."""

    def __init__(self, state_folder: Path) -> None:
        self.folder = state_folder / "marks"

    def add(self, label: str, jpeg: bytes) -> Path:
        """Keep one more. Raises ModelError when that would be too many, WriteError."""
        kept = self.all()
        count = {one.label: one.count for one in kept}
        if count.get(label, 0) >= MOST_OF_LABEL:
            raise ModelError(f'"{label}" has {MOST_OF_LABEL} marks, which is the most: edged teach forget "{label}" erases them')
        if label not in count and len(count) >= MOST_LABELS:
            raise ModelError(f"{MOST_LABELS} labels have marks, which is the most: edged teach forget LABEL erases those of one")
        if sum(count.values()) >= MOST_MARKS or sum(one.bytes for one in kept) + len(jpeg) > MOST_MB << 20:
            raise ModelError(f"{MOST_MARKS} marks or {MOST_MB} MB are the most that are kept: edged teach forget LABEL erases some")
        folder = self.folder / quote(label, safe=" ")
        number = 1 + max((int(found[1]) for path in self._files(folder) if (found := _NAME.fullmatch(path.name))), default=0)
        path = folder / f"{time.strftime('%Y%m%d-%H%M%S')}-{number}.jpg"
        write_file(path, jpeg, PRIVATE)
        return path

    def all(self) -> list[MarkedLabel]:
        """By label."""
        found = dict[str, list[int]]()
        for folder in self._folders():
            if sizes := [_size(path) for path in self._files(folder)]:
                found.setdefault(unquote(folder.name), []).extend(sizes)
        return [MarkedLabel(label, len(sizes), sum(sizes)) for label, sizes in sorted(found.items())]

    def pictures(self) -> list[tuple[str, Path]]:
        """(label, file) of every mark."""
        return [(unquote(folder.name), path) for folder in self._folders() for path in self._files(folder)]

    def forget(self, label: str | None) -> int:
        """Erase the marks of a label, or with None all of them; how many that were. Raises ModelError for none, WriteError."""
        named = {one.label: one.count for one in self.all()}
        if label is not None and label not in named:
            raise ModelError(f'there are no marks of "{label}": edged teach marks lists what is kept')
        # as they are there: a folder that was copied here may be named in another way than ours
        gone = [self.folder] if label is None else [folder for folder in self._folders() if unquote(folder.name) == label]
        try:
            with acting_for(self.folder):
                for folder in gone:
                    take_away(folder)
                    with contextlib.suppress(FileNotFoundError):
                        sync_folder(folder.parent)
        except OSError as error:
            raise WriteError(f"{gone[0]}: cannot be erased: {error.strerror}") from None
        return sum(named.values()) if label is None else named[label]

    def _folders(self) -> list[Path]:
        try:
            return sorted(path for path in self.folder.iterdir() if path.is_dir() and not path.is_symlink())
        except OSError:
            return []

    def _files(self, folder: Path) -> list[Path]:
        try:
            return sorted(path for path in folder.iterdir() if _NAME.fullmatch(path.name) and not path.is_symlink())
        except OSError:
            return []


def _size(path: Path) -> int:
    try:
        return path.lstat().st_size
    except OSError:
        return 0
