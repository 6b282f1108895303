"""The rows of the matrix: what is broken, when, and what must follow besides the invariants."""

import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from tests import s3_shim
from tests.faults.matrix.rig import Child, MatrixError, Rig, wait_until

TEAMS = 6
WORKER_POINTS = (
    "claim.before_commit", "claim.after_commit", "draw.step", "draw.done", "post.before_put", "post.after_put",
    "settle.after_entries", "finish.after_images", "finish.after_settle", "finish.after_commit",
)  # fmt: skip
SUBMIT_POINTS = ("reserve.after_entries", "submit.before_commit", "submit.after_commit", "submit.after_ring")
STOP_POINTS = ("draw.step", "draw.done", "post.after_put", "finish.after_images", "finish.after_settle")
JOBS_EACH = 2
MORE_JOBS_MAX = 10
# What a bucket does to one request: refuses, keeps and reports an error, says nothing, cuts the upload.
S3_FAULTS: tuple[tuple[Callable[..., None], ...], ...] = (
    (s3_shim.answer(503), s3_shim.answer(503)),
    (s3_shim.store_then_answer(500),),
    (s3_shim.stall,),
    (s3_shim.cut_upload(64), s3_shim.answer(503)),
    (s3_shim.answer(503),) * 30,  # longer than all attempts
)


@dataclass
class Course:
    """One run of the matrix: its luck, its teams, and what it has broken so far."""

    rig: Rig
    luck: random.Random
    teams: list[dict[str, str]]
    broken: Counter[str] = field(default_factory=Counter)

    def submit(self, **body: Any) -> str:
        """A job, accepted. Distinct steps keep jobs out of each other's batches."""
        return self.submit_all(1, **body)[0]

    def submit_all(self, number: int, **body: Any) -> list[str]:
        """Several jobs, accepted."""
        asked = [
            {"num_inference_steps": self.luck.randint(2, 8), "count": self.luck.randint(1, 2), **body}
            | {"key": self.team()["key"], "request_key": uuid4().hex}
            for _ in range(number)
        ]
        answers = self.rig.ask("submit_all", asked=asked)
        expect(all(answer["status"] == 202 for answer in answers), f"submit answered {answers}")
        return [str(answer["job"]) for answer in answers]

    def team(self) -> dict[str, str]:
        return self.luck.choice(self.teams)

    def finish(self, jobs: list[str], *, workers: int = 1, statuses: Collection[str] = ("completed",)) -> None:
        """Let healthy processes end the jobs, each with one of `statuses`."""
        sweep = self.rig.begin("sweep", seconds=60)
        healthy = [self.rig.begin("worker", seconds=60, is_endless=True) for _ in range(workers)]
        found = self.rig.ask("wait", jobs=jobs, seconds=45)
        for child in healthy:
            self.stop(child)
        sweep.send(signal.SIGKILL)
        self.rig.end(sweep)
        wrong = [self.rig.ask("facts", job=job) for job in jobs if found.get(job) not in statuses]
        expect(not wrong, f"not {statuses}: {wrong}")

    def stop(self, child: Child) -> None:
        child.send(signal.SIGTERM)
        self.rig.end(child)

    def look(self, *, is_final: bool = False) -> dict[str, Any]:
        """Check every invariant."""
        seen = self.rig.ask("look", is_final=is_final)
        expect(not seen["violations"] and not seen["charged_twice"], f"{seen}")
        return dict(seen)


def expect(holds: object, otherwise: str) -> None:
    if not holds:
        raise MatrixError(otherwise)


def killed(course: Course, child: Child, point: str) -> None:
    code = course.rig.end(child)
    expect(code == -signal.SIGKILL, f"{point} was not reached: {child.role} ended with {code}: {course.rig.log_tail()}")
    course.broken["kills"] += 1


def worker_killed(course: Course, points: list[str]) -> None:
    """Rows 6 to 11: SIGKILL at named places of claim, drawing, storing and finishing."""
    jobs = course.submit_all(JOBS_EACH * len(points))
    armed = [(point, course.rig.begin("worker", f"{point}=kill", seconds=30, is_endless=True)) for point in points]
    for point, child in armed:
        # A quick worker may have taken what was meant for this one, the next batch included.
        for _ in range(MORE_JOBS_MAX):
            if course.rig.has_ended(child, seconds=2):
                break
            jobs += course.submit_all(2)
        killed(course, child, point)
    course.finish(jobs)


def failing_worker_killed(course: Course) -> None:
    """A worker that dies while it gives a failed job up, and a sweeper that dies while it takes one back."""
    job = course.submit()
    for attempt in range(3):
        child = course.rig.begin("worker", seconds=30, is_killing=True)
        expect(course.rig.end(child) == -signal.SIGSEGV, "the poisoned worker lived")
        if attempt == 2:
            time.sleep(1.8)  # the lease runs out
            sweeper = course.rig.begin("sweep", "recover.before_commit=kill", seconds=30)
            killed(course, sweeper, "recover.before_commit")
            sweeper = course.rig.begin("sweep", "fail.before_commit=kill", seconds=30)
            killed(course, sweeper, "fail.before_commit")
        else:
            sweeper = course.rig.begin("sweep", seconds=2.2)
            course.rig.end(sweeper)
    course.finish([job], statuses=["failed"])
    facts = course.rig.ask("facts", job=job)
    expect(facts["attempts"] == 3, f"a poisoned job ran {facts['attempts']} times")
    course.broken["poison"] += 1


def submit_killed(course: Course, point: str) -> None:
    """Rows 1 to 3: the web process dies around the commit; the same request key gives one job."""
    team, request_key = course.team(), uuid4().hex
    killed(course, course.rig.begin("submit", f"{point}=kill", key=team["key"], request_key=request_key), point)
    answer = course.rig.ask("submit", key=team["key"], request_key=request_key)
    expect(answer["status"] == 202, f"{answer}")
    expect(course.rig.ask("jobs_of", request_key=request_key) == 1, "one request key, several jobs")
    course.finish([answer["job"]])


def cancel_killed(course: Course) -> None:
    """The web process dies inside a cancellation: all of it or nothing."""
    team, request_key = course.team(), uuid4().hex
    job = course.rig.ask("submit", key=team["key"], request_key=request_key)["job"]
    child = course.rig.begin("cancel", "cancel.before_commit=kill", key=team["key"], job=job)
    killed(course, child, "cancel.before_commit")
    expect(course.rig.ask("facts", job=job)["status"] == "queued", "half a cancellation")
    expect(course.rig.ask("cancel", key=team["key"], job=job) == 200, "the second cancellation was refused")


def worker_paused(course: Course, point: str) -> None:
    """Rows 12 and 13: SIGSTOP beyond the lease, also inside a transaction; then it wakes up as a zombie."""
    job = course.submit()
    zombie = course.rig.begin("worker", f"{point}=stop", seconds=20)
    wait_until(lambda: zombie.is_stopped, f"{point} was not reached", 30)
    course.broken["pauses"] += 1
    course.finish([job])
    zombie.send(signal.SIGCONT)
    course.rig.end(zombie)
    facts = course.rig.ask("facts", job=job)
    expect(facts["attempts"] >= 2, f"the job did not change hands at {point}: {facts}")


def zombie_wakes_early(course: Course, point: str) -> None:
    """Row 14: a paused worker wakes while another one draws its job; nothing that it writes may count."""
    job = course.submit(num_inference_steps=8, count=1)
    zombie = course.rig.begin("worker", f"{point}=stop", seconds=20)
    wait_until(lambda: zombie.is_stopped, f"{point} was not reached", 30)
    course.broken["pauses"] += 1
    sweep = course.rig.begin("sweep", seconds=60)
    heir = course.rig.begin("worker", seconds=60, is_endless=True, step_seconds=0.1)
    wait_until(lambda: course.rig.ask("facts", job=job)["attempts"] == 2, "nobody took the job over", 30)
    zombie.send(signal.SIGCONT)
    found = course.rig.ask("wait", jobs=[job], seconds=30)
    for child in (heir, sweep):
        child.send(signal.SIGTERM if child is heir else signal.SIGKILL)
        course.rig.end(child)
    course.rig.end(zombie)
    expect(found == {job: "completed"}, f"{found}")


def connection_cut(course: Course) -> None:
    """Row 22: the server ends the session inside the completing transaction."""
    job = course.submit()
    child = course.rig.begin("worker", "finish.after_settle=stop", seconds=20)
    wait_until(lambda: child.is_stopped, "finish.after_settle was not reached", 30)
    course.rig.ask("cut_connections")
    child.send(signal.SIGCONT)
    course.finish([job])
    course.rig.end(child)
    course.broken["sessions cut"] += 1


def bucket_breaks(course: Course, faults: tuple[Callable[..., None], ...]) -> None:
    """Rows 16 to 19: the store refuses, keeps and complains, hangs, or cuts an upload."""
    course.rig.shim.break_next("PUT", *faults)
    # An outage that outlives every attempt ends in a refund; a shorter one must not be noticed.
    course.finish([course.submit()], statuses=["completed"] if len(faults) < 3 else ["completed", "failed"])
    course.rig.shim.faults.clear()
    course.broken["bucket faults"] += len(faults)


def redis_wiped(course: Course, *, is_killed: bool = False) -> None:
    """Rows 4 and 23: Redis forgets everything, or dies and comes back empty, under load."""
    workers = [course.rig.begin("worker", seconds=60, is_endless=True, step_seconds=0.01) for _ in range(2)]
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
    found = course.rig.ask("wait", jobs=jobs, seconds=30)
    for child in workers:
        course.stop(child)
    expect(set(found.values()) == {"completed"}, f"{found}")
    course.broken["redis wipes"] += 1


def redis_half_open(course: Course) -> None:
    """Row 23: the network to Redis swallows everything; submit answers, the job is drawn."""
    course.rig.redis_proxy.freeze()
    try:
        job = course.submit()
        worker = course.rig.begin("worker", seconds=60)
        found = course.rig.ask("wait", jobs=[job], seconds=50)
    finally:
        course.rig.redis_proxy.thaw()
    course.rig.end(worker)
    expect(found == {job: "completed"}, f"{found}")
    course.broken["redis half open"] += 1


def postgres_stopped(course: Course) -> None:
    """Row 21: PostgreSQL dies at once under load and comes back: every answered submit is there and ends."""
    workers = [course.rig.begin("worker", seconds=90, is_endless=True, step_seconds=0.01) for _ in range(2)]
    sweep = course.rig.begin("sweep", seconds=90)
    jobs = course.submit_all(4)
    time.sleep(course.luck.uniform(0, 0.2))
    course.rig.postgres.stop(signal.SIGQUIT)
    course.rig.postgres.start()
    jobs.append(course.submit())
    found = course.rig.ask("wait", jobs=jobs, seconds=60)
    for child in (*workers, sweep):
        child.send(signal.SIGTERM if child.role == "worker" else signal.SIGKILL)
        course.rig.end(child)
    course.broken["postgres stops"] += 1
    expect(set(found.values()) <= {"completed"} and len(found) == len(jobs), f"{found}")


def rolled_over(course: Course) -> None:
    """Row 31: a deploy ends a worker in mid picture; another goes on at once and no attempt is counted."""
    job = course.submit(num_inference_steps=8, count=1)
    old = course.rig.begin("worker", seconds=60, is_endless=True, step_seconds=0.05)
    wait_until(lambda: course.rig.ask("facts", job=job)["status"] == "processing", "nobody claimed", 30)
    course.stop(old)
    facts = course.rig.ask("facts", job=job)
    expect(facts["status"] == "completed" or facts["attempts"] == 0, f"a deploy cost an attempt: {facts}")
    course.finish([job])
    course.broken["rolling restarts"] += 1


def clocks_differ(course: Course) -> None:
    """Row 33: a worker whose clock is two hours ahead or behind draws like any other."""
    for hours in (2, -2):
        job = course.submit()
        worker = course.rig.begin("worker", seconds=30, skew=hours * 3600.0)
        found = course.rig.ask("wait", jobs=[job], seconds=20)
        course.rig.end(worker)
        expect(found == {job: "completed"}, f"{found}")
        expect(course.rig.ask("facts", job=job)["attempts"] == 1, "a clock cost an attempt")
    course.broken["skewed clocks"] += 2


def sweepers_meet(course: Course) -> None:
    """Row 32: two sweepers at once take a lost job back once."""
    job = course.submit()
    killed(course, course.rig.begin("worker", "draw.step=kill", seconds=30), "draw.step")
    pair = [course.rig.begin("sweep", seconds=2.5) for _ in range(2)]
    for child in pair:
        course.rig.end(child)
    facts = course.rig.ask("facts", job=job)
    expect(facts["status"] == "queued" and facts["fence"] == 2, f"taken back more than once: {facts}")
    course.finish([job])
    course.broken["double sweeps"] += 1


def canceled_while_finishing(course: Course) -> None:
    """Row 30: cancel against completion: charged or given back, never both."""
    team = course.team()
    job = course.rig.ask("submit", key=team["key"], request_key=uuid4().hex)["job"]
    worker = course.rig.begin("worker", seconds=20)
    time.sleep(course.luck.uniform(0, 0.15))
    answer = course.rig.ask("cancel", key=team["key"], job=job)
    course.rig.end(worker)
    status = course.rig.ask("facts", job=job)["status"]
    expect((answer, status) in {(200, "canceled"), (409, "completed")}, f"{answer}, {status}")
    course.broken["cancels"] += 1
