"""python freeze.py THREAD: stop one thread of another process until we are killed. ptrace(2), which needs no part in it.

SIGSTOP would stop the whole process; a debugger's attach can stop a single thread, and the others never notice.
"""

import ctypes
import os
import sys

_SEIZE, _INTERRUPT = 0x4206, 0x4207
_WALL = 0x40000000

libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
libc.ptrace.restype = ctypes.c_long


def main() -> None:
    thread = int(sys.argv[1])
    for request in (_SEIZE, _INTERRUPT):
        if libc.ptrace(request, thread, None, None) != 0:
            sys.exit(f"thread {thread} can't be stopped: {os.strerror(ctypes.get_errno())}")
    os.waitpid(thread, _WALL)
    print("frozen", flush=True)
    ended = False
    while not ended:  # a traced thread is not quite gone before its tracer has seen its end
        _, status = os.waitpid(thread, _WALL)
        ended = os.WIFEXITED(status) or os.WIFSIGNALED(status)


if __name__ == "__main__":
    main()
