"""How many times each row is gone through, and the table that comes out."""

import random
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import cycle, islice
from pathlib import Path
from typing import Any

from tests.faults.matrix import rows
from tests.faults.matrix.rig import standing
from tests.faults.matrix.rows import Course

POINTS_AT_ONCE = 4


@dataclass(frozen=True)
class Amounts:
    """How often each kind of row is gone through."""

    kills: int
    pauses: int
    redis_wipes: int
    postgres_stops: int
    restarts: int


SHORT = Amounts(kills=60, pauses=12, redis_wipes=2, postgres_stops=1, restarts=2)
LONG = Amounts(kills=2000, pauses=300, redis_wipes=100, postgres_stops=50, restarts=50)


@contextmanager
def prepared(seed: int) -> Iterator[Course]:
    """A standing rig with teams. Its folder stays behind when something went wrong."""
    with tempfile.TemporaryDirectory(prefix="tenkaigen-matrix-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)  # the servers run as another user
        with standing(Path(folder)) as rig:
            yield Course(rig, random.Random(seed), rig.ask("prepare", teams=rows.TEAMS))


def plan(amounts: Amounts, luck: random.Random) -> list[tuple[str, Callable[[Course], None]]]:
    """Every row of a run by name, in the order of its seed."""
    around_submit = max(amounts.kills // 10, len(rows.SUBMIT_POINTS))
    others = max(amounts.kills // 60, 1)
    at_worker = max(amounts.kills - around_submit - 4 * others, len(rows.WORKER_POINTS))
    points = list(islice(cycle(rows.WORKER_POINTS), at_worker))
    planned: list[tuple[str, Callable[[Course], None]]] = [
        ("worker killed", partial(rows.worker_killed, points=points[first : first + POINTS_AT_ONCE]))
        for first in range(0, len(points), POINTS_AT_ONCE)
    ]
    planned += [
        ("submit killed", partial(rows.submit_killed, point=point))
        for point in islice(cycle(rows.SUBMIT_POINTS), around_submit)
    ]
    planned += [
        ("worker paused", partial(rows.worker_paused, point=point))
        for point in islice(cycle(rows.STOP_POINTS), amounts.pauses)
    ]
    for number in range(others):
        planned += [("poisoned job", rows.failing_worker_killed), ("cancel killed", rows.cancel_killed)]
        planned += [("two sweepers", rows.sweepers_meet), ("session cut", rows.connection_cut)]
        planned += [
            ("zombie wakes early", partial(rows.zombie_wakes_early, point=point))
            for point in ("draw.done", "post.after_put")
        ]
        planned += [("clocks differ", rows.clocks_differ), ("canceled while finishing", rows.canceled_while_finishing)]
        planned += [("bucket breaks", partial(rows.bucket_breaks, faults=faults)) for faults in rows.S3_FAULTS]
        planned += [("redis half open", rows.redis_half_open)] if number < 5 else []
    planned += [
        ("redis wiped", partial(rows.redis_wiped, is_killed=number % 2 == 1)) for number in range(amounts.redis_wipes)
    ]
    planned += [("postgres stopped", rows.postgres_stopped)] * amounts.postgres_stops
    planned += [("rolling restart", rows.rolled_over)] * amounts.restarts
    luck.shuffle(planned)
    return planned


def run(amounts: Amounts, seed: int, say: Callable[[str], None] = lambda line: None) -> dict[str, Any]:
    """Go through the matrix. The totals, with everything that must be 0.

    Raises:
        MatrixError: a row or an invariant did not hold.
    """
    began = time.monotonic()
    with prepared(seed) as course:
        planned = plan(amounts, course.luck)
        for number, (name, row) in enumerate(planned, start=1):
            row(course)
            if number % 10 == 0 or amounts is SHORT:
                course.look()
            say(f"{number}/{len(planned)} {name} {time.monotonic() - began:.0f} s")
        return _totals(course, time.monotonic() - began)


def _totals(course: Course, seconds: float) -> dict[str, Any]:
    swept = course.rig.ask("clean")
    seen = course.look(is_final=True)
    hit = set(course.rig.failpoints_hit())
    wanted = {*rows.WORKER_POINTS, *rows.SUBMIT_POINTS, *rows.STOP_POINTS}
    wanted |= {"cancel.before_commit", "fail.before_commit", "recover.before_commit"}
    rows.expect(wanted <= hit, f"never reached: {sorted(wanted - hit)}")
    return {
        **course.broken,
        "jobs": seen["jobs"],
        "completed": seen["completed"],
        "images": seen["images"],
        "orphan files swept": swept,
        "jobs lost": seen["lost"],
        "credits lost or made": 0,  # the audit after every row would have stopped the run
        "double charges": seen["charged_twice"],
        "images without file": 0,
        "files without image after the sweep": seen["orphans"],
        "seconds": round(seconds),
    }
