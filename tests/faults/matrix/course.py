"""How many times each row is gone through, and the table that comes out."""

import os
import random
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import cycle, islice
from pathlib import Path
from typing import Any

from tests import migrated, servers
from tests.faults.matrix import outages, remote, rows
from tests.faults.matrix.play import Course, expect
from tests.faults.matrix.rig import standing

Row = Callable[[Course], None]
TEAMS = 24  # the dead keep the places of their teams until they are swept
POINTS = {
    *rows.WORKER_POINTS, *rows.SUBMIT_POINTS, *rows.STOP_POINTS, *rows.OTHER_POINTS,
    *remote.REMOTE_POINTS, remote.WEBHOOK_POINT,
}  # fmt: skip


@dataclass(frozen=True)
class Amounts:
    """How often each kind of row is gone through."""

    kills: int
    pauses: int
    redis_wipes: int
    postgres_stops: int
    restarts: int
    others: int  # of each row that is not counted by its kind
    at_once: int  # processes that are armed side by side


SHORT = Amounts(kills=60, pauses=12, redis_wipes=2, postgres_stops=1, restarts=2, others=1, at_once=8)
LONG = Amounts(kills=2000, pauses=300, redis_wipes=100, postgres_stops=50, restarts=50, others=15, at_once=16)


@contextmanager
def prepared(seed: int) -> Iterator[Course]:
    """A standing rig with teams. Its folder stays behind when something went wrong."""
    if not os.environ.get("DATABASE_URL"):
        servers.export_environment()
    with tempfile.TemporaryDirectory(prefix="tenkaigen-matrix-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)  # the servers run as another user
        with standing(Path(folder)) as rig:
            migrated.pour(os.environ["DATABASE_URL"], rig.postgres.server.url)
            yield Course(rig, random.Random(seed), rig.ask("prepare", teams=TEAMS))


def plan(amounts: Amounts, luck: random.Random) -> list[tuple[str, Row]]:
    """Every row of a run by name, in the order of its seed."""
    planned = [row for number in range(amounts.others) for row in _once(is_with_long_waits=number < 5)]
    around_submit = max(amounts.kills // 10, len(rows.SUBMIT_POINTS))
    # A poisoned job takes two of the others' kills, besides one each of cancel, sweepers and webhook.
    at_worker = amounts.kills - around_submit - amounts.others * (5 + len(remote.REMOTE_POINTS))
    for name, row, points, number in (
        ("submits killed", rows.submits_killed, rows.SUBMIT_POINTS, around_submit),
        ("workers killed", rows.workers_killed, rows.WORKER_POINTS, at_worker),
        ("workers paused", rows.workers_paused, rows.STOP_POINTS, amounts.pauses),
    ):
        planned += [(name, partial(row, points=group)) for group in _groups(points, number, amounts.at_once)]
    planned += [
        ("redis wiped", partial(outages.redis_wiped, is_killed=number % 2 == 1))
        for number in range(amounts.redis_wipes)
    ]
    planned += [("postgres stopped", outages.postgres_stopped)] * amounts.postgres_stops
    planned += [("rolling restart", outages.rolled_over)] * amounts.restarts
    luck.shuffle(planned)
    return planned


def _once(*, is_with_long_waits: bool) -> list[tuple[str, Row]]:
    """One of each family that is not counted."""
    planned: list[tuple[str, Row]] = [
        ("poisoned job", rows.poisoned),
        ("cancel killed", rows.cancel_killed),
        ("two sweepers", rows.sweepers_meet),
        ("session cut", rows.connection_cut),
        ("canceled while finishing", rows.canceled_while_finishing),
        ("clocks differ", outages.clocks_differ),
        ("bucket breaks", outages.bucket_breaks),
        ("bucket away", outages.bucket_away),
        ("remote killed", partial(remote.remote_killed, points=list(remote.REMOTE_POINTS))),
        ("orders lost", remote.orders_lost),
        ("webhooks astray", remote.webhooks_astray),
        ("provider silent", remote.provider_silent),
    ]
    planned += [
        ("zombie wakes early", partial(rows.zombie_wakes_early, point=point))
        for point in ("draw.done", "post.after_put")
    ]
    return planned + ([("redis half open", outages.redis_half_open)] if is_with_long_waits else [])


def _groups(points: Sequence[str], number: int, at_once: int) -> list[list[str]]:
    """So many points, each as often as the others, and as many side by side as may be."""
    wanted = list(islice(cycle(points), number))
    return [wanted[first : first + at_once] for first in range(0, number, at_once)]


def run(
    amounts: Amounts, seed: int, say: Callable[[str], None] = lambda line: None, *, minutes_max: float = 0
) -> dict[str, Any]:
    """Go through the matrix, and begin no row after `minutes_max`. The totals, with everything that must be 0.

    Raises:
        MatrixError: a row or an invariant did not hold.
    """
    began = time.monotonic()
    with prepared(seed) as course:
        planned = plan(amounts, course.luck)
        say(f"{len(planned)} rows, ready after {time.monotonic() - began:.0f} s")
        done = 0
        for name, row in planned:
            if minutes_max and time.monotonic() - began > minutes_max * 60:
                break
            started, done = time.monotonic(), done + 1
            row(course)
            if done % 10 == 0 or amounts is SHORT:
                course.look()
            now = time.monotonic()
            say(f"{done}/{len(planned)} {name} {now - started:.1f} s, {now - began:.0f} s in all")
        totals = _totals(course, is_whole=done == len(planned))
        return {"rows": f"{done}/{len(planned)}", **totals, "seconds": round(time.monotonic() - began)}


def _totals(course: Course, *, is_whole: bool) -> dict[str, Any]:
    swept = course.rig.ask("clean")
    seen = course.look(is_final=True)
    missing = POINTS - set(course.rig.failpoints_hit())
    expect(not (is_whole and missing), f"never reached: {sorted(missing)}")
    return {
        **course.broken,
        "failpoints reached": f"{len(POINTS - missing)}/{len(POINTS)}",
        "jobs": seen["jobs"],
        "completed": seen["completed"],
        "images": seen["images"],
        "orphan files swept": swept,
        "jobs lost": seen["lost"],
        "credits lost or made": 0,  # the audit after every row would have stopped the run
        "double charges": seen["charged_twice"],
        "images without file": 0,
        "files without image after the sweep": seen["orphans"],
    }
