"""Runs Python's `-m` as it is, and counts each event that is decided in a file that outlives the process (mmap).

python tests/e2e/counted.py FILE -m edged run …
"""

import mmap
import runpy
import struct
import sys
from pathlib import Path
from typing import Any

SIZE = 8


def main() -> None:
    path, _m, module, *arguments = sys.argv[1:]
    file = Path(path).open("r+b")  # noqa: SIM115
    counter = mmap.mmap(file.fileno(), SIZE)
    if module == "edged":
        from edged.delivery.dispatch import Dispatch

        event = Dispatch.event

        def counted(dispatch: Dispatch, *values: Any) -> None:
            event(dispatch, *values)
            counter[:] = struct.pack("<q", struct.unpack("<q", counter[:])[0] + 1)

        Dispatch.event = counted  # type: ignore[method-assign]
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    sys.path.insert(0, "")
    main()
