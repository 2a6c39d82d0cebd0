"""A throw-away process that does on request what damaged files do to native code."""

import ctypes
import os
import signal

from edged.process.protocol import Word, text, whole
from edged.process.sandbox import begin

_NOTHING = Word({})
_NUMBER = Word({"x": whole()})
ASKED = {"crash": _NOTHING, "hang": _NOTHING, "eat": Word({"mb": whole()}), "echo": _NUMBER, "say": Word({"text": text(200_000)})}
ANSWERS = {"ready": _NOTHING, "full": _NOTHING, "echo": _NUMBER}


def main() -> None:
    pipe = begin(512, ASKED)
    pipe.send("ready", {})
    while (message := pipe.receive()) is not None:
        kind, fields, _ = message
        if kind == "crash":
            ctypes.string_at(0)
        elif kind == "hang":
            signal.pause()
        elif kind == "echo":
            pipe.send(kind, fields)
        elif kind == "say":
            os.write(pipe.fileno(), fields["text"].encode())
        else:
            try:
                bytearray(fields["mb"] << 20)
            except MemoryError:
                pipe.send("full", {})


if __name__ == "__main__":
    main()
