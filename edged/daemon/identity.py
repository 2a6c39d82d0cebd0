"""Which device this is, for ever and for anybody to see: a keyed hash, from which no serial number can be read."""

import hmac
import os
from pathlib import Path

from edged.errors import ReadError, WriteError
from edged.system.files import read_file, write_file

_APPLICATION = b"edged device id, version 1"
_SERIALS = ("sys/firmware/devicetree/base/serial-number", "proc/device-tree/serial-number")
_MOST_BYTES = 4096
_KEPT = "device-key"  # in the state folder, where the machine has no id


def load_device_id(state_folder: Path, root: Path = Path("/")) -> str:
    """32 hex digits: of this memory card's system (machine id), this board (serial number) and this instance (state folder).

    Two boards made from one image differ by their serial numbers, two instances on one board by their state folders. The
    machine id is the key, as in systemd's application-specific ids: whoever sees the result can't try serial numbers out.
    Where the machine has no id a random key is made once and kept in the state folder. Never raises.
    """
    serial = next((found for name in _SERIALS if (found := _read(root / name))), b"")
    key = _read(root / "etc/machine-id") or _kept_key(state_folder)
    own = hmac.digest(key, _APPLICATION, "sha256")
    return hmac.new(own, b"\0".join((serial, os.fsencode(state_folder.absolute()))), "sha256").hexdigest()[:32]


def _read(path: Path) -> bytes:
    try:
        return read_file(path, _MOST_BYTES).strip(b"\0\n ")
    except ReadError:
        return b""


def _kept_key(state_folder: Path) -> bytes:
    path = state_folder / _KEPT
    if not (key := _read(path)):
        key = os.urandom(16).hex().encode()
        try:
            write_file(path, key, 0o600)
        except WriteError:
            return os.urandom(16)  # another device with each start: better than one that is somebody else's
    return key
