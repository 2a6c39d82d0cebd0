"""`python -m edged.page VALUES`: the page's process, started by `edged page` in its own place.

Without the library that validates the config, which is most of what a process of ours weighs.
"""

import json
import logging
import sys

from edged.errors import EdgedError
from edged.page.serve import Serving, run
from edged.system.log import begin_log
from edged.system.text import printable_lines


def main() -> int:
    """The exit code. What was checked already is checked again: time has passed."""
    told = json.loads(sys.argv[1])
    log = begin_log(logging.INFO)
    try:
        run(Serving(**told | {"names": tuple(told["names"])}))
    except EdgedError as error:
        sys.stderr.write(printable_lines(f"{error}\n"))
        return error.exit_code
    finally:
        if log is not None:
            log.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
