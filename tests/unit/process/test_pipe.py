"""The pipe keeps messages whole, and the courier believes only its own words."""

import json
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edged.process.pipe import LARGEST_BYTES, Pipe
from edged.process.protocol import check_word

simple = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
anything = st.recursive(simple, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner))
BEAT = {"frames": dict.fromkeys(("captured", "inferred", "stale", "busy", "gated", "paused"), 0), "memory_mb": 1.0}


@given(
    st.text(min_size=1),
    st.dictionaries(st.text().filter(lambda key: key != "kind"), st.integers() | st.text()),
    st.binary(max_size=1000),
)
def test_what_goes_in_comes_out_whole(kind, fields, attachment):
    a, b = Pipe.pair()
    a.send(kind, fields, attachment)
    assert b.receive() == (kind, fields, attachment)
    a.close()
    assert b.receive() is None
    b.close()


def test_a_full_pipe_never_blocks_the_courier():
    a, b = Pipe.pair()
    while a.try_send("load", {"path": "x" * 10_000}):
        pass
    assert b.receive() is not None
    b.close()
    assert not a.try_send("stop", {})
    a.close()


def test_the_largest_packet_fits():
    a, b = Pipe.pair()
    a.send("snapshot", {}, b"\0" * (LARGEST_BYTES - 100))
    message = b.receive()
    assert message is not None and len(message[2]) == LARGEST_BYTES - 100
    a.close()
    b.close()


@given(st.binary(min_size=1, max_size=2000) | anything.map(lambda value: json.dumps(value).encode()))
def test_bytes_of_anybody_are_a_message_or_a_value_error(packet):
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        theirs.send(packet)
        try:
            Pipe(ours).receive()
        except (ValueError, KeyError):
            return


@given(
    st.sampled_from(["ready", "result", "beat", "camera", "stop", "_on_control", ""]), st.dictionaries(st.text(max_size=9), simple)
)
def test_what_is_no_word_of_ours_is_not_believed(kind, fields):
    with pytest.raises(ValueError):
        check_word(kind, fields)


def test_a_word_of_ours_is_believed():
    check_word("beat", BEAT)
    for more in ({"extra": 1}, {"memory_mb": float("nan")}, {"frames": {}}):
        with pytest.raises(ValueError):
            check_word("beat", BEAT | more)
