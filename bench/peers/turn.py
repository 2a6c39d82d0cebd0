"""What each peer does: it is asked for so many steps at a time, and answers what they took. Standard library only."""

import json
import os
import sys
import time
from collections.abc import Callable

Step = Callable[[], object]


def serve(make: Callable[[str, int, int], tuple[Step, str]]) -> None:
    """`make`: from the model's path and the frame's size to one step and the name of what does it."""
    model, width, height = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # libraries that print to stdout
    step, name = make(model, width, height)
    for _ in range(5):
        step()
    print(json.dumps({"name": name}), file=answers)
    for line in sys.stdin:
        count, wall_ms = int(line), []
        cpu_ns = time.process_time_ns()
        for _ in range(count):
            began_ns = time.perf_counter_ns()
            step()
            wall_ms.append((time.perf_counter_ns() - began_ns) / 1e6)
        cpu_ms = (time.process_time_ns() - cpu_ns) / 1e6 / count
        print(json.dumps({"cpu_ms": cpu_ms, "wall_ms": sorted(wall_ms)[count // 2]}), file=answers)
    answers.flush()
    os._exit(0)  # some wait for threads of their own
