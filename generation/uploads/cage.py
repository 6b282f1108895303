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
# fmt: off
CALLS = {
    "x86_64": (0xC000003E, (
        0, 1, 3, 5, 8, 9, 10, 11, 12, 13, 14, 15, 19, 20, 24, 25, 28, 39, 60, 98, 131, 202, 219, 228, 231, 318, 334,
    )),
    "aarch64": (0xC00000B7, (
        63, 64, 57, 80, 62, 222, 226, 215, 214, 134, 135, 139, 65, 66, 124, 216, 233, 172, 93, 165, 132, 98, 128, 113,
        94, 278, 293,
    )),
}  # of either: read, write, close, fstat, lseek, mmap, mprotect, munmap, brk, rt_sigaction, rt_sigprocmask,
#    rt_sigreturn, readv, writev, sched_yield, mremap, madvise, getpid, exit, getrusage, sigaltstack, futex,
#    restart_syscall, clock_gettime, exit_group, getrandom, rseq
# fmt: on
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
    arch, allowed = CALLS.get(platform.machine(), (0, ()))
    if not allowed:
        return False
    program = _program(arch, allowed)
    buffer = ctypes.create_string_buffer(program, len(program))
    # struct sock_fprog: how many instructions, and where they are.
    bound = struct.pack("HP", len(program) // 8, ctypes.addressof(buffer))
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    prctl.argtypes = [ctypes.c_int, ctypes.c_ulong, ctypes.c_void_p, ctypes.c_ulong, ctypes.c_ulong]
    if prctl(NO_NEW_PRIVILEGES, 1, None, 0, 0) != 0:
        return False
    return bool(prctl(SET_FILTER, FILTER, ctypes.create_string_buffer(bound, len(bound)), 0, 0) == 0)


def _program(arch: int, allowed: tuple[int, ...]) -> bytes:
    count = len(allowed)
    steps = [(LOAD, 0, 0, 4), (IF_EQUAL, 0, count + 1, arch), (LOAD, 0, 0, 0)]
    steps += [(IF_EQUAL, count - index, 0, number) for index, number in enumerate(allowed)]
    steps += [(RETURN, 0, 0, REFUSE), (RETURN, 0, 0, ALLOW)]
    return b"".join(struct.pack("HBBI", *step) for step in steps)
