"""Picture files → pixels, with limits that hold before anything is decoded: what a file says of itself is read first. Pure."""

import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

Kind = Literal["JPEG", "PNG", "BMP", "WebP"]

_MAGIC: dict[bytes, Kind] = {b"\xff\xd8\xff": "JPEG", b"\x89PNG\r\n\x1a\n": "PNG", b"BM": "BMP"}
_BASELINE, _NO_FRAME = (0xC0, 0xC1), (0xC4, 0xC8, 0xCC)
_SCAN, _END = 0xDA, 0xD9
_MARK = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")  # after a scan began: what is no part of its data
# no encoder writes a tenth of them; to decode one scan more takes a moment for each pixel, and a few bytes ask for it
_MOST_MARKS, _MOST_SCANS = 5000, 100
_MOST_CHUNKS, _PACKED_BYTES, _INFLATED_BYTES = 100_000, 1 << 16, 1 << 20  # of a PNG; at a time
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by its colour type


class PictureError(Exception):
    """A file that is no picture, and why."""


@dataclass(frozen=True, slots=True)
class Header:
    """What a picture says of itself. in_rows: it can be decoded at a half or less without ever being there as a whole."""

    kind: Kind
    width: int
    height: int
    in_rows: bool = False


def to_kind(data: bytes) -> Kind:
    """The name of the format. Raises PictureError for others: fewer decoders, fewer ways in."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WebP"
    kind = next((name for magic, name in _MAGIC.items() if data.startswith(magic)), None)
    if kind is None:
        raise PictureError("is not a picture that edged reads (JPEG, PNG, BMP, WebP)")
    return kind


def to_header(data: bytes) -> Header:
    """Raises PictureError for what is none of the formats, or ends before it says its size."""
    kind = to_kind(data)
    try:
        if kind == "PNG":
            return Header(kind, *struct.unpack_from(">II", data, 16))
        if kind == "BMP":
            wide = struct.unpack_from("<I", data, 14)[0] == 12  # OS/2's header has shorter numbers
            width, height = struct.unpack_from("<HH" if wide else "<ii", data, 18)
            return Header(kind, abs(width), abs(height))
        return _webp(data) if kind == "WebP" else _jpeg(data)
    except struct.error:
        raise PictureError(f"is {kind}, but cut off or damaged") from None


def _webp(data: bytes) -> Header:
    chunk = data[12:16]
    if chunk == b"VP8X":
        return Header("WebP", 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little"))
    if chunk == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        return Header("WebP", 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF))
    width, height = struct.unpack_from("<HH", data, 26)
    return Header("WebP", width & 0x3FFF, height & 0x3FFF)


def _jpeg(data: bytes) -> Header:
    """The first start of a frame; ITU-T T.81, B.1.1."""
    at = 2
    for _ in range(_MOST_MARKS):
        mark, number, size = struct.unpack_from(">BBH", data, at)
        if mark != 0xFF:
            raise PictureError("is JPEG, but cut off or damaged")
        if number == 0xFF:  # filling
            at += 1
        elif 0xC0 <= number <= 0xCF and number not in _NO_FRAME:
            height, width = struct.unpack_from(">HH", data, at + 5)
            return Header("JPEG", width, height, in_rows=number in _BASELINE)
        elif 0xD0 <= number <= 0xD8 or number == 0x01:  # marks without a length
            at += 2
        else:
            at += 2 + max(2, size)
    raise PictureError(f"is JPEG, and more than {_MOST_MARKS} marks stand before its picture")


def _check_scans(data: bytes) -> None:
    """Raises PictureError for a JPEG of very many scans, each of which is decoded over all of its pixels. What comes after the
    picture's end, as a film in the photographs of phones, is not looked at."""
    at, scans = 2, 0
    for _ in range(_MOST_MARKS):
        found = _MARK.search(data, at)
        if found is None or data[found.start() + 1] == _END:
            return
        at, number = found.end(), data[found.start() + 1]
        if number == _SCAN:
            scans += 1
            if scans > _MOST_SCANS:
                raise PictureError(f"is JPEG of more than {_MOST_SCANS} scans: no camera writes that")
        if number not in (0x01, 0xD8):  # those have no length
            at += max(2, int.from_bytes(data[at : at + 2]))
    raise PictureError(f"is JPEG of more than {_MOST_MARKS} marks")


def _inflated_sizes(stream: "zlib._Decompress", packed: memoryview, most: int) -> Iterator[int]:
    """In bytes, a little after the other, until they are more than `most` together. Raises zlib.error."""
    for at in range(0, len(packed), _PACKED_BYTES):
        part: bytes | memoryview = packed[at : at + _PACKED_BYTES]
        while part and most >= 0 and not stream.eof:
            size = len(stream.decompress(part, _INFLATED_BYTES))
            part, most = stream.unconsumed_tail, most - size
            yield size


def _check_png(data: bytes, header: Header) -> None:
    """Raises PictureError for a PNG whose data inflate to far more than its pixels: libpng takes all of them, for hours."""
    depth, colours = data[24:26].ljust(2, b"\0")
    row = (header.width * _CHANNELS.get(colours, 4) * depth + 7) // 8 + 1
    left = 2 * row * header.height + _INFLATED_BYTES  # with lines that are interlaced, and more than enough
    stream, at = zlib.decompressobj(), 8
    for _ in range(_MOST_CHUNKS):
        kind, size = data[at + 4 : at + 8], int.from_bytes(data[at : at + 4])
        if kind == b"acTL":
            raise PictureError("is PNG, but animated")
        if kind == b"IDAT":
            try:
                left -= sum(_inflated_sizes(stream, memoryview(data)[at + 8 : at + 8 + size], left))
            except zlib.error:
                return  # the decoder finds it too
            if left < 0:
                raise PictureError("is PNG, and unpacks to far more than its pixels")
        at += 12 + size
        if kind == b"IEND" or at >= len(data):
            return
    raise PictureError(f"is PNG of more than {_MOST_CHUNKS} chunks")


def decode(data: bytes, most_pixels: int, most_in_rows: int) -> NDArray[np.uint8]:
    """BGR, upright as its EXIF says; what has more than `most_pixels` is made smaller, where its format allows that.

    most_in_rows: pixels of a picture that can be made smaller on the way. Raises PictureError.
    """
    header = to_header(data)
    pixels = header.width * header.height
    if not pixels or pixels > (most_in_rows if header.in_rows else most_pixels):
        raise PictureError(f"is {header.kind} of {header.width} x {header.height}: more pixels than are decoded")
    if header.kind == "JPEG":
        _check_scans(data)
    elif header.kind == "PNG":
        _check_png(data, header)
    how = cv2.IMREAD_COLOR if pixels <= most_pixels else cv2.IMREAD_REDUCED_COLOR_2
    how = how if pixels <= 4 * most_pixels else cv2.IMREAD_REDUCED_COLOR_4
    try:
        decoded = cv2.imdecode(np.frombuffer(data, np.uint8), how)
    except cv2.error:
        decoded = None
    if decoded is None or decoded.ndim != 3 or decoded.shape[0] * decoded.shape[1] > most_pixels:
        raise PictureError(f"is {header.kind}, but cut off or damaged")
    return decoded  # type: ignore[return-value]
