"""Starting, recognising and ending processes so that none is left behind. Knows no Django.

A process is recognised by its id *and* its start time: ids are used again, start times are not.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import psutil

PR_SET_PDEATHSIG = 1
POLL_SECONDS = 0.05
# Looked up once: the child of a fork must not import anything.
_prctl = ctypes.CDLL(None, use_errno=True).prctl if sys.platform == "linux" else None


@dataclass(frozen=True)
class Account:
    """The unprivileged user that a process started by root becomes."""

    uid: int
    gid: int


def spawn(
    argv: Sequence[str],
    *,
    output: int | IO[bytes],
    env: Mapping[str, str],
    cwd: Path,
    account: Account | None = None,
    orphan_signal: int = signal.SIGKILL,
) -> subprocess.Popen[bytes]:
    """Start a process in a session of its own, so that Ctrl-C reaches only its parent.

    On Linux the kernel sends it `orphan_signal` when its parent dies, whatever the parent died of.
    Call it from the main thread, before there are others: the kernel means the parent's thread.
    """
    return subprocess.Popen(
        argv,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        env=dict(env),
        cwd=cwd,
        start_new_session=True,
        user=account.uid if account else None,
        group=account.gid if account else None,
        extra_groups=[] if account else None,
        preexec_fn=_leash(os.getpid(), orphan_signal),  # noqa: PLW1509 (one thread, see the docstring)
    )


def _leash(parent: int, orphan_signal: int) -> Callable[[], None]:
    def tie() -> None:
        if _prctl is not None:
            _prctl(PR_SET_PDEATHSIG, int(orphan_signal))
            if os.getppid() != parent:  # it died before the call above
                os._exit(1)

    return tie


def started_at(pid: int) -> float | None:
    """Return when the process with this id was started, None when there is none (or only its zombie)."""
    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else float(process.create_time())
    except (psutil.Error, ValueError):
        return None


def mentions(pid: int, text: str) -> bool:
    """Return whether a living process has `text` among the arguments it was started with."""
    try:
        return text in psutil.Process(pid).cmdline()
    except (psutil.Error, ValueError):
        return False


def signal_group(pid: int, number: int) -> bool:
    """Send a signal to a process and everything in its session; False when nothing is left of them."""
    try:
        os.killpg(pid, number)
    except ProcessLookupError:
        return False
    except PermissionError:  # macOS: only zombies are left
        return False
    return True


def end(pid: int, first: int, *, seconds: float) -> None:
    """Ask a foreign process to stop with `first` and kill it when it has not after `seconds`.

    A second process with the same id is never touched.
    """
    identity = started_at(pid)
    for number, patience in ((first, seconds), (signal.SIGKILL, seconds)):
        if identity is None or started_at(pid) != identity:
            return
        os.kill(pid, number)
        wait_until(lambda: started_at(pid) != identity, seconds=patience)


def wait_until(condition: Callable[[], bool], *, seconds: float) -> bool:
    """Poll `condition` and return whether it came true in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_SECONDS)
    return True


class Roster:
    """The file that names the processes of this run, so that the next run can end those a crash left behind."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._members: dict[str, tuple[int, float]] = {}

    def add(self, name: str, pid: int) -> None:
        self._members[name] = (pid, started_at(pid) or 0.0)
        self._write()

    def remove(self, name: str) -> None:
        self._members.pop(name, None)
        self._write()

    def end_strays(self, *, seconds: float = 10) -> list[str]:
        """End the process groups that an earlier run recorded and that still live; return their names."""
        try:
            recorded = json.loads(self._path.read_text())
        except (OSError, ValueError):
            return []
        strays = {name: pid for name, (pid, start) in recorded.items() if started_at(pid) == start}
        for pid in strays.values():
            signal_group(pid, signal.SIGTERM)
        wait_until(lambda: all(started_at(pid) is None for pid in strays.values()), seconds=seconds)
        for pid in strays.values():
            signal_group(pid, signal.SIGKILL)
        return sorted(strays)

    def _write(self) -> None:
        partial = self._path.with_suffix(".partial")
        partial.write_text(json.dumps(self._members))
        partial.replace(self._path)
