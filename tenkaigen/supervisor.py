"""Keeps a handful of programs running, each on its own: one death never stops the others.

Runs in one thread. The owner calls `run_until` (or `run`), which passes output on, restarts what died and
comes back when its condition holds or a signal asked for the end; then the owner calls `stop`.
"""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import IO

from tenkaigen.processes import Account, Roster, signal_group, spawn

TICK_SECONDS = 0.2
BACKOFF_SECONDS_MIN = 1.0
BACKOFF_SECONDS_MAX = 30.0
HEALTHY_SECONDS = 60.0  # a program that lived this long starts again without its old back-off
GRACE_SECONDS = 10.0
LOG_BYTES_MAX = 20_000_000
LOG_FILES_KEPT = 3
CHUNK_BYTES = 65_536
CHUNKS_MAX = 16


@dataclass(frozen=True)
class Program:
    """What to run and how to end it."""

    name: str
    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    cwd: Path = field(default_factory=Path.cwd)
    account: Account | None = None
    stop_signal: int = signal.SIGTERM
    orphan_signal: int = signal.SIGKILL  # sent by the kernel when the supervisor itself is killed
    group_stop: bool = True  # False: the stop signal is for the leader alone, who ends its own children
    is_echoed: bool = True  # False: its output only goes to the log file
    is_service: bool = True  # False: runs once, its exit code stays in `Supervisor.exit_code`
    before_start: Callable[[], None] = lambda: None


class _Child:
    """One program and its present process, if it has one."""

    def __init__(self, program: Program, log_path: Path) -> None:
        self.program = program
        self.log = RotatingLog(log_path)
        self.process: subprocess.Popen[bytes] | None = None
        self.exit_code: int | None = None
        self.started = 0.0
        self.restart_at: float | None = None
        self.backoff_seconds = BACKOFF_SECONDS_MIN
        self.partial_line = b""

    def plan_restart(self, now: float) -> float:
        """Set the moment of the next start and return the seconds until then."""
        if now - self.started >= HEALTHY_SECONDS:
            self.backoff_seconds = BACKOFF_SECONDS_MIN
        pause = self.backoff_seconds
        self.restart_at = now + pause
        self.backoff_seconds = min(2 * pause, BACKOFF_SECONDS_MAX)
        return pause


class RotatingLog:
    """A log file that starts fresh with every run; the last few stay beside it as .1, .2, .3."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = self._rotate()

    def write(self, line: bytes) -> None:
        if self._file.tell() > LOG_BYTES_MAX:
            self._file.close()
            self._file = self._rotate()
        with suppress(OSError):  # a full disk must not take the supervisor down with it
            self._file.write(line + b"\n")
            self._file.flush()

    def close(self) -> None:
        self._file.close()

    def _rotate(self) -> IO[bytes]:
        for number in range(LOG_FILES_KEPT, 0, -1):
            older = self._path.with_name(f"{self._path.name}.{number - 1}") if number > 1 else self._path
            if older.exists():
                older.replace(self._path.with_name(f"{self._path.name}.{number}"))
        return self._path.open("wb")


class Supervisor:
    """Owns its programs' processes from `start` to `stop`."""

    def __init__(self, *, run_dir: Path, log_dir: Path, out: IO[str] | None = None) -> None:
        run_dir.mkdir(parents=True, exist_ok=True)
        log_dir.mkdir(parents=True, exist_ok=True)
        self._log_dir = log_dir
        self._out = out or sys.stdout
        self._roster = Roster(run_dir / "processes.json")
        self._children: dict[str, _Child] = {}
        self._selector = selectors.DefaultSelector()
        self._signals = 0

    def end_strays(self) -> None:
        """End what a killed supervisor of this folder left running. Call it before the first `start`."""
        for name in self._roster.end_strays():
            self.say(f"ended {name}, left behind by an earlier run")

    def heed_signals(self) -> None:
        """Let Ctrl-C, SIGTERM and a closed terminal end `run_until`; a second one ends the patience of `stop`."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._on_signal)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._signals += 1

    @property
    def is_stopping(self) -> bool:
        return self._signals > 0

    def start(self, *programs: Program) -> None:
        for program in programs:
            child = _Child(program, self._log_dir / f"{program.name}.log")
            self._children[program.name] = child
            self._spawn(child)

    def is_running(self, name: str) -> bool:
        child = self._children.get(name)
        return child is not None and child.process is not None

    def pid(self, name: str) -> int | None:
        process = self._children[name].process
        return process.pid if process else None

    def exit_code(self, name: str) -> int | None:
        """The exit code of a program that is no service, None while it runs."""
        return self._children[name].exit_code

    def run(self) -> None:
        """Keep everything running until a signal says stop."""
        self.run_until(lambda: False)

    def run_until(self, condition: Callable[[], bool], *, seconds: float = float("inf")) -> bool:
        """Keep everything running until `condition` holds: True; a signal or `seconds` came first: False."""
        deadline = time.monotonic() + seconds
        while not self.is_stopping:
            if condition():
                return True
            if time.monotonic() > deadline:
                return False
            self._tick()
            self._restart_due()
        return False

    def stop(self, *names: str) -> None:
        """End these programs (all without names), all at once: first asked, after the grace period killed."""
        leaving = [child for name, child in self._children.items() if not names or name in names]
        for child in leaving:
            child.restart_at = None
            if child.process is not None:
                self._ask_to_stop(child)
        deadline = time.monotonic() + GRACE_SECONDS
        while any(child.process for child in leaving) and time.monotonic() < deadline and self._signals < 2:
            self._tick(is_stopping=True)
        for child in leaving:
            if child.process is not None:
                self.say(f"{child.program.name} did not stop and is killed")
                signal_group(child.process.pid, signal.SIGKILL)
                child.process.wait()
                self._bury(child)
            child.log.close()
            del self._children[child.program.name]

    def say(self, line: str) -> None:
        self._print("tenkaigen", line)

    def _spawn(self, child: _Child) -> None:
        program = child.program
        child.restart_at = None
        child.started = time.monotonic()
        try:
            program.before_start()
            child.process = spawn(
                program.argv,
                output=subprocess.PIPE,
                env=program.env,
                cwd=program.cwd,
                account=program.account,
                orphan_signal=program.orphan_signal,
            )
        except OSError as error:
            self._after_death(child, f"could not be started: {error}")
            return
        assert child.process.stdout is not None
        os.set_blocking(child.process.stdout.fileno(), False)
        self._selector.register(child.process.stdout, selectors.EVENT_READ, child)
        self._roster.add(program.name, child.process.pid)

    def _ask_to_stop(self, child: _Child) -> None:
        assert child.process is not None
        if child.program.group_stop:
            signal_group(child.process.pid, child.program.stop_signal)
        else:
            child.process.send_signal(child.program.stop_signal)

    def _tick(self, *, is_stopping: bool = False) -> None:
        """Wait a moment for output, pass it on, and notice who died."""
        if self._selector.get_map():
            for key, _ in self._selector.select(TICK_SECONDS):
                self._pass_on(key.data)
        else:
            time.sleep(TICK_SECONDS)
        for child in self._children.values():
            if child.process is not None and child.process.poll() is not None:
                code = self._bury(child)
                if not is_stopping:
                    self._after_death(child, f"ended with code {code}")

    def _restart_due(self) -> None:
        for child in self._children.values():
            if child.restart_at is not None and time.monotonic() >= child.restart_at:
                self._spawn(child)

    def _after_death(self, child: _Child, what: str) -> None:
        if child.program.is_service:
            pause = child.plan_restart(time.monotonic())
            self.say(f"{child.program.name} {what}; starting it again in {pause:.0f} s")
        elif child.exit_code is None:
            self.say(f"{child.program.name} {what}")
            child.exit_code = 1

    def _bury(self, child: _Child) -> int:
        """Take leave of a dead process: last words, its orphans, its place in the roster."""
        process = child.process
        assert process is not None and process.stdout is not None
        # What the leader started must not hold its port or its job while the next one starts.
        signal_group(process.pid, signal.SIGKILL)
        self._pass_on(child)
        if child.partial_line:
            self._print_line(child, child.partial_line)
            child.partial_line = b""
        if process.stdout in self._selector.get_map():
            self._selector.unregister(process.stdout)
        process.stdout.close()
        self._roster.remove(child.program.name)
        child.process = None
        child.exit_code = process.returncode
        return int(process.returncode)

    def _pass_on(self, child: _Child) -> None:
        assert child.process is not None and child.process.stdout is not None
        pipe = child.process.stdout
        for _ in range(CHUNKS_MAX):  # a program that never pauses must not hold up the others
            try:
                chunk = os.read(pipe.fileno(), CHUNK_BYTES)
            except BlockingIOError:
                return
            if not chunk:  # it closed its output; `poll` says when it is gone
                if pipe in self._selector.get_map():
                    self._selector.unregister(pipe)
                return
            *lines, child.partial_line = (child.partial_line + chunk).split(b"\n")
            for line in lines:
                self._print_line(child, line)

    def _print_line(self, child: _Child, line: bytes) -> None:
        child.log.write(line)
        if child.program.is_echoed:
            self._print(child.program.name, line.decode(errors="replace"))

    def _print(self, name: str, line: str) -> None:
        with suppress(OSError):  # the terminal may be gone; the log files have it
            print(f"{name:<9} | {line}", file=self._out, flush=True)
