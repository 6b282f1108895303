"""Ends a process whose device hangs: nothing else gets such a device back, and the supervisor starts a new one."""

import faulthandler
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

EXIT_HUNG = 75  # "try again later", as sysexits.h calls it
LOOK_SECONDS_MAX = 1.0
PET_SECONDS = 1.0


class Watchdog:
    """Watches one call at a time. `pet` says that the call moves."""

    def __init__(
        self, on_hang: Callable[[str], None], *, leave: Callable[[int], None] = os._exit, is_hard: bool = False
    ) -> None:
        """`on_hang` is told what hangs and has a few seconds; then `leave` ends the process.

        With `is_hard` the interpreter's own timer ends it, too, after twice the time, with every thread's stack on
        stderr: a call that never lets go of the interpreter would keep this thread from running.
        """
        self._on_hang, self._leave, self._is_hard = on_hang, leave, is_hard
        self._lock = threading.Lock()
        self._what, self._limit, self._moved_at, self._pet_at = "", 0.0, 0.0, 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look, name="watchdog", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()

    @contextmanager
    def watching(self, what: str, seconds: float) -> Iterator[None]:
        """Expect the block to end, or `pet` to be called, at least every `seconds`."""
        with self._lock:
            self._what, self._limit, self._moved_at = what, seconds, time.monotonic()
        self._arm(seconds)
        try:
            yield
        finally:
            with self._lock:
                self._what = ""
                if self._is_hard:
                    faulthandler.cancel_dump_traceback_later()

    def pet(self) -> None:
        """Something moved. Where nothing is watched, nothing has to: then it changes nothing."""
        now = time.monotonic()
        self._moved_at = now
        with self._lock:
            if self._what and now - self._pet_at >= PET_SECONDS:
                self._pet_at = now
                self._arm(self._limit)

    def _arm(self, seconds: float) -> None:
        if self._is_hard:
            # Celery puts a logger in the place of stderr; this needs the real one.
            faulthandler.dump_traceback_later(2 * seconds, exit=True, file=sys.__stderr__ or sys.stderr)

    def _look(self) -> None:
        while not self._stop.wait(min(LOOK_SECONDS_MAX, self._limit / 4 if self._limit else LOOK_SECONDS_MAX)):
            with self._lock:
                hangs = self._what if self._what and time.monotonic() - self._moved_at > self._limit else ""
            if hangs:
                try:
                    self._on_hang(hangs)
                finally:
                    self._leave(EXIT_HUNG)
                return
