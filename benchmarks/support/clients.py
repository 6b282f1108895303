"""Client processes that stay for a whole benchmark: each has its own connection, so that no start is ever timed."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any

Work = Callable[..., object]


@dataclass(frozen=True)
class Rate:
    """What the clients did together, and what it cost their processors."""

    per_second: float
    cpu_ms: float  # of a client, for one unit


class Clients:
    """Clients that do the same kind of work at the same time, when told."""

    def __init__(self, ends: list[Connection]) -> None:
        self._ends = ends

    def rate(self, name: str, seconds: float, **arguments: Any) -> Rate:
        """Repeat the work of this name for so long in every client. Raises: AssertionError, when one failed."""
        for end in self._ends:
            end.send((name, seconds, arguments))
        answers = [end.recv() for end in self._ends]
        broken = [answer for answer in answers if isinstance(answer, str)]
        assert not broken, broken
        units = sum(answer[0] for answer in answers)
        return Rate(sum(count / took for count, took, _ in answers), 1000 * sum(cpu for *_, cpu in answers) / units)


@contextmanager
def clients(count: int, work: Mapping[str, Work]) -> Iterator[Clients]:
    """So many processes that know this work by name. Open connections of this process are closed first."""
    from django.db import connections

    connections.close_all()  # a connection in two processes is none
    context = get_context("fork")
    pairs = [context.Pipe() for _ in range(count)]
    processes = [context.Process(target=_serve, args=(theirs, work), daemon=True) for _, theirs in pairs]
    for process in processes:
        process.start()
    try:
        yield Clients([ours for ours, _ in pairs])
    finally:
        for ours, _ in pairs:
            ours.send(None)
        for process in processes:
            process.join(timeout=30)


def _serve(end: Connection, work: Mapping[str, Work]) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # what the parent cleans up is not ours to clean
    while order := end.recv():
        name, seconds, arguments = order
        try:
            end.send(_repeat(work[name], seconds, arguments))
        except Exception as error:
            end.send(f"{name}: {type(error).__name__}: {error}")


def _repeat(unit: Work, seconds: float, arguments: dict[str, Any]) -> tuple[int, float, float]:
    count, began, cpu = 0, time.perf_counter(), time.process_time()
    while (took := time.perf_counter() - began) < seconds:
        unit(**arguments)
        count += 1
    return count, took, time.process_time() - cpu
