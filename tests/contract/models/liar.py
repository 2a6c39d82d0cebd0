"""A sandbox that a model has taken over: it answers what the test wants, whatever it is asked. LIES: one answer after the other."""

import json
import os

from edged.process.sandbox import begin


def main() -> None:
    pipe = begin(512)
    for lie in json.loads(os.environ["LIES"]):
        os.write(pipe.fileno(), lie.encode(errors="surrogateescape"))
        if pipe.receive() is None:
            return
    os._exit(0)


if __name__ == "__main__":
    main()
