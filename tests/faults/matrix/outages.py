"""Rows of the matrix about what the product stands on: the bucket, Redis, PostgreSQL, clocks, deploys."""

import signal
import time
from collections.abc import Callable

from tests import s3_shim
from tests.faults.matrix.play import PATIENT, Course, expect
from tests.faults.matrix.rig import WAIT_SECONDS_MAX, wait_until

# What a bucket does to one request: refuses, keeps and reports an error, says nothing, cuts the upload.
S3_FAULTS: tuple[tuple[Callable[..., None], ...], ...] = (
    (s3_shim.answer(503), s3_shim.answer(503)),
    (s3_shim.store_then_answer(500),),
    (s3_shim.stall,),
    (s3_shim.cut_upload(64), s3_shim.answer(503)),
)
S3_AWAY = (s3_shim.answer(503),) * 30  # longer than all attempts


def bucket_breaks(course: Course) -> None:
    """Rows 16 to 18: the store refuses, keeps and complains, hangs, or cuts an upload; nobody must notice."""
    for faults in S3_FAULTS:
        course.rig.shim.break_next("PUT", *faults)
        course.broken["bucket faults"] += len(faults)
    course.finish(course.submit_all(len(S3_FAULTS), count=1))
    left = course.rig.shim.next_fault("PUT")
    expect(left is None, "the bucket was not asked often enough")


def bucket_away(course: Course) -> None:
    """Row 19: an outage that outlives every attempt ends in a refund, or in pictures if it just did not."""
    course.rig.shim.break_next("PUT", *S3_AWAY)
    course.finish([course.submit(count=1)], statuses=["completed", "failed"])
    course.rig.shim.faults.clear()
    course.broken["bucket faults"] += len(S3_AWAY)


def redis_wiped(course: Course, *, is_killed: bool = False) -> None:
    """Rows 4 and 23: Redis forgets everything, or dies and comes back empty, under load."""
    workers = [course.rig.begin("worker", step_seconds=0.01, **PATIENT) for _ in range(2)]
    jobs = [course.submit()]
    if is_killed:
        course.rig.valkey.stop(signal.SIGKILL)
        jobs.append(course.submit())
        course.rig.valkey.start()
    else:
        course.rig.redis_proxy.reset()
        course.rig.valkey.stop(signal.SIGTERM)
        course.rig.valkey.start()
    jobs.append(course.submit())
    found = course.rig.ask("wait", jobs=jobs, seconds=WAIT_SECONDS_MAX)
    for child in workers:
        course.stop(child)
    expect(set(found.values()) == {"completed"}, f"{found}")
    course.broken["redis wipes"] += 1


def redis_half_open(course: Course) -> None:
    """Row 23: the network to Redis swallows everything; submit answers, the job is drawn."""
    course.rig.redis_proxy.freeze()
    try:
        job = course.submit()
        worker = course.rig.begin("worker", **PATIENT)
        found = course.rig.ask("wait", jobs=[job], seconds=WAIT_SECONDS_MAX)
    finally:
        course.rig.redis_proxy.thaw()
    course.stop(worker)
    expect(found == {job: "completed"}, f"{found}")
    course.broken["redis half open"] += 1


def postgres_stopped(course: Course) -> None:
    """Row 21: PostgreSQL dies at once under load and comes back: every answered submit is there and ends."""
    workers = [course.rig.begin("worker", step_seconds=0.01, **PATIENT) for _ in range(2)]
    sweep = course.rig.begin("sweep", **PATIENT)
    jobs = course.submit_all(4)
    time.sleep(course.luck.uniform(0, 0.2))
    course.rig.postgres.stop(signal.SIGQUIT)
    course.rig.postgres.start()
    jobs.append(course.submit())
    found = course.rig.ask("wait", jobs=jobs, seconds=WAIT_SECONDS_MAX)
    for child in workers:
        course.stop(child)
    course.stop(sweep, signal.SIGKILL)
    course.broken["postgres stops"] += 1
    expect(set(found.values()) <= {"completed"} and len(found) == len(jobs), f"{found}")


def rolled_over(course: Course) -> None:
    """Row 31: a deploy ends a worker in mid picture; another goes on at once and no attempt is counted."""
    job = course.submit(num_inference_steps=8, count=1)
    old = course.rig.begin("worker", step_seconds=0.05)
    wait_until(lambda: course.rig.ask("facts", job=job)["status"] == "processing", "nobody claimed")
    course.stop(old)
    facts = course.rig.ask("facts", job=job)
    expect(facts["status"] == "completed" or facts["attempts"] == 0, f"a deploy cost an attempt: {facts}")
    course.finish([job])
    course.broken["rolling restarts"] += 1


def clocks_differ(course: Course) -> None:
    """Row 33: a worker whose clock is two hours ahead or behind draws like any other."""
    for hours in (2, -2):
        job = course.submit()
        worker = course.rig.begin("worker", skew=hours * 3600.0)
        found = course.rig.ask("wait", jobs=[job], seconds=WAIT_SECONDS_MAX)
        course.stop(worker)
        expect(found == {job: "completed"}, f"{found}")
        expect(course.rig.ask("facts", job=job)["attempts"] == 1, "a clock cost an attempt")
    course.broken["skewed clocks"] += 2
