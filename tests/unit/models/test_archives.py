"""Archives that unpack to more than any model: refused by what their headers say, before it is in memory."""

import gzip
import tarfile
from pathlib import Path

import pytest

from edged.errors import ModelError
from edged.models.pull import to_model


def header(name: str, size: int, kind: bytes) -> bytes:
    about = tarfile.TarInfo(name)
    about.size, about.type = size, kind
    return about.tobuf(tarfile.GNU_FORMAT)


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK])
def test_a_header_is_not_taken_whole(tmp_path: Path, kind: bytes) -> None:
    path = tmp_path / "x.tgz"
    with gzip.open(path, "wb", 1) as file:
        file.write(header("x", 65 << 20, kind))
        for _ in range(65):
            file.write(bytes(1 << 20))
        file.write(header("x.tflite", 5, tarfile.REGTYPE) + b"TFL3x".ljust(512, b"\0") + bytes(1024))
    with pytest.raises(ModelError, match="a header in it is larger than a model"):
        to_model(path)


def test_what_unpacks_without_end_is_given_up(tmp_path: Path) -> None:
    path = tmp_path / "x.tgz"
    with gzip.open(path, "wb", 1) as file:
        file.write(header("checkpoint", 6 << 30, tarfile.REGTYPE))
    with pytest.raises(ModelError, match="unpacks to more than 1024 MB"):
        to_model(path)


def test_an_archive_as_they_are_published_is_read(tmp_path: Path) -> None:
    path, model = tmp_path / "x.tgz", tmp_path / "x.tflite"
    model.write_bytes(b"TFL3" * 10_000)
    (tmp_path / "checkpoint").write_bytes(bytes(1 << 20))
    for form in (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT):
        with tarfile.open(path, "w:gz", format=form) as content:
            for name in ("checkpoint", "x.tflite"):
                content.add(tmp_path / name, f"./{'long' * 40}/{name}")
        assert to_model(path) == model.read_bytes()
