"""Is the outbox's file still there, and as long as we left it? Files are removed, replaced and cut under a running daemon."""

from pathlib import Path


class FilePresence:
    """Of a database in WAL mode that nobody else may use. `path` None: memory, which is always there. Raises nothing."""

    def __init__(self, path: Path | None) -> None:
        self._paths = (path, path.with_name(path.name + "-wal")) if path else ()
        self._seen: dict[Path, tuple[int, int, int]] = {}
        self.note()

    def note(self) -> None:
        """Just after a commit of our own: what there is now is right."""
        for path in self._paths:
            if (found := _look(path)) is not None:
                before = self._seen.get(path)
                if before is None or before[:2] == found[:2]:  # else another file has taken its place, which `wrong` tells
                    self._seen[path] = found

    def wrong(self) -> str:
        """What has happened to it; "" while all is well."""
        for path, (device, inode, size) in self._seen.items():
            found = _look(path)
            if found is None:
                return f"{path} was removed"
            if found[:2] != (device, inode):
                return f"{path} was replaced"
            if found[2] < size:
                return f"{path} was cut from {size} to {found[2]} bytes"
        return ""


def _look(path: Path) -> tuple[int, int, int] | None:
    """Device, inode and size; None where nothing is."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size
