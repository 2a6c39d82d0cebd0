"""Power cuts: the outbox's writes are recorded, cut at every point, and what was not yet synced is dropped or torn."""

import random
import shutil
from pathlib import Path
from typing import Any

import pytest

from edged.delivery.outbox.database import Database
from edged.delivery.outbox.repair import FILE, open_disk
from edged.delivery.outbox.rows import DELIVERED, WAITING, Session
from tests.campaigns.size import SEED, count, report
from tests.campaigns.test_outbox_mutations import a_row

apsw = pytest.importorskip("apsw", reason="records SQLite's writes; pip install apsw")

SHORT, FULL = 150, 2000
_SECTOR = 512


class Recorder(apsw.VFS):
    """A file system that keeps an account of every write, truncation and sync, in order."""

    def __init__(self) -> None:
        self.account: list[tuple[Any, ...]] = []
        super().__init__("recorder", "")

    def xOpen(self, name: Any, flags: list[int]) -> "RecordedFile":  # noqa: N802
        return RecordedFile(self, name, flags)

    def xDelete(self, name: str, sync: bool) -> None:  # noqa: N802
        self.account.append(("delete", Path(name).name, sync))
        super().xDelete(name, sync)


class RecordedFile(apsw.VFSFile):
    def __init__(self, recorder: Recorder, name: Any, flags: list[int]) -> None:
        path = name.filename() if isinstance(name, apsw.URIFilename) else name
        self._account, self._name = recorder.account, Path(path or "temporary").name
        super().__init__("", name, flags)

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802
        self._account.append(("write", self._name, offset, bytes(data)))
        super().xWrite(data, offset)

    def xTruncate(self, size: int) -> None:  # noqa: N802
        self._account.append(("truncate", self._name, size))
        super().xTruncate(size)

    def xSync(self, flags: int) -> None:  # noqa: N802
        self._account.append(("sync", self._name))
        super().xSync(flags)


class Connection:
    """As much of sqlite3.Connection as the store uses."""

    text_factory: Any = None

    def __init__(self, path: Path) -> None:
        self._db = apsw.Connection(str(path), vfs="recorder")
        self._db.execute("PRAGMA locking_mode = EXCLUSIVE")  # no shared memory through this file system

    def execute(self, statement: str, values: Any = ()) -> Any:
        return self._db.execute(statement, values)

    def executescript(self, script: str) -> None:
        self._db.execute(script)

    @property
    def in_transaction(self) -> bool:
        return bool(self._db.in_transaction)

    def close(self) -> None:
        self._db.close()


def test_a_power_cut_at_any_point_loses_nothing_that_was_committed(tmp_path: Path) -> None:
    account = record(tmp_path / "recorded")
    images = count(SHORT, FULL)
    rng = random.Random(SEED)
    cuts = range(len(account))
    chosen = sorted(rng.choices(cuts, k=images)) if images < len(cuts) else [*cuts, *rng.choices(cuts, k=images - len(cuts))]
    opened = mended = lost = expected = 0
    for cut in chosen:
        folder = tmp_path / "image"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        for name, content in image(account[:cut], rng).items():
            (folder / name).write_bytes(content)
        wanted = still_waiting(account, cut)
        result = open_disk(folder / FILE)
        assert result.store is not None, result.reason
        found = {row.n: row for row in result.store.waiting()}
        result.store.close()
        opened += 1
        mended += bool(result.told)
        expected += len(wanted)
        lost += sum(found.get(n) != a_row(n, WAITING) for n in wanted)
    report(
        "outbox_power_cuts",
        {
            "images": len(chosen),
            "seed": SEED,
            "recorded_points": len(cuts),
            "opened": opened,
            "mended": mended,
            "committed_rows_expected": expected,
            "lost": lost,
        },
    )
    assert opened == len(chosen)
    assert lost == 0


def record(folder: Path) -> list[tuple[Any, ...]]:
    """What an outbox writes in a life of some hundred commits with checkpoints; "committed" carries the waiting n."""
    folder.mkdir()
    recorder = Recorder()
    store = Database(folder / FILE, connect=Connection)  # type: ignore[arg-type]
    recorder.account.append(("folder synced", ""))  # as the opening does; sync_folder can not be recorded
    store._ask("PRAGMA wal_autocheckpoint = 40")
    rng = random.Random(SEED)
    waiting: list[int] = []
    n = 0
    for _ in range(220):
        store.begin()
        if n == 0:
            store.put_session(Session("0badcafe", "kernel", 1_700_000_000.25, True))
        for _ in range(rng.choice((1, 1, 1, 2, 8))):
            n += 1
            store.put(a_row(n, WAITING))
            waiting.append(n)
        while len(waiting) > 60 or (waiting and rng.random() < 0.4):
            done = waiting.pop(0)
            store.set_state(done, DELIVERED)
            if rng.random() < 0.3:
                store.delete([a_row(done, DELIVERED)])
        store.commit()
        recorder.account.append(("committed", list(waiting)))
    account = list(recorder.account)
    store.close()
    recorder.unregister()
    return account


def still_waiting(account: list[tuple[Any, ...]], cut: int) -> set[int]:
    """What the last commit before the cut had waiting; the one that was under way may have been kept, with what it delivered."""
    before: list[int] = next((step[1] for step in reversed(account[:cut]) if step[0] == "committed"), [])
    under_way = next((step[1] for step in account[cut:] if step[0] == "committed"), before)
    return set(before) & set(under_way)


def image(account: list[tuple[Any, ...]], rng: random.Random) -> dict[str, bytes]:
    """The files after a power cut: everything up to each file's last sync, and of the rest what chance left."""
    last_sync = {step[1]: i for i, step in enumerate(account) if step[0] == "sync"}
    folder_synced = max((i for i, step in enumerate(account) if step[0] == "folder synced"), default=-1)
    files: dict[str, bytearray] = {}
    for i, step in enumerate(account):
        if step[0] in ("committed", "sync", "folder synced"):
            continue
        name, safe = step[1], i <= last_sync.get(step[1], -1)
        content = files.setdefault(name, bytearray())
        if step[0] == "delete":
            if i < folder_synced or rng.random() < 0.5:
                files.pop(name, None)
        elif step[0] == "truncate":
            if safe or rng.random() < 0.5:
                del content[step[2] :]
        else:
            _, _, offset, data = step
            fate = "whole" if safe else rng.choice(("whole", "whole", "dropped", "torn"))
            if fate == "torn":
                data = data[: rng.randrange(0, len(data) + 1, _SECTOR) or 1]
            if fate != "dropped":
                content.extend(b"\0" * (offset - len(content)))
                content[offset : offset + len(data)] = data
    return {name: bytes(content) for name, content in files.items()}
