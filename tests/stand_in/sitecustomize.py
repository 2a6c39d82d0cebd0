"""The entry by which tests put a camera of their own in the place of a kind: Python runs this when the folder is on its path.

Only the vision process is touched: EDGED_TESTS_CAMERA=module:Class takes the place of every kind.
"""

import os
import sys

if "edged.vision" in sys.orig_argv and (stand_in := os.environ.get("EDGED_TESTS_CAMERA")):
    from edged.vision.cameras import kinds

    module, _, name = stand_in.partition(":")
    for kind in list(kinds.KINDS):
        kinds.KINDS[kind] = (module, name, frozenset({"fps"}))
