"""A throw-away process that does on request what damaged files do to native code."""

import ctypes
import signal

from edged.process.sandbox import begin


def main() -> None:
    pipe = begin(memory_mb=512)
    pipe.send("ready", {})
    while (message := pipe.receive()) is not None:
        kind, fields, _ = message
        if kind == "crash":
            ctypes.string_at(0)
        elif kind == "hang":
            signal.pause()
        elif kind == "eat":
            try:
                bytearray(fields["mb"] << 20)
            except MemoryError:
                pipe.send("full", {})
        else:
            pipe.send(kind, fields)


if __name__ == "__main__":
    main()
