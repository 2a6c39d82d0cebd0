"""A stderr that nobody drains stops nobody."""

import logging
import os
import threading

from edged.system.log import QueuedLog
from tests.e2e.running import wait_for


def test_a_pipe_that_nobody_reads_blocks_nobody_and_what_is_dropped_is_counted() -> None:
    """Before: after 64 kB every `log.info` stood still, and the event loop with it."""
    reads, writes = os.pipe()
    handler = QueuedLog(writes)
    log = logging.Logger("test")
    log.addHandler(handler)
    done = threading.Event()

    def talk() -> None:
        for number in range(5000):
            log.info("line %d %s", number, "x" * 100)
        done.set()

    threading.Thread(target=talk, daemon=True).start()
    assert done.wait(20), "logging blocks"
    dropped = handler.dropped
    assert 5000 - dropped <= 1000 + 64 * 1024 // 100 + 2
    closing = threading.Thread(target=handler.close, daemon=True)
    closing.start()
    closing.join(20)
    assert not closing.is_alive(), "to close it waits for ever"
    text = bytearray()

    def drain() -> None:
        while data := os.read(reads, 65536):
            text.extend(data)

    threading.Thread(target=drain, daemon=True).start()
    wait_for(lambda: b"lines of the log were dropped" in text, 10, "the count is told")
    lines = text.decode().splitlines()
    assert lines[0] == f"INFO line 0 {'x' * 100}", "the words stay the same"
    told = next(line for line in lines if "dropped" in line)
    assert told == f"WARNING {dropped} lines of the log were dropped: nobody read it"
    assert sum(line.startswith("INFO line") for line in lines) == 5000 - dropped


def test_what_a_stranger_says_is_one_line_that_no_terminal_obeys() -> None:
    reads, writes = os.pipe()
    handler = QueuedLog(writes)
    log = logging.Logger("test")
    log.addHandler(handler)
    log.warning("the camera says %s", "\x1b]0;owned\x07\x1b[2J\r\nERROR forged \u202e rtsp://me:s3cret@cam/1?p=s3cret")
    handler.close()
    line, newline, rest = os.read(reads, 65536).decode().partition("\n")
    os.close(reads)
    assert (newline, rest) == ("\n", "") and line.isprintable() and line.startswith("WARNING the camera says ")
    assert "rtsp://cam/1" in line and "s3cret" not in line
