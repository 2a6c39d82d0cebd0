"""The device's id: stable, its own on each board, and nothing can be read from it."""

import hashlib
import hmac
import itertools
import os

import pytest

from edged.daemon.identity import load_device_id

MACHINE, SERIAL = "0123456789abcdef0123456789abcdef", "10000000deadbeef"


def root(folder, *, machine=MACHINE, serial=SERIAL):
    (folder / "etc").mkdir(parents=True)
    (folder / "sys/firmware/devicetree/base").mkdir(parents=True)
    if machine:
        (folder / "etc/machine-id").write_text(machine + "\n")
    if serial:
        (folder / "sys/firmware/devicetree/base/serial-number").write_text(serial + "\0")
    return folder


def test_it_stays_and_differs_where_it_must(tmp_path):
    state = tmp_path / "state"
    state.mkdir()
    first = load_device_id(state, root(tmp_path / "a"))
    assert first == load_device_id(state, tmp_path / "a")
    others = [
        load_device_id(state, root(tmp_path / "b", serial="10000000deadbee0")),  # another board with the same image
        load_device_id(state, root(tmp_path / "c", machine="f" * 32)),  # another image on the same board
        load_device_id(tmp_path / "second", tmp_path / "a"),  # another instance
        load_device_id(state, root(tmp_path / "d", serial="")),
    ]
    assert len({first, *others}) == 5
    assert all(len(one) == 32 and int(one, 16) for one in (first, *others))


def test_the_serial_number_is_neither_in_it_nor_plainly_hashed(tmp_path):
    found = load_device_id(tmp_path, root(tmp_path / "a"))
    assert SERIAL not in found and MACHINE not in found
    known = [SERIAL, MACHINE, str(tmp_path), "edged device id, version 1"]
    for parts in itertools.chain(*(itertools.permutations(known, n) for n in range(1, 4))):
        for between in ("", "\0", "-", ":"):
            for made in (hashlib.md5, hashlib.sha1, hashlib.sha256):
                assert made(between.join(parts).encode()).hexdigest()[:32] != found
    # with one key only, whoever knows the application could try serial numbers out
    assert hmac.new(b"edged device id, version 1", SERIAL.encode(), "sha256").hexdigest()[:32] != found


def test_a_machine_without_an_id_makes_one_and_keeps_it(tmp_path):
    state = tmp_path / "state"
    state.mkdir()
    place = root(tmp_path / "a", machine="")
    first = load_device_id(state, place)
    assert first == load_device_id(state, place)
    (tmp_path / "other").mkdir()
    assert load_device_id(tmp_path / "other", place) != first
    assert (state / "device-key").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("what", ["state folder", "everything"])
def test_what_is_missing_never_raises(tmp_path, what):
    place = root(tmp_path / "a", machine="", serial="") if what == "everything" else root(tmp_path / "a")
    assert load_device_id(tmp_path / "absent" / "folder", place)


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("/dev/zero"), lambda path: path.symlink_to(path)])
def test_a_key_that_is_no_file_is_not_waited_for(tmp_path, make):
    """It is replaced by one that is."""
    state = tmp_path / "state"
    state.mkdir()
    make(state / "device-key")
    first = load_device_id(state, tmp_path / "a")
    assert load_device_id(state, tmp_path / "a") == first and (state / "device-key").lstat().st_size == 32
