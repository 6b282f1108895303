"""Rows of the matrix about our own processes, killed and paused: what must follow besides the invariants."""

import signal
import time
from uuid import uuid4

from tests.faults.matrix.play import JOBS_EACH, PATIENT, Course, expect, killed, paused
from tests.faults.matrix.rig import WAIT_SECONDS_MAX, wait_until

WORKER_POINTS = (
    "claim.before_commit", "claim.after_commit", "draw.step", "draw.done", "post.before_put", "post.after_put",
    "settle.after_entries", "finish.after_images", "finish.after_settle", "finish.after_commit",
)  # fmt: skip
SUBMIT_POINTS = ("reserve.after_entries", "submit.before_commit", "submit.after_commit", "submit.after_ring")
STOP_POINTS = ("draw.step", "draw.done", "post.after_put", "finish.after_images", "finish.after_settle")
OTHER_POINTS = ("cancel.before_commit", "fail.before_commit", "recover.before_commit")


def workers_killed(course: Course, points: list[str]) -> None:
    """Rows 6 to 11: SIGKILL at named places of claim, drawing, storing and finishing, side by side."""
    jobs = course.submit_all(JOBS_EACH * len(points))
    armed = [(point, course.rig.begin("worker", f"{point}=kill", **PATIENT)) for point in points]
    sweep = course.rig.begin("sweep", **PATIENT)
    course.feed(jobs, armed, lambda child: child.exit_code is not None)
    course.stop(sweep)
    for point, child in armed:
        killed(course, child, point)
    course.finish(jobs)


def poisoned(course: Course) -> None:
    """A worker that dies while it gives a failed job up, and a sweeper that dies while it takes one back."""
    job = course.submit(count=1)
    for attempt in range(3):
        child = course.rig.begin("worker", is_killing=True)
        expect(course.rig.end(child) == -signal.SIGSEGV, "the poisoned worker lived")
        if attempt == 2:
            for point in ("recover.before_commit", "fail.before_commit"):
                killed(course, course.rig.begin("sweep", f"{point}=kill"), point)
        else:
            course.rig.answer(course.rig.begin("sweep", recovered_min=1))
    course.finish([job], statuses=["failed"])
    facts = course.rig.ask("facts", job=job)
    expect(facts["attempts"] == 3, f"a poisoned job ran {facts['attempts']} times")
    course.broken["poison"] += 1


def submits_killed(course: Course, points: list[str]) -> None:
    """Rows 1 to 3: web processes die around the commit; the same request key gives one job."""
    asked = [{"key": course.team()["key"], "request_key": uuid4().hex} for _ in points]
    armed = [course.rig.begin("submit", f"{point}=kill", **who) for point, who in zip(points, asked, strict=True)]
    for point, child in zip(points, armed, strict=True):
        killed(course, child, point)
    answers = course.rig.ask("submit_all", asked=asked)
    expect(all(answer["status"] == 202 for answer in answers), f"{answers}")
    numbers = [course.rig.ask("jobs_of", request_key=who["request_key"]) for who in asked]
    expect(numbers == [1] * len(points), "one request key, several jobs")
    course.finish([answer["job"] for answer in answers])


def cancel_killed(course: Course) -> None:
    """The web process dies inside a cancellation: all of it or nothing."""
    team, request_key = course.team(), uuid4().hex
    job = course.rig.ask("submit", key=team["key"], request_key=request_key)["job"]
    child = course.rig.begin("cancel", "cancel.before_commit=kill", key=team["key"], job=job)
    killed(course, child, "cancel.before_commit")
    expect(course.rig.ask("facts", job=job)["status"] == "queued", "half a cancellation")
    expect(course.rig.ask("cancel", key=team["key"], job=job) == 200, "the second cancellation was refused")


def workers_paused(course: Course, points: list[str]) -> None:
    """Rows 12 and 13: SIGSTOP beyond the lease, also inside a transaction; then they wake up as zombies."""
    jobs = course.submit_all(JOBS_EACH * len(points))
    armed = [(point, course.rig.begin("worker", f"{point}=stop", rests_seconds_max=1, **PATIENT)) for point in points]
    course.feed(jobs, armed, lambda child: child.is_stopped)
    held = {point: course.rig.ask("held_by", pid=child.pid) for point, child in armed}
    for point, child in armed:
        paused(course, child, point)
        expect(held[point], f"the worker that was paused at {point} held nothing")
    course.finish(jobs)
    course.wake(*[child for _, child in armed])
    for point, taken in held.items():
        facts = [course.rig.ask("facts", job=job) for job in taken]
        expect(all(fact["attempts"] >= 2 for fact in facts), f"a job did not change hands at {point}: {facts}")


def zombie_wakes_early(course: Course, point: str) -> None:
    """Row 14: a paused worker wakes while another one draws its job; nothing that it writes may count."""
    job = course.submit(num_inference_steps=8, count=1)
    zombie = course.rig.begin("worker", f"{point}=stop", **PATIENT)
    paused(course, zombie, point)
    sweep = course.rig.begin("sweep", **PATIENT)
    heir = course.rig.begin("worker", step_seconds=0.1, **PATIENT)
    wait_until(lambda: course.rig.ask("facts", job=job)["attempts"] >= 2, "nobody took the job over")
    zombie.send(signal.SIGCONT)
    found = course.rig.ask("wait", jobs=[job], seconds=WAIT_SECONDS_MAX)
    course.stop(heir)
    course.stop(sweep, signal.SIGKILL)
    course.wake(zombie)
    expect(found == {job: "completed"}, f"{found}")


def connection_cut(course: Course) -> None:
    """Row 22: the server ends the session inside the completing transaction."""
    job = course.submit()
    child = course.rig.begin("worker", "finish.after_settle=stop")
    paused(course, child, "finish.after_settle")
    course.rig.ask("cut_connections")
    child.send(signal.SIGCONT)
    course.finish([job])
    course.stop(child)
    course.broken["sessions cut"] += 1


def sweepers_meet(course: Course) -> None:
    """Row 32: two sweepers at once take a lost job back once."""
    job = course.submit()
    killed(course, course.rig.begin("worker", "draw.step=kill"), "draw.step")
    pair = [course.rig.begin("sweep") for _ in range(2)]
    wait_until(lambda: course.rig.ask("facts", job=job)["status"] == "queued", "nobody took it back")
    for child in pair:
        child.send(signal.SIGTERM)  # each looks once more
    recovered = [course.rig.answer(child) for child in pair]
    facts = course.rig.ask("facts", job=job)
    expect(sorted(recovered) == [0, 1] and facts["fence"] == 2, f"taken back more than once: {recovered}, {facts}")
    course.finish([job])
    course.broken["double sweeps"] += 1


def canceled_while_finishing(course: Course) -> None:
    """Row 30: cancel against completion: charged or given back, never both."""
    team = course.team()
    job = course.rig.ask("submit", key=team["key"], request_key=uuid4().hex)["job"]
    worker = course.rig.begin("worker")
    time.sleep(course.luck.uniform(0, 0.15))
    answer = course.rig.ask("cancel", key=team["key"], job=job)
    course.stop(worker, signal.SIGUSR1)
    status = course.rig.ask("facts", job=job)["status"]
    expect((answer, status) in {(200, "canceled"), (409, "completed")}, f"{answer}, {status}")
    course.broken["cancels"] += 1
