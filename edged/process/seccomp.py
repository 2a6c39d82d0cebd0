"""No way out to the network for a process that runs a model of unknown origin: a seccomp filter, which needs no rights.

See seccomp(2). Only for a process that begins: threads that run already would keep their way out.
"""

import ctypes
import errno
import platform
import struct

_PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP, _MODE_FILTER = 38, 22, 2
_ALLOW, _REFUSE = 0x7FFF0000, 0x00050000 | errno.EPERM

# (AUDIT_ARCH, socket, execve, execveat, io_uring_setup): a socket by any of the ways, or a program that would make one
_CALLS = {
    "x86_64": (0xC000003E, 41, 59, 322, 425),
    "aarch64": (0xC00000B7, 198, 221, 281, 425),
    "armv7l": (0x40000028, 281, 11, 387, 425),
}
_X32 = 0x40000000  # x86-64's second table of the same calls


class _Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_char_p)]


def forbid_network() -> bool:
    """No new socket and no new program from here on, for this process and its children. False where the kernel can't."""
    calls = _CALLS.get(platform.machine())
    if calls is None:
        return False
    arch, *forbidden = calls
    load, jump_equal, jump_at_least, give_back = 0x20, 0x15, 0x35, 0x06  # linux/bpf_common.h
    to_refuse = len(forbidden) + 1  # the last line but one is "allow", the last is "refuse"
    lines = [(load, 0, 0, 4), (jump_equal, 0, to_refuse + 2, arch), (load, 0, 0, 0), (jump_at_least, to_refuse, 0, _X32)]
    lines += [(jump_equal, to_refuse - 1 - n, 0, call) for n, call in enumerate(forbidden)]
    lines += [(give_back, 0, 0, _ALLOW), (give_back, 0, 0, _REFUSE)]
    code = b"".join(struct.pack("=HBBI", *line) for line in lines)
    program = _Program(len(lines), code)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        return False
    return bool(libc.prctl(_PR_SET_SECCOMP, _MODE_FILTER, ctypes.byref(program), 0, 0) == 0)
