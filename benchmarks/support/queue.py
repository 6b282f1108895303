"""A queue for a worker in this process: somebody who may run many jobs, jobs that share no batch, a sleeping device."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from generation.engine import Batch

_seeds = itertools.count()


def person(jobs_at_a_time: int = 500) -> Any:
    """Somebody with credits whose plan lets so many jobs run at a time."""
    from tests.factories import allow, make_user

    user = make_user(credits=1_000_000)
    allow(user, jobs_at_a_time, queue_cap=10_000)
    return user


def fill(user: Any, count: int, **fields: Any) -> list[Any]:
    """Jobs that share no batch: each has a guidance of its own."""
    from tests.factories import make_job

    return [
        make_job(user, seed=next(_seeds), **{"guidance_scale": 4 + place / 100, **fields}) for place in range(count)
    ]


@contextmanager
def worker(engine: Any, *models: str) -> Iterator[Any]:
    from generation.worker import Worker

    made = Worker(engine, models=models or ["starter"])
    made.start()
    try:
        yield made
    finally:
        made.stop()


def draw_all(made: Any, count: int) -> None:
    """Draw what is queued and wait until it is delivered. A run in which a job failed is void."""
    from generation.models import Job

    drawn = 0
    while drawn < count:
        now = made.drain()
        assert now, f"{drawn} of {count} jobs drawn: the run is void"
        drawn += now
    made.wait_for_post_stage()
    assert not Job.objects.exclude(status="completed").exists(), "not every job was completed: the run is void"


def bare(engine: Any, batches: Sequence[Batch]) -> None:
    for batch in batches:
        engine.generate(batch, lambda step: None)


def gaps(calls: Sequence[tuple[float, float]]) -> list[float]:
    """Seconds from the end of each call to the begin of the next."""
    return [after[0] - before[1] for before, after in itertools.pairwise(calls)]


def percentile(values: Sequence[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


@contextmanager
def slow_store(seconds: float) -> Iterator[None]:
    """Every file takes so long to store, without the processor, as over a network."""
    import time

    from django.core.files.storage import default_storage

    save: Callable[..., Any] = default_storage.save

    def slow(name: str, content: Any) -> Any:
        time.sleep(seconds)
        return save(name, content)

    default_storage.save = slow  # type: ignore[method-assign]
    try:
        yield
    finally:
        default_storage.save = save  # type: ignore[method-assign]
