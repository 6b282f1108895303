"""The walls around the child: how much it may take, and that it can do nothing but compute.

Limits of the kernel first, then, where the kernel is Linux on a processor we know, a list of the system calls that
are left: memory, the two pipes and the end. No file can be opened, no process begun, no address reached, also by root.
"""

import ctypes
import platform
import resource
import struct

MEMORY_BYTES = 380 * 2**20  # of address space, so that what is really used stays below 400 MB
CPU_SECONDS = 20
MACHINES = {"x86_64": (0xC000003E, 0), "aarch64": (0xC00000B7, 1)}  # how the kernel calls it; its column below
CALLS = {
    "read": (0, 63), "write": (1, 64), "close": (3, 57), "fstat": (5, 80), "lseek": (8, 62), "mmap": (9, 222),
    "mprotect": (10, 226), "munmap": (11, 215), "brk": (12, 214), "rt_sigaction": (13, 134),
    "rt_sigprocmask": (14, 135), "rt_sigreturn": (15, 139), "readv": (19, 65), "writev": (20, 66),
    "sched_yield": (24, 124), "mremap": (25, 216), "madvise": (28, 233), "getpid": (39, 172), "exit": (60, 93),
    "getrusage": (98, 165), "sigaltstack": (131, 132), "futex": (202, 98), "restart_syscall": (219, 128),
    "clock_gettime": (228, 113), "exit_group": (231, 94), "getrandom": (318, 278), "rseq": (334, 293),
}  # fmt: skip
NO_NEW_PRIVILEGES, SET_FILTER, FILTER = 38, 22, 2  # of prctl
LOAD, IF_EQUAL, RETURN = 0x20, 0x15, 0x06  # of the filter's language
ALLOW, REFUSE = 0x7FFF0000, 0x00050001  # the second: as if the caller were not permitted to


def limit() -> None:
    """Bound memory, time, files and processes of this process for good."""
    bounds = {
        resource.RLIMIT_AS: MEMORY_BYTES,
        resource.RLIMIT_CPU: CPU_SECONDS,
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_NPROC: 0,
        resource.RLIMIT_CORE: 0,
    }
    for what, bound in bounds.items():
        resource.setrlimit(what, (bound, bound))


def lock() -> bool:
    """Give up every system call that is not on the list. False where this kernel cannot."""
    if platform.machine() not in MACHINES:
        return False
    arch, column = MACHINES[platform.machine()]
    program = _program(arch, [numbers[column] for numbers in CALLS.values()])
    buffer = ctypes.create_string_buffer(program, len(program))
    # struct sock_fprog: how many instructions, and where they are.
    bound = struct.pack("HP", len(program) // 8, ctypes.addressof(buffer))
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    prctl.argtypes = [ctypes.c_int, ctypes.c_ulong, ctypes.c_void_p, ctypes.c_ulong, ctypes.c_ulong]
    if prctl(NO_NEW_PRIVILEGES, 1, None, 0, 0) != 0:
        return False
    return bool(prctl(SET_FILTER, FILTER, ctypes.create_string_buffer(bound, len(bound)), 0, 0) == 0)


def _program(arch: int, allowed: list[int]) -> bytes:
    count = len(allowed)
    steps = [(LOAD, 0, 0, 4), (IF_EQUAL, 0, count + 1, arch), (LOAD, 0, 0, 0)]
    steps += [(IF_EQUAL, count - index, 0, number) for index, number in enumerate(allowed)]
    steps += [(RETURN, 0, 0, REFUSE), (RETURN, 0, 0, ALLOW)]
    return b"".join(struct.pack("HBBI", *step) for step in steps)
