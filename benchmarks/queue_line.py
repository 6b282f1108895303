"""The line under load: a claim among 100,000 queued jobs of 500 teams, a submit behind them, and one team's flood.

    python benchmarks/queue_line.py [--jobs 100000] [--teams 500] [--claims 400]

Rows read are PostgreSQL's own count of the claim's transaction (`pg_stat_xact_user_tables`: rows fetched by index and
by scan, of the job and slot tables). Every team has as many ended jobs as waiting ones. The hard cases are counted: a
worker for whose model nobody asks, and a line in which every team runs as many jobs as it may. The flood is played with
job times of one: a team with a queue, and another whose first job comes at each tenth of a job time, while the worker
has claimed the next batch ahead.
"""

from __future__ import annotations

import statistics
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.support import figures, site

CLAIM_P95_MS_MAX = 10.0
ROWS_PER_TEAM_MAX = 2.0
JOB_TIMES_MAX = 2.0
TABLES = ("generation_job", "generation_teamslot")
READ = """
SELECT coalesce(sum(seq_tup_read + coalesce(idx_tup_fetch, 0)), 0)
FROM pg_stat_xact_user_tables WHERE relname = ANY(%s)
"""
FILL = """
INSERT INTO generation_job (id, team_id, user_id, kind, request_key, request_fingerprint, prompt, expanded_prompt,
    negative_prompt, expander, style, franchise, product, model, model_revision, width, height, quality, count, seed,
    num_inference_steps, guidance_scale, quote, charged_centi, status, attempts, fence, worker, failure, failure_code,
    metadata, stored_bytes, batch_key, is_quarantined, plan, finished_at, run_after, created_at)
SELECT gen_random_uuid(), t.team_id, t.user_id, 'image', %(status)s || n, 'x', %(prompt)s, %(prompt)s, '', 'local', '',
    '', '', 'starter', '', 512, 512, 'standard', 1, n, 8, 0, '{"unit_centi": 600, "count": 1}', 0, %(status)s, 0, 0, '',
    '', '', '{}', 0, 'starter 512 ' || n %% 3, false, 'free', %(finished)s,
    now() - make_interval(secs => (%(jobs)s - n) / 10.0), now() - make_interval(secs => (%(jobs)s - n) / 10.0)
FROM generate_series(1, %(jobs)s) AS n
JOIN (
    SELECT team_id, user_id, row_number() OVER (ORDER BY team_id) - 1 AS number FROM accounts_membership
) t ON t.number = n %% %(teams)s
"""


def main() -> int:
    parser = figures.arguments(__doc__)
    parser.add_argument("--jobs", type=int, default=100_000)
    parser.add_argument("--teams", type=int, default=500)
    parser.add_argument("--claims", type=int, default=400)
    options = parser.parse_args()
    if options.quick:
        options.jobs, options.teams, options.claims = 2_000, 40, 20
    report = figures.Report(f"the line: {options.jobs} queued jobs of {options.teams} teams")
    with site.scratch():
        fill(options.jobs, options.teams)
        measure_claims(report, options.claims, options.teams)
        measure_hard_cases(report, options.teams)
        measure_others(report, options.teams)
        empty()
        play_flood(report)
    return report.end(is_strict=options.strict)


def fill(jobs: int, teams: int) -> None:
    """Queue jobs as rows; what they cost is not what is measured here."""
    from django.db import connection

    from generation import slots
    from tests.factories import make_user

    for _ in range(teams):
        make_user(password=None)
    with connection.cursor() as cursor:
        cursor.execute("SET statement_timeout = '10min'")
        facts = {"jobs": jobs, "teams": teams, "prompt": "a red fox by a lake, " * 20}
        cursor.execute(FILL, facts | {"status": "completed", "finished": datetime.now(UTC)})
        cursor.execute(FILL, facts | {"status": "queued", "finished": None})
        while slots.repair():
            pass
        cursor.execute("UPDATE generation_teamslot SET jobs_max = 3")
        cursor.execute("VACUUM ANALYZE generation_job, generation_teamslot")


def claim(images: int = 1, model: str = "starter") -> tuple[float, int, list]:
    """One claim: its milliseconds, the rows it read, and its jobs."""
    from django.db import connection, transaction

    from generation import transitions

    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(READ, [list(TABLES)])
        before = cursor.fetchone()[0]
        jobs = transitions.claim(worker="benchmark", models=[model], images_max=lambda job: images)
        cursor.execute(READ, [list(TABLES)])
        rows = int(cursor.fetchone()[0] - before)
        transaction.set_rollback(True)
    began = time.perf_counter()
    jobs = transitions.claim(worker="benchmark", models=[model], images_max=lambda job: images)
    return (time.perf_counter() - began) * 1000, rows, jobs


def measure_claims(report: figures.Report, claims: int, teams: int) -> None:
    """Claims of one image and of a batch in turns; every claimed job ends, as one that is drawn does."""
    found: dict[int, list[tuple[float, int]]] = {1: [], 4: []}
    bare: list[float] = []
    finish()
    for number in range(claims + 20):
        for images, figure in found.items():
            milliseconds, rows, jobs = claim(images)
            assert len(jobs) == images, "nothing was claimed: the run is void"
            finish()
            if number >= 20:
                figure.append((milliseconds, rows))
        bare.append(round_trips())
    report.show("a transaction of four statements that read nothing", bare, "ms")
    for images, figure in found.items():
        milliseconds, rows = [pair[0] for pair in figure], [pair[1] for pair in figure]
        p95 = statistics.quantiles(milliseconds, n=20)[-1]
        report.show(f"claim of {images}, committed", milliseconds, "ms")
        report.hold(f"claim of {images}, 95th percentile in ms", [p95], at_most=CLAIM_P95_MS_MAX)
        report.hold(f"claim of {images}, rows read a team", [max(rows) / teams], at_most=ROWS_PER_TEAM_MAX)


def round_trips() -> float:
    """What the machine takes for as many statements as a claim of one has, with nothing to do in them."""
    from django.db import connection, transaction

    began = time.perf_counter()
    with transaction.atomic(), connection.cursor() as cursor:
        for _ in range(4):
            cursor.execute("SELECT 1")
    return (time.perf_counter() - began) * 1000


def measure_hard_cases(report: figures.Report, teams: int) -> None:
    """What reads the most: every team in line is asked, and none has anything to start."""
    from django.db import connection

    found = [claim(model="sd15") for _ in range(10)]
    assert not any(jobs for _, _, jobs in found)
    report.show("claim for a model nobody asks for", [each[0] for each in found], "ms")
    report.hold("the same, rows read a team", [max(each[1] for each in found) / teams], at_most=2 * ROWS_PER_TEAM_MAX)
    with connection.cursor() as cursor:
        cursor.execute("UPDATE generation_teamslot SET jobs_max = 1")
        cursor.execute(
            "UPDATE generation_job SET status = 'processing', lease_until = now() + interval '1 h', claimed_at = now()"
            " WHERE id IN (SELECT DISTINCT ON (team_id) id FROM generation_job WHERE status = 'queued')"
        )
        cursor.execute("VACUUM ANALYZE generation_job, generation_teamslot")
    found = [claim() for _ in range(10)]
    assert not any(jobs for _, _, jobs in found)
    report.show("claim where every team runs all it may", [each[0] for each in found], "ms")
    finish()


def measure_others(report: figures.Report, teams: int) -> None:
    """What else touches the line: its end for somebody new, a place that is counted, and a sweep's places."""
    from generation import rates, sweeper, waits
    from generation.models import Job
    from tests.factories import allow, make_job, make_user

    somebody = make_user(credits=1000)
    allow(somebody, 1)
    waiting = iter(Job.objects.filter(status="queued").order_by("?")[:100])
    found: figures.Runs = {
        "submit": figures.timed(lambda: make_job(somebody)),
        "place of a job": figures.timed(lambda: waits.place_of(next(waiting))),
        "places told by a sweep": figures.timed(sweeper.tell_positions),
        "length of the queue, counted": figures.timed(lambda: Job.objects.filter(status="queued").count()),
        "length of the queue, as submit asks": figures.timed(rates.queue_length),
    }
    for name, values in figures.interleave(found, 10).items():
        report.show(name, [1000 * value for value in values], "ms")


def finish() -> None:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE generation_job SET status = 'canceled', lease_until = NULL, finished_at = now()"
            " WHERE status = 'processing'"
        )


def empty() -> None:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE generation_job, generation_teamslot CASCADE")


def play_flood(report: figures.Report) -> None:
    """One device that claims a batch ahead, and job times of one. The other team comes at every tenth of a job time."""
    from tests.factories import allow, make_job, make_user

    flooder = make_user(credits=10_000)
    allow(flooder, 3)
    waited = []
    for tenth in range(10):
        for _ in range(5):
            make_job(flooder)
        drawing, ahead = claim_one(), claim_one()
        newcomer = make_job(make_user(credits=100))
        clock = tenth / 10  # where the device is in its current job when the other team submits
        now = 1.0
        end(drawing)
        while True:
            drawing, ahead = ahead, claim_one()
            if drawing == newcomer:
                break
            end(drawing)
            now += 1.0
        waited.append(now - clock)
        end(drawing), end(ahead)
    report.hold("first job of another team behind a flood, in job times", [max(waited)], at_most=JOB_TIMES_MAX)


def claim_one():  # type: ignore[no-untyped-def]
    from generation import transitions

    (job,) = transitions.claim(worker="benchmark", models=["starter"], images_max=lambda job: 1)
    return job


def end(job) -> None:  # type: ignore[no-untyped-def]
    from generation.models import Job

    Job.objects.filter(id=job.id).update(status="canceled", lease_until=None, finished_at=job.claimed_at)


if __name__ == "__main__":
    sys.exit(main())
